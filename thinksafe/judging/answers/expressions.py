r"""Read an answer as mathematics, whole or not at all.

A recursive descent over the tokens. A token that does not fit ends the reading: there is no value then, and never the
value of the part that was understood.
"""

from __future__ import annotations

from dataclasses import dataclass

from thinksafe.judging.answers.tokens import Token
from thinksafe.judging.answers.vocabulary import FUNCTIONS, GREEK, UNIT_LETTERS, UNITS, word_set

DEEPEST = 40
"""Most levels of nesting that are read."""


class Unreadable(Exception):
    """The text is not, or not wholly, an answer that this grammar knows."""


@dataclass(frozen=True)
class Node:
    """A part of an expression: an operation and what it is applied to."""

    op: str
    args: tuple[Node, ...] = ()
    text: str = ""
    """Digits of a number, name of a symbol or function, brackets of a group, signs of a relation."""


_RELATIONS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "le": "<=",
    "ge": ">=",
    "ne": "!=",
    "approx": "~",
    "in": "in",
    "equiv": "=",
}
_CONSTANTS = {"pi": "pi", "infty": "oo", "emptyset": "empty"}
_GREEK = frozenset(GREEK.values()) - {"pi"} | {"ell", "hbar", "Upsilon"}
_ALIASES = {
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "lg": "log",
    "floor": "floor",
    "ceil": "ceil",
}
_MATRICES = word_set("matrix pmatrix bmatrix Bmatrix smallmatrix array vmatrix")
_OPEN = {"(": ")", "[": "]", "\\{": "\\}", "|": "|"}
_COMMANDS = word_set(
    "frac sqrt root cbrt binom pi infty emptyset overline bar vec hat lfloor lceil langle triangle angle"
)


class Parser:
    """Reads tokens from left to right; raises Unreadable where none of the rules goes on."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0
        self._bars = 0  # open |...|, in which a further bar closes

    # -- tokens

    def peek(self, ahead: int = 0) -> Token | None:
        """Return a token without taking it, None behind the end."""
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else None

    def at(self, *texts: str, kind: str = "") -> bool:
        """Return whether the next token is one of some signs or commands."""
        token = self.peek()
        return (
            token is not None
            and token.kind in ("sign", "command")
            and token.text in texts
            and kind in ("", token.kind)
        )

    def take(self, text: str = "") -> Token:
        """Take the next token. Raises Unreadable if there is none, or another than ``text``."""
        token = self.peek()
        if token is None or (text and not self.at(text)):
            raise Unreadable
        self._place += 1
        return token

    def _inside(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unreadable

    # -- lists, relations, unions

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

    # -- arithmetic

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
            elif self._starts() or (found.op == "factorial" and self._at_number()):
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

    def _starts(self) -> bool:
        """Return whether the next token begins a factor that needs no sign before it."""
        token = self.peek()
        if token is None or token.kind in ("number", "word"):
            return False
        if token.kind == "symbol":
            return not self._unit_letter(token)
        if token.kind == "command":
            name = token.text
            return name in _COMMANDS or name in FUNCTIONS or name in _GREEK or name.startswith("begin ")
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
                    found = Node("pow", (found, self._script()))
            elif self.at("!"):
                self.take()
                found = Node("factorial", (found,))
            elif self.at("degree"):
                self.take()
                found = Node("degree", (found,))
            elif self.at("%"):
                self.take()
                found = Node("percent", (found,))
            elif self.at("_") and found.op == "number":
                self.take()
                base = self._script()
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

    def _script(self) -> Node:
        """Read an exponent or index: a group, a sign and a number, or one atom."""
        if self.at("-", "+"):
            sign = self.take().text
            inner = self.atom()
            return Node("neg", (inner,)) if sign == "-" else inner
        return self.atom()

    # -- atoms

    def atom(self) -> Node:
        """Read a number, symbol, constant, group or function."""
        token = self.take()
        if token.kind == "number":
            return self._number(token)
        if token.kind == "symbol":
            return self._symbol(token.text)
        if token.kind == "sign":
            if token.text == "{":
                return self._group("}")
            if token.text in _OPEN:
                return self._brackets(token.text)
        if token.kind == "command":
            return self._command(token.text)
        raise Unreadable

    def _number(self, token: Token) -> Node:
        following, slash, under = self.peek(), self.peek(1), self.peek(2)
        if (
            token.text.isdigit()
            and following
            and slash
            and under
            and following.kind == under.kind == "number"
            and following.spaced
            and slash.text == "/"
            and following.text.isdigit()
            and under.text.isdigit()
            and int(following.text) < int(under.text)
        ):
            self._place += 3
            part = Node("div", (Node("number", (), following.text), Node("number", (), under.text)))
            return Node("add", (Node("number", (), token.text), part), "mixed")  # 2 1/2
        repeating = self.peek(1) if self.at(".") else following
        if repeating and repeating.kind == "command" and repeating.text in ("overline", "bar"):
            self._place += 2 if self.at(".") else 1
            if following is repeating and "." not in token.text:
                raise Unreadable
            repeated = self.argument()
            if repeated.op != "number" or not repeated.text.isdigit():
                raise Unreadable
            return Node("repeating", (), f"{token.text} {repeated.text}")
        return Node("number", (), token.text)

    def _symbol(self, name: str) -> Node:
        if self.at("_"):
            self.take()
            token = self.take()
            if token.text == "{":
                parts = []
                while not self.at("}"):
                    parts.append(self.take().text)
                self.take("}")
                name += "_" + "".join(parts)
            elif token.kind in ("number", "symbol"):
                name += "_" + token.text
            else:
                raise Unreadable
        while self.at("'"):
            self.take()
            name += "'"
        return Node("symbol", (), name)

    def _group(self, close: str) -> Node:
        """Read what braces hold together."""
        self._inside()
        bars, self._bars = self._bars, 0
        found = self.union()
        if self.at("choose"):
            self.take()
            found = Node("binom", (found, self.union()))
        self.take(close)
        self._bars = bars
        self._depth -= 1
        return found

    def _brackets(self, opening: str) -> Node:
        """Read a group, tuple, interval or set in brackets, or an absolute value."""
        self._inside()
        bars, self._bars = self._bars, 0
        if opening == "|":
            self._bars = 1
            found = Node("function", (self.sum(),), "abs")
            self.take("|")
        elif opening == "\\{":
            found = self._set()
        else:
            items = self.listing()
            closing = self.take().text
            if closing not in (")", "]"):
                raise Unreadable
            if len(items) == 1:
                if (opening, closing) not in (("(", ")"), ("[", "]")) or items[0].op == "relation":
                    raise Unreadable
                found = items[0]
                if found.op in ("number", "neg"):  # brackets stay: (-3)^2, and (3)! is not 3!
                    found = Node("group", (found,))
            else:
                found = Node("tuple", tuple(items), opening + closing)
        self._bars = bars
        self._depth -= 1
        return found

    def _set(self) -> Node:
        if self.at("\\}"):
            self.take()
            return Node("set")
        self._bars = 1  # a bar ends the variable of a set, as in { x | x > 0 }
        items = self.listing()
        if self.at("|", ":"):
            self.take()
            self._bars = 0
            if len(items) != 1:
                raise Unreadable
            conditions = self.listing()
            self.take("\\}")
            return Node("where", tuple(conditions))
        self.take("\\}")
        return Node("set", tuple(items))

    def argument(self) -> Node:
        r"""Read the argument of a command: a group, or one token, of a number its first digit (``\frac12``)."""
        token = self.peek()
        if token and token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            self._tokens[self._place] = Token("number", token.text[1:])
            return Node("number", (), token.text[0])
        return self._argument_whole()

    def _argument_whole(self) -> Node:
        if self.at("{"):
            self.take()
            return self._group("}")
        return self.atom()

    def _command(self, name: str) -> Node:
        if name in _CONSTANTS:
            return Node("constant", (), _CONSTANTS[name])
        if name in _GREEK:
            return self._symbol("\\" + name)
        if name == "frac":
            return Node("div", (self.argument(), self.argument()))
        if name == "binom":
            if self.at("("):
                self.take()
                items = self.listing()
                self.take(")")
                if len(items) != 2:
                    raise Unreadable
                return Node("binom", tuple(items))
            return Node("binom", (self.argument(), self.argument()))
        if name in ("sqrt", "root"):
            degree = Node("number", (), "2")
            if self.at("["):
                self.take()
                degree = self.sum()
                self.take("]")
            return Node("root", (self._argument_whole(), degree))
        if name == "cbrt":
            return Node("root", (self._argument_whole(), Node("number", (), "3")))
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.take("r" + name[1:])
            return Node("function", (inner,), name[1:])
        if name == "langle":
            items = self.listing()
            self.take("rangle")
            return Node("tuple", tuple(items), "()")
        if name in ("overline", "bar", "vec", "hat"):
            return Node("symbol", (), f"{name} {_shown(self._argument_whole())}")
        if name in ("triangle", "angle"):
            return Node("symbol", (), f"{name} {_shown(self.product())}")
        if name.startswith("mathbb "):
            return Node("constant", (), name)
        if name.startswith("begin ") and name[6:] in _MATRICES:
            return self._matrix(name[6:])
        if name in FUNCTIONS:
            return self._function(_ALIASES.get(name, name))
        raise Unreadable

    def _matrix(self, environment: str) -> Node:
        rows, row = list[Node](), list[Node]()
        self._inside()
        while True:
            row.append(self.sum())
            if self.at("&"):
                self.take()
                continue
            rows.append(Node("row", tuple(row)))
            row = []
            if self.at("row"):
                self.take()
                if not self.at(f"end {environment}"):
                    continue
            self.take(f"end {environment}")
            break
        self._depth -= 1
        if len({len(each.args) for each in rows}) != 1:
            raise Unreadable
        return Node("determinant" if environment == "vmatrix" else "matrix", tuple(rows))

    def _function(self, name: str) -> Node:
        exponent: Node | None = None
        base: Node | None = None
        while self.at("^", "_"):
            if self.take().text == "^":
                exponent = self._script()
            else:
                base = self.argument()
        if self.at("("):
            self.take()
            arguments = self.listing()
            self.take(")")
        else:
            arguments = [self._bare_argument()]
        if base is not None:
            if name not in ("log", "lg") or len(arguments) != 1:
                raise Unreadable
            arguments.append(base)
        if exponent == Node("neg", (Node("number", (), "1"),)) and "arc" + name in FUNCTIONS:
            return Node("function", tuple(arguments), "arc" + name)
        found = Node("function", tuple(arguments), name)
        return found if exponent is None else Node("pow", (found, exponent))

    def _bare_argument(self) -> Node:
        """Read the argument of a function without brackets: all factors before the next sign or function."""
        found = Node("neg", (self.power(),)) if self.at("-") and self.take() else self.power()
        while self._starts() and not self.at("(", "[", *FUNCTIONS):
            found = Node("mul", (found, self.power()))
        if self.at("/"):
            after = self.peek(1)
            if after and after.kind == "number":  # \sin \pi/6
                self.take()
                found = Node("div", (found, self.power()))
        return found

    # -- units behind a value

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
                exponent = self._script()
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


def _shown(node: Node) -> str:
    r"""Return a node as a text, for names such as ``\overline{AB}``."""
    return node.text + "".join(_shown(arg) for arg in node.args)
