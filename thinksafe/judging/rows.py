"""Grading of a file of responses, outside a run: how people see why an answer counts as wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thinksafe.benchmarks.options import LETTERS, MOST, letter_of
from thinksafe.errors import InputError
from thinksafe.jsonl import read_json_rows
from thinksafe.judging.answers.reading import described, read
from thinksafe.judging.grading import Judged, judge_answer
from thinksafe.traces import CLOSE, OPEN, split


def graded_rows(path: Path, *, explain: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON Lines file in their order, each with ``extracted``, ``correct`` and ``reading``.

    All rows are checked before the first is graded.

    Args:
        path: The file; each row has ``response``, ``answer`` and perhaps ``options``.
        explain: Add ``explanation``, the same in words.

    Raises:
        InputError: A row cannot be graded; names the file and the line.
    """
    rows = [(row, *_problem(row, f"{path}, line {number}")) for number, row in read_json_rows(path)]
    for row, answer, options in rows:
        answered = _answer(row["response"])
        if answered is None:
            judged = Judged(None, False, "unfinished thought")
        else:
            judged = judge_answer(answered, answer, options)
        graded = {**row, "extracted": judged.extracted, "correct": judged.correct, "reading": judged.reading}
        yield {**graded, "explanation": _explanation(judged, answer, options)} if explain else graded


def _answer(response: str) -> str | None:
    """Return the part of a response that is judged; None if its thought is open."""
    if CLOSE in response:
        return split(response, "think").answer
    return None if OPEN in response else response


def _problem(row: dict[str, Any], place: str) -> tuple[str, int]:
    """Return the reference answer and the number of options of a row."""
    if not isinstance(row.get("response"), str):
        raise InputError(f"{place}: `response` is not a text.", "Give each row the text of a response.")
    answer, options = row.get("answer"), row.get("options")
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        answer = repr(answer)
    if not isinstance(answer, str) or not answer.strip():
        raise InputError(
            f"{place}: `answer` is not a text, or it is blank.", "Give each row its reference answer."
        )
    if options is None or options == 0 or options == []:
        return answer, 0
    texts = options if isinstance(options, list) and all(isinstance(each, str) for each in options) else None
    count = len(texts) if texts is not None else options
    if not isinstance(count, int) or isinstance(count, bool):
        raise InputError(
            f"{place}: `options` is neither a number nor a list of texts.",
            "Give their number or their texts.",
        )
    if not 2 <= count <= MOST:
        raise InputError(
            f"{place}: {count} lettered options; there can be 2 to {MOST}.",
            "Give fewer options, or none and a free answer.",
        )
    letter = letter_of(answer, texts if texts is not None else [""] * count)
    if letter is None:
        raise InputError(
            f"{place}: `answer` names none of the options.", f"Give a letter from A to {LETTERS[count - 1]}."
        )
    return letter, count


def _explanation(judged: Judged, answer: str, options: int) -> str:
    """Return in words how an answer was found and read, and with what it was compared."""
    rule, _, value = judged.reading.partition(": ")
    if options:
        chosen = f"gives option {judged.extracted}" if judged.extracted else "gives no single option"
        return f"The answer {chosen}; option {answer} is right."
    if judged.extracted is None:
        missing = "The thought is not closed" if rule == "unfinished thought" else "The text states no answer"
        return f"{missing}, so it counts as wrong."
    reference = read(answer)
    right = (
        described(reference)
        if reference is not None
        else "compared as a text, because it cannot be read whole"
    )
    told = (
        "cannot be read whole, so it equals only the same text"
        if value == "unreadable"
        else f"is read as {value}"
    )
    verdict = "They are equal." if judged.correct else "They are not equal."
    return f"Found by the rule `{rule}`. It {told}. The reference is {right}. {verdict}"
