r"""Sets of real numbers: intervals, unions and inequalities in one form.

``x \le 0`` and ``(-\infty, 0]``, ``1 < x < 2`` and ``(1, 2)``, ``x \ne 1`` and two open intervals are one set each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from thinksafe.judging.answers.evaluation import NoValue, arithmetic, value_of
from thinksafe.judging.answers.nodes import Node

_INFINITY = Node("constant", (), "oo")
_NOWHERE = Node("neg", (_INFINITY,))
_ORDERS = {"<", ">", "<=", ">="}


@dataclass(frozen=True)
class Interval:
    """An interval of real numbers, with what is written for its ends."""

    low: Node
    high: Node
    with_low: bool
    with_high: bool

    def place(self) -> tuple[Any, bool]:
        """Return where the interval begins."""
        return _place(self.low), not self.with_low


def is_region(node: Node) -> bool:
    """Return whether a value can only be a set of real numbers."""
    if node.op == "tuple":
        return node.text in ("(]", "[)") or any(arg in (_INFINITY, _NOWHERE) for arg in node.args)
    if node.op == "relation":
        return any(sign in _ORDERS or sign == "!=" for sign in node.text.split())
    if node.op == "list":
        return any(is_region(arg) for arg in node.args if arg.op == "relation")
    if node.op == "assign":
        return is_region(node.args[1])
    return node.op in ("cup", "cap", "setminus") or (node.op == "constant" and node.text == "mathbb R")


def as_region(node: Node) -> list[Interval] | None:
    """Return a set of real numbers as disjoint intervals in order; None if it is none, or has symbols in it."""
    try:
        found = _intervals(node)
        return None if found is None else _merged(found)
    except NoValue:
        return None


def same_region(left: list[Interval], right: list[Interval], equal: Callable[[Node, Node], bool]) -> bool:
    """Return whether two sets have the same intervals."""
    return len(left) == len(right) and all(
        (one.with_low, one.with_high) == (two.with_low, two.with_high)
        and equal(one.low, two.low)
        and equal(one.high, two.high)
        for one, two in zip(left, right, strict=True)
    )


def _intervals(node: Node) -> list[Interval] | None:
    if node.op == "tuple" and len(node.args) == 2 and node.text in ("()", "[]", "(]", "[)"):
        return [Interval(*node.args, node.text[0] == "[", node.text[1] == "]")]
    if node.op == "relation":
        return _inequality(node)
    if node.op == "assign":
        return _intervals(node.args[1])
    if node.op == "constant":
        return {"mathbb R": [Interval(_NOWHERE, _INFINITY, False, False)], "empty": []}.get(node.text)
    if node.op == "set":
        return [Interval(arg, arg, True, True) for arg in node.args]
    if node.op == "list":
        return _listed(node)
    if node.op in ("cup", "cap", "setminus"):
        left, right = map(_intervals, node.args)
        if left is None or right is None:
            return None
        if node.op == "cup":
            return left + right
        return _common(left, right if node.op == "cap" else _others(right))
    return None


def _listed(node: Node) -> list[Interval] | None:
    parts = [_intervals(arg) for arg in node.args]
    if any(part is None for part in parts):
        return None
    found = [part for part in parts if part is not None]
    if node.text != "or":
        common = found[0]
        for part in found[1:]:
            common = _common(common, part)
        if common:
            return common
    return [interval for part in found for interval in part]


def _inequality(node: Node) -> list[Interval] | None:
    signs, parts = node.text.split(), list(node.args)
    if signs == ["!="] and parts[0].op == "symbol":
        return _others([Interval(parts[1], parts[1], True, True)])
    if not set(signs) <= _ORDERS:
        return None
    if len(parts) == 2:
        if parts[1].op == "symbol":
            parts, signs = parts[::-1], [{"<": ">", ">": "<", "<=": ">=", ">=": "<="}[signs[0]]]
        if parts[0].op != "symbol":
            return None
        closed = "=" in signs[0]
        if signs[0][0] == "<":
            return [Interval(_NOWHERE, parts[1], False, closed and parts[1] != _INFINITY)]
        return [Interval(parts[1], _INFINITY, closed and parts[1] != _NOWHERE, False)]
    if len(parts) != 3 or parts[1].op != "symbol" or signs[0][0] != signs[1][0]:
        return None
    if signs[0][0] == ">":
        parts, signs = parts[::-1], signs[::-1]
    return [Interval(parts[0], parts[2], "=" in signs[0], "=" in signs[1])]


def _others(intervals: list[Interval]) -> list[Interval]:
    """Return the real numbers that are not in some intervals."""
    found, low, with_low = list[Interval](), _NOWHERE, False
    for interval in _merged(intervals):
        if interval.low != _NOWHERE:
            found.append(Interval(low, interval.low, with_low, not interval.with_low))
        low, with_low = interval.high, not interval.with_high
    if low != _INFINITY:
        found.append(Interval(low, _INFINITY, with_low, False))
    return found


def _common(left: list[Interval], right: list[Interval]) -> list[Interval]:
    found = []
    for one in left:
        for two in right:
            low, with_low = max(
                ((one.low, one.with_low), (two.low, two.with_low)),
                key=lambda end: (_place(end[0]), not end[1]),
            )
            high, with_high = min(
                ((one.high, one.with_high), (two.high, two.with_high)),
                key=lambda end: (_place(end[0]), end[1]),
            )
            if _place(low) < _place(high) or (_place(low) == _place(high) and with_low and with_high):
                found.append(Interval(low, high, with_low, with_high))
    return found


def _merged(intervals: list[Interval]) -> list[Interval]:
    """Return intervals in order, those that touch as one."""
    found: list[Interval] = []
    for interval in sorted(intervals, key=Interval.place):
        if _place(interval.low) > _place(interval.high):
            raise NoValue
        if found and (
            _place(interval.low) < _place(found[-1].high)
            or (_place(interval.low) == _place(found[-1].high) and (interval.with_low or found[-1].with_high))
        ):
            last = found.pop()
            high, with_high = max(
                ((last.high, last.with_high), (interval.high, interval.with_high)),
                key=lambda end: (_place(end[0]), end[1]),
            )
            interval = Interval(last.low, high, last.with_low, with_high)
        found.append(interval)
    return found


def _place(node: Node) -> Any:
    """Return an end of an interval as a real number. Raises NoValue for other ends."""
    context = arithmetic()
    if node in (_INFINITY, _NOWHERE):
        return context.inf if node == _INFINITY else -context.inf
    value = value_of(node, {})
    if context.im(value):
        raise NoValue
    return context.re(value)
