r"""Atoms of expressions: numbers, symbols, groups, intervals, sets, functions, roots, matrices."""

from __future__ import annotations

from thinksafe.judging.answers.nodes import Cursor, Node, Unreadable
from thinksafe.judging.answers.tokens import Token
from thinksafe.judging.answers.vocabulary import FUNCTIONS, GREEK, word_set

_CONSTANTS = {"pi": "pi", "infty": "oo", "emptyset": "empty"}
_GREEK = frozenset(GREEK.values()) - {"pi"} | {"ell", "hbar", "Upsilon"}
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_MATRICES = word_set("matrix pmatrix bmatrix Bmatrix smallmatrix array vmatrix")
_OPEN = {"(": ")", "[": "]", "\\{": "\\}", "|": "|"}
_COMMANDS = word_set(
    "frac sqrt root cbrt binom pi infty emptyset overline bar vec hat lfloor lceil langle triangle angle"
)


def begins_atom(command: str) -> bool:
    """Return whether a command begins an atom, and does not stand between two."""
    return command in _COMMANDS or command in FUNCTIONS or command in _GREEK or command.startswith("begin ")


class Atoms(Cursor):
    """Reads atoms; what stands inside their brackets is read by the whole grammar."""

    def listing(self) -> list[Node]:
        """Read a list of relations."""
        raise NotImplementedError

    def union(self) -> Node:
        """Read an expression, or sets with unions between them."""
        raise NotImplementedError

    def sum(self) -> Node:
        """Read a sum."""
        raise NotImplementedError

    def product(self) -> Node:
        """Read a product."""
        raise NotImplementedError

    def power(self) -> Node:
        """Read an atom with its exponents."""
        raise NotImplementedError

    def starts(self) -> bool:
        """Return whether the next token begins a factor that needs no sign before it."""
        raise NotImplementedError

    def script(self) -> Node:
        """Read an exponent or index."""
        raise NotImplementedError

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
                exponent = self.script()
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
        while self.starts() and not self.at("(", "[", *FUNCTIONS):
            found = Node("mul", (found, self.power()))
        if self.at("/"):
            after = self.peek(1)
            if after and after.kind == "number":  # \sin \pi/6
                self.take()
                found = Node("div", (found, self.power()))
        return found


def _shown(node: Node) -> str:
    r"""Return a node as a text, for names such as ``\overline{AB}``."""
    return node.text + "".join(_shown(arg) for arg in node.args)
