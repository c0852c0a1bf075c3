r"""Are two values equal? Compared by what they are: words, numbers, expressions, lists, tuples, intervals, equations.

Rational numbers are compared exactly. Other expressions are equal if their values agree to 50 digits, for expressions
with variables at several points.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from thinksafe.judging.answers.evaluation import NoValue, arithmetic, exact, point, symbols, value_of
from thinksafe.judging.answers.nodes import Node
from thinksafe.judging.answers.regions import as_region, is_region, same_region

AGREEING = 50
"""Digits in which values that are not rational have to agree."""
POINTS = 4
"""Points at which expressions with variables are compared, of each kind."""
ROUNDED = 6
"""Fewest digits of a decimal fraction that may stand for a value without an end, such as 0.333333 for 1/3."""
_COLLECTIONS = ("list", "set")


def same(left: Node, right: Node) -> bool:
    """Return whether a reference (left) and an answer (right) have one value."""
    left, right = _plain(left), _plain(right)
    if left == right:
        return True
    if is_region(left) or is_region(right):
        region, other = as_region(left), as_region(right)
        if region is not None and other is not None:
            return same_region(region, other, equal_numbers)
        if left.op == right.op == "relation":
            return _same_relation(left, right)
        return left.op == right.op == "tuple" and _each(left, right)
    if "equation" in (left.op, right.op) or "assign" in (left.op, right.op):
        return _same_equation(left, right)
    if left.op in _COLLECTIONS or right.op in _COLLECTIONS:
        return _same_collection(left, right)
    if left.op == right.op == "tuple":
        return _each(left, right)
    if "matrix" in (left.op, right.op):
        return _same_matrix(left, right)
    if "percent" in (left.op, right.op):
        return _same_share(left, right)
    if "degree" in (left.op, right.op):
        bare = [node.args[0] if node.op == "degree" else node for node in (left, right)]
        return equal_numbers(*bare) or equal_numbers(left, right)
    if "base" in (left.op, right.op):
        return _same_base(left, right)
    return equal_numbers(left, right)


def equal_numbers(left: Node, right: Node) -> bool:
    """Return whether two expressions have one value, wherever both are defined."""
    if left == right:
        return True
    try:
        values = exact(left), exact(right)
        if values[0] is not None and values[1] is not None:
            return values[0] == values[1] or _rounded(left, right) or _rounded(right, left)
        names = symbols(left) | symbols(right)
        if not names:
            return _agree(left, right, {}) or _rounded(left, right) or _rounded(right, left)
        return _agree_at_points(left, right, names)
    except NoValue:
        return False


def _agree_at_points(left: Node, right: Node, names: frozenset[str]) -> bool:
    mixed = _has(left, "abs") != _has(right, "abs")  # |x| and x agree where x is positive
    compared = 0
    for index in range(3 * POINTS):
        positive = not mixed or index % 2 == 0
        at = point(names, index, positive=positive)
        try:
            if not _agree(left, right, at):
                return False
            compared += 1
        except NoValue:
            continue
        if compared == POINTS:
            return True
    return False


def _has(node: Node, function: str) -> bool:
    return (node.op == "function" and node.text == function) or any(_has(arg, function) for arg in node.args)


def _agree(left: Node, right: Node, at: dict[str, object]) -> bool:
    context = arithmetic()
    first, second = value_of(left, at), value_of(right, at)
    larger = max(abs(first), abs(second))
    if not first or not second:  # rounding leaves a little of what is zero
        return bool(larger < context.mpf(10) ** -AGREEING)
    return bool(abs(first - second) <= larger * context.mpf(10) ** -AGREEING)


def _rounded(decimal: Node, value: Node) -> bool:
    """Return whether the first is a decimal fraction of at least six digits to which the second can be rounded."""
    sign = 1
    if decimal.op == "neg":
        sign, decimal = -1, decimal.args[0]
    digits = decimal.text.partition(".")[2]
    if (
        decimal.op != "number"
        or not digits.isdigit()
        or len(decimal.text.lstrip("0.").replace(".", "")) < ROUNDED
    ):
        return False
    if value.op == "number" or (value.op == "neg" and value.args[0].op == "number"):
        return False
    step = Fraction(1, 10 ** len(digits))
    found = exact(value)
    context = arithmetic()
    distance = Fraction(decimal.text) * sign
    if found is not None:
        return abs(found - distance) * 2 <= step
    number = value_of(value, {})
    return bool(
        abs(number - context.mpf(distance.numerator) / distance.denominator) * 2
        <= context.mpf(1) / step.denominator
    )


# -- forms of one value


def _plain(node: Node) -> Node:
    """Return a value without what only says whose value it is, and with both signs of a plus-minus."""
    if node.op == "group":
        return _plain(node.args[0])
    if _contains(node, ("pm", "mp")) and node.op not in ("list", "set"):
        return Node("list", tuple(_plain(_with_sign(node, plus=plus)) for plus in (True, False)), "or")
    if node == Node("set"):
        return Node("constant", (), "empty")
    if node.op in _COLLECTIONS:
        items = list[Node]()
        for item in map(_plain, node.args):
            items += item.args if item.op == "list" and item.text == "or" else (item,)
        if node.text == "or" and all(item == items[0] or equal_numbers(items[0], item) for item in items[1:]):
            return items[0]  # 1/2 or 0.5
        return Node(node.op, tuple(items), node.text)
    if node.op == "relation":
        return _settled(node)
    if node.op == "where":
        return _plain(node.args[0]) if len(node.args) == 1 else node
    return node


def _contains(node: Node, ops: tuple[str, ...]) -> bool:
    return node.op in ops or any(_contains(arg, ops) for arg in node.args)


def _with_sign(node: Node, *, plus: bool) -> Node:
    args = tuple(_with_sign(arg, plus=plus) for arg in node.args)
    if node.op in ("pm", "mp"):
        positive = (node.op == "pm") == plus
        if len(args) == 1:
            return args[0] if positive else Node("neg", args)
        return Node("add" if positive else "sub", args)
    return Node(node.op, args, node.text)


def _settled(node: Node) -> Node:
    """Return a relation as an assignment, an equation, the value of a calculation, or itself (inequalities)."""
    signs, parts = node.text.split(), list(node.args)
    if "~" in signs:  # what follows is the same value, rounded
        place = signs.index("~")
        if place == 0 and not _names_value(parts[0]):
            return _plain(parts[0])
        if place == 0 and len(parts) == 2:
            return Node("assign", (parts[0], _plain(parts[1])))
        if place:
            signs, parts = signs[:place], parts[: place + 1]
    if signs == ["in"]:
        return _plain(parts[1])
    if set(signs) != {"="}:
        return node
    if _names_value(parts[0]):
        last = _plain(parts[-1])
        return Node("assign", (parts[0], last))
    if not any(symbols(part) for part in parts):
        if all(equal_numbers(parts[0], part) for part in parts[1:]):
            return _plain(parts[-1])
        return node
    if len(parts) > 2:
        return _plain(parts[-1])
    if _names_value(parts[1]) and not symbols(parts[0]):  # 5 = x
        return Node("assign", (parts[1], _plain(parts[0])))
    return Node("equation", tuple(parts))


def _names_value(node: Node) -> bool:
    """Return whether the left side of an equation names a value: ``x``, ``f(x)``, ``P``."""
    if node.op == "symbol":
        return node.text not in ("e", "i")
    if node.op == "tuple":
        return all(_names_value(arg) for arg in node.args)
    if node.op == "mul" and node.args[0].op == "pow":  # the inverse of f
        return _names_value(Node("mul", (node.args[0].args[0], node.args[1])))
    called = node.op == "mul" and node.args[0].op == "symbol" and node.args[0].text[0] in "fghpqFGHPQATV"
    return called and node.args[1].op in ("symbol", "group", "tuple", "number")


def _same_equation(left: Node, right: Node) -> bool:
    for first, second in ((left, right), (right, left)):
        if first.op == "assign" and second.op not in ("assign", "equation"):
            several = first.args[1].op in (*_COLLECTIONS, "tuple")
            if second.op in _COLLECTIONS and not several:
                return False
            return same(first.args[1], second) if first is left else same(second, first.args[1])
    if right.op == "equation" and left.op not in ("assign", "equation") and _is_asked(right.args[0]):
        return not symbols(right.args[1]) and same(left, right.args[1])
    if left.op == right.op == "assign":
        names = left.args[0], right.args[0]
        if same(left.args[1], right.args[1]) and (
            names[0] == names[1] or {name.op for name in names} != {"symbol"}
        ):
            return True
    if {left.op, right.op} <= {"assign", "equation"}:
        return _proportional(left, right)
    return False


def _is_asked(side: Node) -> bool:
    """Return whether one side of an equation is what a problem asks for, such as ``m+n``, and not to be solved."""
    return len(symbols(side)) > 1 or side.op == "function"


def _proportional(left: Node, right: Node) -> bool:
    """Return whether two equations say the same: the differences of their sides have a constant ratio."""
    differences = [Node("sub", node.args) for node in (left, right)]
    names = symbols(differences[0]) | symbols(differences[1])
    if symbols(differences[0]) != symbols(differences[1]):
        return False
    ratio = Node("div", (differences[0], differences[1]))
    found, context = list[object](), arithmetic()
    for index in range(3 * POINTS):
        try:
            found.append(value_of(ratio, point(names, index, positive=index % 2 == 0)))
        except NoValue:
            continue
    if len(found) < POINTS or not found[0]:
        return False
    return all(abs(each - found[0]) <= abs(found[0]) * context.mpf(10) ** -AGREEING for each in found)  # type: ignore[operator, arg-type]


def _same_relation(left: Node, right: Node) -> bool:
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    signs = right.text.split()
    back = Node("relation", right.args[::-1], " ".join(turned.get(sign, sign) for sign in reversed(signs)))
    for other in (right, back):
        if (
            left.text == other.text
            and len(left.args) == len(other.args)
            and all(map(equal_numbers, left.args, other.args))
        ):
            return True
    return False


def _same_collection(left: Node, right: Node) -> bool:
    if right.op == "tuple" or left.op == "tuple":
        pair = left, right
        listed = next(node for node in pair if node.op != "tuple")
        brackets = next(node for node in pair if node.op == "tuple").text
        if listed.op == "set" or brackets != "()":
            return False
        values = tuple(item.args[1] if item.op == "assign" else item for item in listed.args)
        ordered = Node("tuple", values, "()")
        return _each(*(ordered if node is listed else node for node in pair))
    items = [_items(node) for node in (left, right)]
    return _matched(items[0], items[1], same)


def _items(node: Node) -> list[Node]:
    if node.op == "assign" and node.args[1].op in _COLLECTIONS:
        node = node.args[1]
    items = [_plain(arg) for arg in node.args] if node.op in _COLLECTIONS else [node]
    if len(items) == 1 and items[0].op == "set":
        items = [_plain(arg) for arg in items[0].args]
    return items


def _matched(left: list[Node], right: list[Node], equal: Callable[[Node, Node], bool]) -> bool:
    """Return whether every item of one has its equal in the other, in any order."""
    waiting = list(right)
    for item in left:
        found = next((place for place, other in enumerate(waiting) if equal(item, other)), None)
        if found is None:
            return False
        del waiting[found]
    return not waiting


def _each(left: Node, right: Node) -> bool:
    return (
        left.text == right.text
        and len(left.args) == len(right.args)
        and all(map(same, left.args, right.args))
    )


def _same_matrix(left: Node, right: Node) -> bool:
    if left.op == right.op:
        return len(left.args) == len(right.args) and all(
            len(first.args) == len(second.args) and all(map(same, first.args, second.args))
            for first, second in zip(left.args, right.args, strict=True)
        )
    matrix, other = (left, right) if left.op == "matrix" else (right, left)
    if other.op != "tuple" or other.text != "()":
        return False
    column = [row.args[0] for row in matrix.args] if len(matrix.args[0].args) == 1 else []
    entries = column or (list(matrix.args[0].args) if len(matrix.args) == 1 else [])
    return len(entries) == len(other.args) and all(map(same, entries, other.args))


def _same_share(left: Node, right: Node) -> bool:
    """Compare per cent: 50 % is 50 of the same kind, and also 0.5, but 5000 % is not 50."""
    if left.op == right.op:
        return equal_numbers(left.args[0], right.args[0])
    share, other = (left.args[0], right) if left.op == "percent" else (right.args[0], left)
    if equal_numbers(share, other):
        return True
    try:
        value = exact(other)
    except NoValue:
        return False
    return equal_numbers(Node("percent", (share,)), other) and (
        value is None or value.denominator != 1 or abs(value) <= 1
    )


def _same_base(left: Node, right: Node) -> bool:
    """Compare numerals of one base; the base may be left out, as the problem says it."""
    if left.op == right.op:
        return left.text == right.text and equal_numbers(left.args[0], right.args[0])
    numeral, other = (left, right) if left.op == "base" else (right, left)
    return other.op == "number" and numeral.text == other.text
