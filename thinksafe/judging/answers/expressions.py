r"""Read an answer as mathematics, whole or not at all.

A recursive descent over the tokens. A token that does not fit ends the reading: there is no value then, and never the
value of the part that was understood.
"""

from __future__ import annotations

from thinksafe.judging.answers.atoms import Atoms, begins_atom
from thinksafe.judging.answers.nodes import Node, Unreadable
from thinksafe.judging.answers.tokens import Token
from thinksafe.judging.answers.vocabulary import UNIT_LETTERS, UNITS

_RELATIONS = {
    "=": "=", "equiv": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "approx": "~", "in": "in",
}


class Parser(Atoms):
    """Reads tokens from left to right; raises Unreadable where none of the rules goes on."""

    def listing(self) -> list[Node]:
        """Read relations that commas, semicolons, "and" or "or" separate."""
        found = [self.relation()]
        while self._at_separator():
            self.separator()
            found.append(self.relation())
        return found

    def _at_separator(self) -> bool:
        token = self.peek()
        return token is not None and (
            (token.kind == "sign" and token.text in ",;")
            or (token.kind == "word" and token.text.lower() in ("and", "or"))
        )

    def separator(self) -> str:
        """Take what separates the items of a list: a comma or semicolon, "and", "or", or a comma with one of them."""
        if not self._at_separator():
            raise Unreadable
        found = self.take().text.lower()
        if found in ",;" and self._at_separator() and (token := self.peek()) and token.kind == "word":
            found = self.take().text.lower()
        return found

    def relation(self) -> Node:
        """Read an expression, or several with relations between them."""
        parts, signs = [self.union()], list[str]()
        while (token := self.peek()) and token.kind in ("sign", "command") and token.text in _RELATIONS:
            signs.append(_RELATIONS[token.text])
            self._place += 1
            parts.append(self.union())
        return Node("relation", tuple(parts), " ".join(signs)) if signs else parts[0]

    def union(self) -> Node:
        """Read sets between which stand unions, intersections and differences."""
        found = self.sum()
        while self.at("cup", "cap", "setminus"):
            found = Node(self.take().text, (found, self.sum()))
        return found

    def sum(self) -> Node:
        """Read terms with plus, minus and plus-minus between them."""
        self._inside()
        found = self._signed()
        while self.at("+", "-", "pm", "mp"):
            sign = self.take().text
            right = self._signed() if self.at("+", "-") else self.product()  # 3 + -2
            found = Node({"+": "add", "-": "sub"}.get(sign, sign), (found, right))
        self._depth -= 1
        return found

    def _signed(self) -> Node:
        if not self.at("+", "-", "pm", "mp"):
            return self.product()
        sign = self.take().text
        if self.at("+", "-", "pm", "mp"):
            raise Unreadable
        inner = self.product()
        return inner if sign == "+" else Node({"-": "neg"}.get(sign, sign), (inner,))

    def product(self) -> Node:
        """Read factors with or without a sign between them."""
        found = self.power()
        while True:
            if self.at("*", "times", "cdot"):
                self.take()
                found = Node("mul", (found, self._factor()))
            elif self.at("/") and not self._at_unit(1):
                self.take()
                found = Node("div", (found, self._factor()))
            elif self.at(":") and self._bars == 0:
                self.take()
                found = Node("ratio", (found, self._factor()))
            elif self.starts() or (found.op == "factorial" and self._at_number()):
                if found.op == "number" and (mixed := self._mixed(found)):
                    found = mixed
                    continue
                found = Node("mul", (found, self.power()))
            else:
                return found

    def _at_number(self) -> bool:
        token = self.peek()
        return token is not None and token.kind == "number" and not token.spaced

    def _at_unit(self, ahead: int) -> bool:
        token = self.peek(ahead)
        return token is not None and token.kind == "word"

    def _factor(self) -> Node:
        if self.at("-", "+"):
            sign = self.take().text
            inner = self.power()
            return Node("neg", (inner,)) if sign == "-" else inner
        return self.power()

    def _mixed(self, whole: Node) -> Node | None:
        r"""Read the fraction of a mixed number: ``2\frac{1}{2}``."""
        if not whole.text.isdigit() or not self.at("frac"):
            return None
        start = self._place
        part = self.power()
        over, under = part.args if part.op == "div" else (part, part)
        if (
            over.text.isdigit()
            and under.text.isdigit()
            and over.op == under.op == "number"
            and int(over.text) < int(under.text)
        ):
            return Node("add", (whole, part), "mixed")
        self._place = start
        return None

    def starts(self) -> bool:
        """Return whether the next token begins a factor that needs no sign before it."""
        token = self.peek()
        if token is None or token.kind in ("number", "word"):
            return False
        if token.kind == "symbol":
            return not self._unit_letter(token)
        if token.kind == "command":
            return begins_atom(token.text)
        return token.text in ("(", "[", "{") or (token.text == "|" and self._bars == 0)

    def _unit_letter(self, token: Token) -> bool:
        r"""Return whether a letter is a unit: ``5 m``, ``5\text{ m}``, and nothing but units follows."""
        if token.text not in UNIT_LETTERS or self._depth > 1 or not (token.spaced or token.upright):
            return False
        before, after = self._tokens[self._place - 1], self.peek(1)
        if not token.upright and before.kind != "number":
            return False
        if after is None or after.kind == "word" or after.text in ",;./^":
            return token.upright or token.text in "mshgLNJWV"
        return False

    def power(self) -> Node:
        """Read an atom with its exponents, factorials and per cent."""
        found = self.atom()
        while True:
            if self.at("^"):
                self.take()
                if self._degree():
                    found = Node("degree", (found,))
                elif self.at("'"):
                    self.take()
                    found = Node("symbol", (), found.text + "'")
                else:
                    found = Node("pow", (found, self.script()))
            elif self.at("!"):
                self.take()
                found = Node("factorial", (found,))
            elif self.at("degree"):
                self.take()
                found = Node("degree", (found,))
                if self._depth <= 1 and (token := self.peek()) and token.text in ("C", "F") and not self.peek(1):
                    self.take()  # 12 degrees Celsius
            elif self.at("%"):
                self.take()
                found = Node("percent", (found,))
            elif self.at("_") and found.op == "number":
                self.take()
                base = self.script()
                if base.op != "number":
                    raise Unreadable
                found = Node("base", (base,), found.text)
            else:
                return found

    def _degree(self) -> bool:
        if self.at("degree"):
            self.take()
            return True
        ahead = self.peek(1)
        if self.at("{") and ahead and ahead.text == "degree":
            self.take()
            self.take()
            self.take("}")
            return True
        return False

    def script(self) -> Node:
        """Read an exponent or index: a group, a sign and a number, or one atom."""
        if self.at("-", "+"):
            sign = self.take().text
            inner = self.atom()
            return Node("neg", (inner,)) if sign == "-" else inner
        return self.atom()

    def units(self) -> str:
        """Read the unit or noun behind a value: ``cm^2``, ``miles per hour``, ``km/h``; return it in short form."""
        found: list[str] = []
        while token := self.peek():
            known = token.text in UNITS or (
                token.kind == "symbol" and (token.upright or token.text in (*UNIT_LETTERS, "a", "I"))
            )
            if self._at_separator():
                break
            if token.kind == "word" or (
                known and token.kind == "symbol" and (found or token.spaced or token.upright)
            ):
                found.append(token.text)
                self._place += 1
            elif (
                token.text == "/"
                and (ahead := self.peek(1))
                and (
                    ahead.kind == "word" or (found and ahead.kind == "symbol" and ahead.text in UNIT_LETTERS)
                )
            ):
                found.append("per")
                self._place += 1
            elif token.text == "^" and found:
                self._place += 1
                exponent = self.script()
                if exponent.op not in ("number", "neg"):
                    raise Unreadable
            elif token.text in ("cdot", "degree", "-", "(", ")", ".", "'", "row") and (
                found or token.text == "degree"
            ):
                after = self.peek(1)
                if token.text == "." and after and after.kind not in ("word", "symbol"):
                    raise Unreadable
                found.append("")
                self._place += 1
            else:
                break
        return " ".join(word for word in found if word)
