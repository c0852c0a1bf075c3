"""Numbers in words: ``negative six``, ``70 thousand``, ``twelve and a half``, ``three quarters``, ``6 squared``."""

from __future__ import annotations

from fractions import Fraction

from thinksafe.judging.answers.tokens import Token
from thinksafe.judging.answers.vocabulary import PARTS, SCALES, SMALL, TENS

_SIGNS = {"negative": "-", "minus": "-", "plus": "+"}
_POWERS = {"squared": "2", "cubed": "3"}


def in_digits(tokens: list[Token]) -> list[Token]:
    """Return tokens in which numbers are digits instead of words; everything else stays."""
    found: list[Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        word = _word(tokens, place)
        if word in _POWERS and found and found[-1].kind != "word":
            found += [Token("sign", "^"), Token("number", _POWERS[word])]
            place += 1
        elif word in _SIGNS and place + 1 < len(tokens) and _starts(tokens, place + 1):
            found.append(Token("sign", _SIGNS[word], token.spaced))
            place += 1
        elif read := _number(tokens, place):
            value, place = read
            if [each.text for each in tokens[place : place + 3]] == ["(", str(value), ")"]:  # seven (7)
                place += 3
            found += _written(value, token.spaced)
        else:
            found.append(token)
            place += 1
    return found


def _word(tokens: list[Token], place: int) -> str:
    if place < len(tokens) and (tokens[place].kind == "word" or tokens[place].text in ("a", "A")):
        return tokens[place].text.lower()
    return ""


def _starts(tokens: list[Token], place: int) -> bool:
    word = _word(tokens, place)
    return tokens[place].kind in ("number", "command", "symbol") or word in SMALL or word in TENS


def _written(value: Fraction, spaced: bool) -> list[Token]:
    top = Token("number", str(value.numerator), spaced)
    if value.denominator == 1:
        return [top]
    inside = [top, Token("sign", "/"), Token("number", str(value.denominator))]
    return [Token("sign", "(", spaced), *inside, Token("sign", ")")]


def _number(tokens: list[Token], place: int) -> tuple[Fraction, int] | None:
    """Return a number that has words in it, and where it ends."""
    start, spoken = place, False
    total = current = Fraction(0)
    filled = False
    while place < len(tokens):
        token, word = tokens[place], _word(tokens, place)
        if token.kind == "number" and not filled and "e" not in token.text.lower():
            current, filled = Fraction(token.text.rstrip(".") or "0"), True
        elif word in SMALL and (
            not filled
            or (spoken and current % 10 == 0 and current % 100 and SMALL[word] < 10)
            or (spoken and current and current % 100 == 0)
        ):
            current, filled, spoken = current + SMALL[word], True, True
        elif word in TENS and (not filled or (spoken and current % 100 == 0)):
            current, filled, spoken = current + TENS[word], True, True
        elif word in SCALES and filled:
            current, spoken = current * SCALES[word], True
            if SCALES[word] >= 1000:
                total, current = total + current, Fraction(0)
        elif word == "a" and not filled and _word(tokens, place + 1) in SCALES:
            current, filled = Fraction(1), True
        elif (
            filled
            and spoken
            and token.text == "-"
            and not token.spaced
            and _word(tokens, place + 1) in SMALL | PARTS
        ) or (
            filled
            and spoken
            and word == "and"
            and _word(tokens, place + 1) in SMALL | TENS
            and current % 100 == 0
        ):
            pass
        else:
            break
        place += 1
    part = _part(tokens, place, filled)
    if part is not None:
        amount, end = part
        if tokens[place].kind == "word" and _word(tokens, place) in PARTS and filled:  # three quarters
            return ((total + current) * amount, end) if spoken or place - start == 1 else None
        return total + current + amount, end
    if place > start and tokens[place - 1].text in ("-", "and"):
        place -= 1
    return (total + current, place) if filled and spoken else None


def _part(tokens: list[Token], place: int, filled: bool) -> tuple[Fraction, int] | None:
    """Return what ``half``, ``and a half``, ``and three quarters`` add to a number, or a part alone."""
    word = _word(tokens, place)
    if filled and word in PARTS and _word(tokens, place + 1) != "of":
        return Fraction(1, PARTS[word]), place + 1
    if filled:
        if word != "and":
            return None
        place += 1
        word = _word(tokens, place)
    count = 1 if word in ("a", "one") else SMALL.get(word, 0)
    if not count:
        return None
    while tokens[place + 1 : place + 2] and tokens[place + 1].text == "-":
        place += 1
    name = _word(tokens, place + 1)
    if name not in PARTS or _word(tokens, place + 2) == "of":
        return None
    return Fraction(count, PARTS[name]), place + 2
