"""Values of expressions: exact where they are rational, to 60 digits where they are not.

An answer is untrusted: ``9^{9^{9^9}}`` has more digits than there is memory. Every operation is bounded before it is
done, so that no expression takes long; one that exceeds the bounds has no value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from math import comb, factorial
from typing import Any

from thinksafe.judging.answers.nodes import Node

DIGITS = 60
"""Precision of values that are not rational."""
BITS = 40_000
"""Most bits of an exact value."""
SCALE = 1_000_000
"""Largest binary exponent of any value."""
ARITHMETIC = frozenset({"add", "sub", "mul", "div", "ratio", "neg", "group", "percent"})
FUNCTIONS = frozenset({
    "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "log", "floor", "ceil", "fabs", "log10",
})
"""Functions of one number, by mpmath's names."""


class NoValue(Exception):
    """The expression has no value, or none within the bounds."""


def exact(node: Node) -> Fraction | None:
    """Return the value of a rational expression; None if it is not rational, or its parts are not.

    Raises:
        NoValue: It divides by zero or exceeds the bounds.
    """
    if node.op == "number":
        return _literal(node.text)
    if node.op == "repeating":
        return _repeating(node.text)
    if node.op == "base":
        return None
    parts = []
    for arg in node.args:
        part = exact(arg)
        if part is None:
            return None
        parts.append(part)
    if not parts:
        return None
    value = _rational(node, parts)
    if value is not None and max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS:
        raise NoValue
    return value


def _rational(node: Node, parts: list[Fraction]) -> Fraction | None:
    first, last = parts[0], parts[-1]
    if node.op in ARITHMETIC:
        value: Fraction = _calculated(node.op, first, last)
        return value
    match node.op:
        case "pow":
            if last.denominator != 1:
                return None
            if abs(last) * max(first.numerator.bit_length(), first.denominator.bit_length()) > BITS:
                raise NoValue
            if not first and last <= 0:
                raise NoValue
            return Fraction(first ** int(last))
        case "factorial":
            return Fraction(factorial(_count(first, 2000)))
        case "binom":
            return Fraction(comb(_count(first, 10_000), _count(last, 10_000)))
        case "function" if node.text in ("abs", "floor", "ceil", "min", "max"):
            known = {
                "abs": abs(first),
                "floor": Fraction(first // 1),
                "ceil": Fraction(-(-first // 1)),
                "min": min(parts),
                "max": max(parts),
            }
            return known[node.text]
    return None


def _calculated(operation: str, first: Any, last: Any) -> Any:
    """Return what an operation of ``ARITHMETIC`` gives, of fractions and of mpmath's numbers alike."""
    match operation:
        case "add":
            return first + last
        case "sub":
            return first - last
        case "mul":
            return first * last
        case "neg":
            return -first
        case "percent":
            return first / 100
        case "group":
            return first
    if not last:
        raise NoValue
    return first / last


def _count(value: Fraction, most: int) -> int:
    if value.denominator != 1 or not 0 <= value <= most:
        raise NoValue
    return int(value)


def _literal(text: str) -> Fraction:
    exponent = text.lower().partition("e")[2]
    if len(exponent) > 5 or abs(int(exponent or 0)) > BITS // 4:
        raise NoValue
    return Fraction(text)


def _repeating(text: str) -> Fraction:
    fixed, repeated = text.split()
    places = len(fixed.partition(".")[2])
    return Fraction(fixed) + Fraction(int(repeated), (10 ** len(repeated) - 1) * 10**places)


@cache
def arithmetic() -> Any:
    """Return mpmath's arithmetic with the precision of this module."""
    from mpmath import mp

    context = mp.clone()
    context.dps = DIGITS
    return context


def symbols(node: Node) -> frozenset[str]:
    """Return the variables of an expression; ``e`` and ``i`` are constants."""
    if node.op == "symbol":
        return frozenset() if node.text in ("e", "i") else frozenset((node.text,))
    return frozenset().union(*(symbols(arg) for arg in node.args))


def point(names: frozenset[str], index: int, *, positive: bool) -> dict[str, Any]:
    """Return a value for every variable, the same in every process."""
    found = {}
    for name in names:
        digest = hashlib.sha256(f"{index} {name}".encode()).digest()
        value = arithmetic().mpf(int.from_bytes(digest[:16], "big")) / 2**126 + arithmetic().mpf("0.1")
        found[name] = value if positive or digest[20] % 2 else -value
    return found


def value_of(node: Node, at: Mapping[str, Any]) -> Any:
    """Return the value of an expression as a real or complex number of mpmath.

    Args:
        node: The expression.
        at: Values of its variables.

    Raises:
        NoValue: It is not defined there, or exceeds the bounds.
    """
    try:
        return _bounded(_value(node, at))
    except (ArithmeticError, ValueError, OverflowError) as error:
        raise NoValue from error


def _bounded(value: Any) -> Any:
    context = arithmetic()
    if not context.isfinite(value) or (value and abs(context.mag(value)) > SCALE):
        raise NoValue
    return value


def _value(node: Node, at: Mapping[str, Any]) -> Any:
    context = arithmetic()
    if node.op in ("number", "repeating"):
        found = _literal(node.text) if node.op == "number" else _repeating(node.text)
        return context.mpf(found.numerator) / found.denominator
    if node.op == "symbol":
        if node.text in at:
            return at[node.text]
        if node.text in ("e", "i"):
            return context.e() if node.text == "e" else context.mpc(0, 1)
        raise NoValue
    if node.op == "constant":
        if node.text != "pi":
            raise NoValue
        return context.pi()
    parts = [_bounded(_value(arg, at)) for arg in node.args]
    if not parts:
        raise NoValue
    first, last = parts[0], parts[-1]
    if node.op in ARITHMETIC:
        return _calculated(node.op, first, last)
    match node.op:
        case "degree":
            return first * context.pi() / 180
        case "pow":
            return _power(first, last)
        case "root":
            return _root(first, last)
        case "factorial":
            return _factorial(first)
        case "binom":
            return _factorial(first) / _factorial(last) / _factorial(first - last)
        case "function":
            return _function(node.text, parts)
    raise NoValue


def _power(base: Any, exponent: Any) -> Any:
    context = arithmetic()
    if not base and not exponent:
        raise NoValue
    if base and abs(exponent) * (abs(context.mag(base)) + 1) > SCALE:
        raise NoValue
    return context.power(base, exponent)


def _root(base: Any, degree: Any) -> Any:
    context = arithmetic()
    if context.im(base) == 0 and context.re(base) < 0 and degree == context.floor(degree) and degree % 2 == 1:
        return -context.power(-base, 1 / degree)  # the real root: that of -8 is -2
    return _power(base, 1 / degree)


def _factorial(value: Any) -> Any:
    if abs(value) > SCALE // 50:
        raise NoValue
    return arithmetic().factorial(value)


def _function(name: str, parts: list[Any]) -> Any:
    context = arithmetic()
    first = parts[0]
    if name in ("min", "max"):
        return (min if name == "min" else max)(parts)
    if name == "log" and len(parts) == 2:
        return context.log(first) / context.log(parts[1])
    if len(parts) != 1:
        raise NoValue
    if name == "exp":
        return _power(context.e(), first)
    if abs(context.mag(first)) > 1000 and name not in ("log", "ln", "lg", "abs"):
        raise NoValue
    if name.endswith("h") and abs(first) > SCALE // 2:
        raise NoValue
    if name in ("Re", "Im"):
        return context.re(first) if name == "Re" else context.im(first)
    if name.startswith("arc"):
        return getattr(context, "a" + name[3:])(first)
    names = {"abs": "fabs", "ln": "log", "lg": "log10"}
    function = names.get(name, name)
    if function not in FUNCTIONS:
        raise NoValue
    return getattr(context, function)(first)
