"""Read an answer as a value: words, or mathematics with a unit; or find that it cannot be read whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from thinksafe.judging.answers.equality import same
from thinksafe.judging.answers.expressions import Parser
from thinksafe.judging.answers.nodes import Node, Unreadable
from thinksafe.judging.answers.numerals import in_digits
from thinksafe.judging.answers.tokens import LONGEST, Token, tokenize
from thinksafe.judging.answers.vocabulary import CHANGES, CLAUSES, LEADING_PHRASES, LEADS, UNITS, word_set

_REMARKS = word_set(
    "because since as which so hence giving meaning given who this that thus therefore not with "
    "assuming based "
    "considering after before due just rather instead for if"
) - {"for", "if", "with", "before", "after"}
"""Words that begin a remark behind a value."""
_PRONOUNS = ("we", "it", "there", "they", "that", "this", "he", "she")
_DENIALS = word_set(
    "wait actually correction oops sorry wrong incorrect false invalid impossible mistaken mistake error isn't"
)


@dataclass(frozen=True)
class Value:
    """What an answer was read as."""

    node: Node | None = None
    """The mathematics; None for words."""
    words: tuple[str, ...] = ()
    """The words of an answer in words."""
    unit: str = ""
    """Unit or noun behind a single number."""


@lru_cache(maxsize=1024)
def read(text: str) -> Value | None:
    """Return the value of an answer; None if it is not, or not wholly, understood."""
    if len(text) > LONGEST:
        return None
    tokens = _trimmed(tokenize(text))
    if not tokens:
        return None
    spoken = in_digits(tokens)
    spoken = _without_leads(spoken) or spoken
    candidates = [spoken, *_without_remark(spoken)]
    for candidate in candidates:
        if _has_mathematics(candidate) and (value := _mathematics(candidate)) is not None:
            return value
    if _has_mathematics(spoken):
        return None
    words = min((_words(candidate) for candidate in candidates), key=len)
    return Value(words=words) if words else None


def equal(reference: str, answer: str) -> bool:
    """Return whether an answer has the value of the reference."""
    if reference.strip() == answer.strip():
        return True
    if max(len(reference), len(answer)) > LONGEST:
        return False
    if _key(reference) in _keys(answer):
        return True
    left, right = read(reference), read(answer)
    if left is None or right is None:
        return False
    if left.node is None or right.node is None:
        return left.words == right.words and left.node is right.node
    units = UNITS.get(left.unit), UNITS.get(right.unit)
    if None not in units and units[0] != units[1]:
        return False
    return same(left.node, right.node)


def _key(text: str) -> tuple[str, ...]:
    return _texts(_trimmed(tokenize(text)))


def _keys(text: str) -> list[tuple[str, ...]]:
    """Return the tokens of an answer, and those without words in front of it or a remark behind it."""
    whole = _trimmed(tokenize(text))
    tokens = _without_leads(whole)
    return [_texts(whole), _texts(tokens), *map(_texts, _without_remark(tokens))]


def _texts(tokens: list[Token]) -> tuple[str, ...]:
    return tuple(token.text.lower() if token.kind == "word" else token.text for token in tokens)


def _trimmed(tokens: list[Token]) -> list[Token]:
    """Return tokens without the punctuation at the end."""
    end = len(tokens)
    while end and tokens[end - 1].kind == "sign" and tokens[end - 1].text in '.,;:?"*`':
        end -= 1
    start = 0
    while (
        start < end and tokens[start].kind != "word" and tokens[start].text in (*':*`"=,', "approx", "ldots")
    ):
        start += 1
    return tokens[start:end]


def _has_mathematics(tokens: list[Token]) -> bool:
    """Return whether tokens are mathematics, perhaps with words; ``p - q`` is, and ``so-called`` is not."""
    if any(token.kind in ("number", "command") for token in tokens):
        return True
    words = sum(token.kind == "word" for token in tokens)
    if not words:
        return True
    return words < len(tokens) and any(
        token.text in ("=", "<", ">", "+", "/", "^", "|", "\\{") for token in tokens
    )


def _words(tokens: list[Token]) -> tuple[str, ...]:
    found = [token.text.lower() for token in tokens if token.kind in ("word", "symbol")]
    if len(found) > 1:
        found = [word for word in found if word not in ("a", "an", "the", "option")]
    return tuple(found)


def _without_remark(tokens: list[Token]) -> list[list[Token]]:
    """Return what stands before remarks: "72, because he sold all", "6 (not 7)", "5, not 6"."""
    return [
        _trimmed(tokens[:place])
        for place in range(1, len(tokens))
        if _begins_remark(tokens, place) and not {each.text.lower() for each in tokens[place:]} & _DENIALS
    ]


def _begins_remark(tokens: list[Token], place: int) -> bool:
    """Return whether what follows only says something about the value in front of it."""
    token = tokens[place]
    after, second = ([*tokens[place + 1 : place + 3], None, None])[:2]
    word = after.text.lower() if after is not None and after.kind == "word" else ""
    if token.kind == "word":
        return token.text.lower() in _REMARKS or (token.text == "and" and word in _PRONOUNS)
    if token.kind != "sign":
        return False
    if token.text == "(":
        inside = {each.text.lower() for each in tokens[place:] if each.kind == "word"}
        calculated = any(each.text == "=" for each in tokens[place:])
        remark = bool(inside) or calculated or tokens[place - 1].kind == "word"
        return token.spaced and tokens[-1].text == ")" and "mod" not in inside and remark
    if token.text == "-" and token.spaced and word and after is not None and after.spaced:
        return True
    if token.text not in ",;-.":
        return False
    if word in ("and", "but"):
        return second is not None and second.kind == "word" and second.text.lower() not in CHANGES
    return word in _REMARKS or word == "where" or word in _PRONOUNS


def _mathematics(tokens: list[Token]) -> Value | None:
    parser = Parser(tokens)
    try:
        items, separators, unit = list[Node](), list[str](), ""
        while True:
            items.append(parser.relation())
            unit = parser.units()
            if set(unit.lower().split()) & (CHANGES | CLAUSES):
                return None
            if parser.peek() is None:
                break
            separators.append(parser.separator())
    except (Unreadable, RecursionError):
        return None
    if len(items) == 1:
        return Value(items[0], unit=unit)
    return Value(Node("list", tuple(items), separators[-1]))


def _without_leads(tokens: list[Token]) -> list[Token]:
    """Return tokens without the words in front that change no value: "exactly", "approximately", "a total of"."""
    place = 0
    while place < len(tokens):
        texts = tuple(token.text.lower() for token in tokens[place:])
        phrase = next((each for each in LEADING_PHRASES if texts[: len(each)] == each), None)
        if phrase:
            place += len(phrase)
        elif texts[0] in ("option", "choice") and [token.kind for token in tokens[place + 1 :]] == ["symbol"]:
            place += 1
        elif tokens[place].kind == "word" and tokens[place].text.lower() in LEADS:
            place += 1
            if place < len(tokens) and tokens[place].text in (",", ":"):
                place += 1
        else:
            break
    return tokens[place:]


def is_words(reference: str) -> bool:
    """Return whether an answer is words, or nothing that can be read as mathematics."""
    value = read(reference)
    return value is None or value.node is None


def described(value: Value) -> str:
    """Return a value as a short text for people."""
    if value.node is None:
        return f"words {' '.join(value.words)}"
    return shown(value.node) + (f" (unit: {value.unit})" if value.unit else "")


_INFIX = {
    "add": " + ",
    "sub": " - ",
    "mul": "*",
    "div": "/",
    "pow": "^",
    "ratio": ":",
    "cup": " u ",
    "cap": " n ",
    "setminus": " \\ ",
}


def shown(node: Node) -> str:
    """Return an expression as plain text."""
    args = [shown(arg) for arg in node.args]
    if node.op in _INFIX and len(args) == 2:
        text = _INFIX[node.op].join(
            f"({each})"
            if arg.op in ("add", "sub", "neg") or (node.op in ("div", "pow") and arg.op in _INFIX)
            else each
            for each, arg in zip(args, node.args, strict=True)
        )
        return text if node.op not in ("add", "sub") else _INFIX[node.op].join(args)
    if node.op == "relation":
        signs = node.text.split()
        return args[0] + "".join(f" {sign} {each}" for sign, each in zip(signs, args[1:], strict=True))
    match node.op:
        case "number" | "symbol" | "constant":
            return node.text
        case "neg":
            return f"-{args[0]}"
        case "tuple":
            return f"{node.text[0]}{', '.join(args)}{node.text[1]}"
        case "set":
            return f"{{{', '.join(args)}}}"
        case "list":
            return ", ".join(args)
        case "base":
            return f"{node.text} in base {args[0]}"
        case "percent" | "degree" | "factorial":
            return args[0] + {"percent": "%", "degree": " degrees", "factorial": "!"}[node.op]
        case "group":
            return args[0]
        case "repeating":
            return node.text.replace(" ", "(") + ")..."
    name = node.text if node.op == "function" else node.op
    return f"{name}({', '.join(args)})"
