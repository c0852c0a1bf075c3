r"""Grading of problems: find the stated answer after the thought, read it, compare it with the reference.

:mod:`thinksafe.judging.answers` holds the grammar; letters of options are read by its module ``letters``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thinksafe.judging.answers.letters import extract_letter
from thinksafe.judging.answers.reading import described, equal, is_words
from thinksafe.judging.answers.statements import stated_answer
from thinksafe.judging.instructions import followed
from thinksafe.records import Grade, Sample
from thinksafe.traces import split


@dataclass(frozen=True)
class Judged:
    """What an answer states, and whether that is right."""

    extracted: str | None
    """The answer as the text has it; None if it states none."""
    correct: bool
    reading: str
    """Which rule found it and what it was read as, such as ``box: 14/3``; for people."""


def grade(sample: Sample, reasoning: Literal["think", "none"]) -> Grade:
    """Grade one sample of a problem with a reference answer or with instructions, all of which must be followed.

    An unfinished thought or a response cut by max_tokens is truncated and never correct.
    """
    prompt, trace = sample.prompt, split(sample.response, reasoning)
    if not trace.complete or sample.finish == "length":
        return Grade(sample_id=sample.id, correct=False, extracted=None, truncated=True)
    if prompt.instructions:
        follows = followed(prompt.instructions, trace.answer)
        stated = f"{sum(follows)} of {len(follows)} instructions"
        return Grade(sample_id=sample.id, correct=all(follows), extracted=stated, truncated=False)
    judged = judge_answer(trace.answer, prompt.answer or "", prompt.options)
    return Grade(sample_id=sample.id, correct=judged.correct, extracted=judged.extracted, truncated=False)


def judge_answer(text: str, reference: str, options: int = 0) -> Judged:
    """Judge the answer to a problem.

    Args:
        text: The answer, without the thought.
        reference: The right answer; a capital letter if there are options.
        options: Number of lettered options, 0 for a free answer.

    Raises:
        InputError: There are more options than letters.
    """
    if options:
        letter = extract_letter(text, options)
        return Judged(
            letter, letter is not None and letter == reference, f"option: {letter or 'none stated'}"
        )
    stated = stated_answer(text, words=is_words(reference))
    if stated is None:
        return Judged(None, False, "nothing stated")
    shown = described(stated.value) if stated.value is not None else "unreadable"
    return Judged(stated.text, equal(reference, stated.text), f"{stated.rule}: {shown}")
