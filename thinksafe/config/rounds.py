"""Rounds: the candidate of one round samples what the student is trained on in the next (``sampling.rounds``).

Every round trains the first student anew, so the result is one adapter (or one set of weights) for it, and drift is
measured against it. STaR (arXiv:2203.14465, section 3.1) starts each iteration from the original model, too, to avoid
overfitting.
"""

from __future__ import annotations

import re

from thinksafe.methods.base import Method
from thinksafe.methods.objectives import OnPolicy
from thinksafe.settings import Section

MOST = 4
"""Rounds of a run: the pipeline has tasks for each."""
LAST = 10
"""Above the number in any task's name."""
_EARLIER = re.compile(r"-round([1-9])(?=\.|$)")


class RoundsSection(Section):
    """How many rounds the run has. No stage reads it.

    The pipeline has tasks for each round. The number stands in the plan so that another one counts as something new
    (:mod:`thinksafe.stages.due`).
    """

    rounds: int


def round_suffix(number: int, rounds: int) -> str:
    """Return what the names of a round's tasks end in.

    The last round's tasks have the names of a run of one round, since the candidate and its examples come from it.

    Args:
        number: The round, from 1.
        rounds: Rounds of the run.
    """
    return f"-round{number}" if number < rounds else ""


def round_of(task: str) -> int:
    """Return the round that a task's name says, from 1; ``LAST`` for the last one, whose tasks name none."""
    found = _EARLIER.search(task)
    return int(found[1]) if found is not None else LAST


def without_round(task: str) -> str:
    """Return a task's name without the round."""
    return _EARLIER.sub("", task)


def tasks_of_rounds(task: str) -> tuple[str, ...]:
    """Return the names of a task in all the rounds that a run can have, the last round's at the end."""
    return tuple(f"{task}{round_suffix(number, MOST)}" for number in range(1, MOST + 1))


def check_rounds(method: Method, rounds: int) -> None:
    """Raise ValueError if a method has nothing that a candidate could sample in a second round."""
    if rounds == 1:
        return
    responses = method.responses()
    arms = {arm for each in responses.arms.values() for arm in each}
    if isinstance(method.minimises(), OnPolicy):
        why = "which samples while it trains, always from the newest weights"
    elif responses.teacher is not None or not arms & {"plain", "steered"}:
        why = "whose responses are not the student's: a second round would train on the same rows"
    else:
        return
    raise ValueError(f"sampling.rounds is {rounds} and method.kind {method.kind}, {why}; leave it at 1")
