"""Instructions that a program can verify: whether a response has the asked length, words, form or language.

The 25 kinds and the names of their options are those of IFEval (arXiv:2311.07911, section 2.2). A response follows its
prompt if it follows every instruction as written (the paper's strict accuracy, prompt level). Three readings are ours,
as the original ones need NLTK's data: what a sentence is, which words are in capitals, and which language a text is in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, validate_call

from thinksafe.errors import InputError
from thinksafe.records import Instruction

Relation = Literal["less than", "at least"]
Number = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(min_length=1, max_length=10_000)]
Words = Annotated[tuple[Word, ...], Field(min_length=1)]

CLOSED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""The responses that ``constrained_response`` allows; interface strings of IFEval."""
# after these a full stop ends no sentence; so does a single letter or a number that begins a line
_SHORT = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "rev", "hon", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "no", "vol", "fig",
    "al", "inc", "ltd", "co", "corp", "dept", "est",
))
_CLOSING = "\"'\u201d\u2019)]*"
"""What may stand between a sentence's last mark and the space."""
_ENDS = re.compile(rf"(?<=[.!?\u2026])[{re.escape(_CLOSING)}]*\s+(?![a-z])")


def followed(instructions: tuple[Instruction, ...], text: str) -> list[bool]:
    """Return for each instruction whether a text follows it; an empty text follows none.

    Raises:
        InputError: an instruction is unknown, or its options are wrong.
    """
    return [bool(text.strip()) and _follows(instruction, text) for instruction in instructions]


def require_known(instructions: tuple[Instruction, ...], where: str) -> None:
    """Raise InputError if an instruction is unknown or its options are wrong.

    Args:
        instructions: What a prompt asks for.
        where: The prompt, for the message.
    """
    for instruction in instructions:
        try:
            _follows(instruction, "")
        except InputError as error:
            raise InputError(f"{where}: {error.problem}", error.action) from error


def _follows(instruction: Instruction, text: str) -> bool:
    if instruction.kind not in CHECKS:
        raise InputError(
            f"there is no instruction {instruction.kind[:80]!r}.", f"Known: {', '.join(sorted(CHECKS))}."
        )
    try:
        return _checked(instruction.kind)(text, **instruction.options)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        option = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"the instruction {instruction.kind!r} has a wrong option {option[:80]!r}: {first['msg']}.",
            "Correct the row.",
        ) from error


@cache
def _checked(kind: str) -> Callable[..., bool]:
    return validate_call(CHECKS[kind])


def _holds(count: int, relation: Relation, limit: int) -> bool:
    return count < limit if relation == "less than" else count >= limit


def _existence(text: str, *, keywords: Words) -> bool:
    return all(word.casefold() in text.casefold() for word in keywords)


def _frequency(text: str, *, keyword: Word, frequency: Number, relation: Relation) -> bool:
    return _holds(text.casefold().count(keyword.casefold()), relation, frequency)


def _forbidden_words(text: str, *, forbidden_words: Words) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def _letter_frequency(
    text: str, *, letter: Annotated[str, Field(min_length=1, max_length=1)], let_frequency: Number,
    let_relation: Relation,
) -> bool:
    return _holds(text.lower().count(letter.lower()), let_relation, let_frequency)


def _response_language(text: str, *, language: Word) -> bool:
    return _language(text) == language[:2].lower()


def _number_sentences(text: str, *, num_sentences: Number, relation: Relation) -> bool:
    return _holds(count_sentences(text), relation, num_sentences)


def _number_paragraphs(text: str, *, num_paragraphs: Number) -> bool:
    parts = _apart(text, "***")
    return parts is not None and len(parts) == num_paragraphs


def _number_words(text: str, *, num_words: Number, relation: Relation) -> bool:
    return _holds(len(re.findall(r"\w+", text)), relation, num_words)


def _nth_paragraph_first_word(
    text: str, *, num_paragraphs: Number, nth_paragraph: Annotated[int, Field(ge=1)], first_word: Word
) -> bool:
    paragraphs = text.split("\n\n")
    filled = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if filled != num_paragraphs or nth_paragraph > filled:
        return False
    # IFEval counts the place among all parts, empty ones included
    words = paragraphs[nth_paragraph - 1].split()
    said = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'))[0] if words else ""
    return said.lower() == first_word.lower()


def _number_placeholders(text: str, *, num_placeholders: Number) -> bool:
    return len(re.findall(r"\[[^\]\n]*\]", text)) >= num_placeholders


def _postscript(text: str, *, postscript_marker: Word) -> bool:
    spaced = r"\s?".join(re.escape(letter) for letter in postscript_marker.replace(" ", ""))
    return re.search(spaced, text, re.IGNORECASE) is not None


def _number_bullet_lists(text: str, *, num_bullets: Number) -> bool:
    return sum(bool(re.match(r"\s*(\*[^*]|-)", line)) for line in text.split("\n")) == num_bullets


def _constrained_response(text: str) -> bool:
    return any(allowed in text for allowed in CLOSED)


def _number_highlighted_sections(text: str, *, num_highlights: Number) -> bool:
    single = re.findall(r"\*([^\n*]*)\*", text)
    double = re.findall(r"\*\*([^\n*]*)\*\*", text)
    return sum(bool(part.strip()) for part in (*single, *double)) >= num_highlights


def _multiple_sections(text: str, *, section_spliter: Word, num_sections: Number) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d+", text)) >= num_sections


def _json_format(text: str) -> bool:
    fenced = re.fullmatch(r"```(?:json)?(.*?)(?:```)?", text.strip(), re.DOTALL | re.IGNORECASE)
    try:
        json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    return any(inner.strip(" <>") for inner in re.findall(r"<<([^\n]+)>>", text))


def _two_responses(text: str) -> bool:
    parts = _apart(text, "******")
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


def _repeat_prompt(text: str, *, prompt_to_repeat: Word) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end_checker(text: str, *, end_phrase: Word) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _capital_word_frequency(text: str, *, capital_frequency: Number, capital_relation: Relation) -> bool:
    words = re.findall(r"\w+(?:[-'\u2019]\w+)*", text)
    return _holds(sum(word.isupper() for word in words), capital_relation, capital_frequency)


def _english_capital(text: str) -> bool:
    return text.isupper() and _language(text) == "en"


def _english_lowercase(text: str) -> bool:
    return text.islower() and _language(text) == "en"


def _no_comma(text: str) -> bool:
    return "," not in text


def _quotation(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == stripped[-1] == '"'


CHECKS: dict[str, Callable[..., bool]] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:json_format": _json_format,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "punctuation:no_comma": _no_comma,
}
"""The kinds of instructions, by the ids of the data set."""


def count_sentences(text: str) -> int:
    """Return how many sentences a text has: ends at ``.``, ``!``, ``?`` or the text's own end.

    A full stop after an abbreviation, a single letter or the number of a list's item ends none; nor does one that a
    small letter follows.
    """
    count, rest = 0, ""
    for part in _ENDS.split(text.strip()):
        last = (part.split() or [""])[-1].strip(f"{_CLOSING}([\u201c")
        word = last.rstrip(".").lower()
        short = last.endswith(".") and (
            word in _SHORT or (len(word) == 1 and word.isalpha() and word != "i")
            or (word.isdecimal() and len(part.split()) == 1)
        )
        rest = part if short else ""
        count += not short and any(character.isalnum() for character in part)
    return count + any(character.isalnum() for character in rest)


def _apart(text: str, divider: str) -> list[str] | None:
    """Return the parts between dividers, without an empty first or last one; None if one in the middle is empty."""
    parts = [part.strip() for part in text.split(divider)]
    parts = parts[not parts[0]:len(parts) - (len(parts) > 1 and not parts[-1])]
    return parts if all(parts) else None


@cache
def _identifier() -> Any:
    import py3langid

    return py3langid


def _language(text: str) -> str:
    """Return the language's two letters (ISO 639-1), empty for a text without letters."""
    if not any(character.isalpha() for character in text):
        return ""
    # the model was made from ordinary texts; capitals alone mislead it
    return str(_identifier().classify(text.lower())[0])
