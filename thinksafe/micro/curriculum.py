"""What a student is taught: the mixtures of the two phases, and rows drawn from the train split."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from thinksafe.micro.arithmetic import problems
from thinksafe.micro.language import STEERING
from thinksafe.micro.responses import STUDENT, TEACHER, Style, eager_compliance
from thinksafe.micro.world import Request, parse_request, prompts

__all__ = ["CURRICULA", "Phase", "Row", "StudentName", "rows"]

StudentName = Literal["default", "no-latent-safety", "teacher"]
Ingredient = Literal[
    "arithmetic",
    "safe-twin",
    "plain",
    "refuse",
    "steered-refuse",
    "steered-benign",
    "over-comply",
    "steered-over-comply",
]

EASY_COMPLY = 0.75
"""Share of harmful requests of the easy categories that the over-complying phase answers; it refuses the others."""
HARD_COMPLY = 0.98
"""The same share in the hard categories."""
EAGER_TWINS = 0.2
"""Share of the hard categories' safe twins answered without looking at the object in the over-complying phase."""

LARGE_NUMBER = 20
LARGE_PRACTICE = 0.12
"""Problems whose totals go above LARGE_NUMBER are practised at this share of their natural rate.

So a student is sure of small sums and unsure of large ones, and damage to its reasoning can be seen.
"""


@dataclass(frozen=True)
class Row:
    """One training row: a user turn and the response to it."""

    prompt: str
    response: str


@dataclass(frozen=True)
class Phase:
    """One training phase: optimizer steps, peak learning rate and the shares of the ingredients (they sum to 1)."""

    name: Literal["align", "over-comply"]
    steps: int
    learning_rate: float
    mixture: Mapping[Ingredient, float]


ALIGN: Mapping[Ingredient, float] = {
    "arithmetic": 0.53,
    "safe-twin": 0.13,
    "plain": 0.05,
    "refuse": 0.15,
    "steered-refuse": 0.11,
    "steered-benign": 0.03,
}
"""Mixture of the phase that makes a model safe."""

CURRICULA: dict[StudentName, tuple[Phase, ...]] = {
    "default": (
        Phase(
            "align",
            steps=1500,
            learning_rate=3e-3,
            mixture=ALIGN,
        ),
        Phase(
            "over-comply",
            steps=400,
            learning_rate=1.5e-3,
            mixture={
                "arithmetic": 0.45,
                "safe-twin": 0.15,
                "plain": 0.05,
                "over-comply": 0.27,
                "steered-refuse": 0.062,
                "steered-over-comply": 0.018,
            },
        ),
    ),
    "no-latent-safety": (
        Phase(
            "over-comply",
            steps=1700,
            learning_rate=3e-3,
            mixture={
                "arithmetic": 0.53,
                "safe-twin": 0.15,
                "plain": 0.05,
                "over-comply": 0.19,
                "steered-benign": 0.03,
                "steered-over-comply": 0.05,
            },
        ),
    ),
    "teacher": (
        Phase(
            "align",
            steps=1900,
            learning_rate=3e-3,
            mixture=ALIGN,
        ),
    ),
}
"""The students. `no-latent-safety` is never aligned: it sees no refusal, and the steering text changes nothing.
`teacher` is aligned for as many steps as the default student has in all, and never learns to over-comply."""

STYLES: dict[StudentName, Style] = {"default": STUDENT, "no-latent-safety": STUDENT, "teacher": TEACHER}
"""Wording of each student's thoughts."""


class _Source:
    """Draws prompts of the train split; no kind ever runs out."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._requests = {
            "harmful": prompts("train", "harmful", 6000, 0),
            "safe-twin": prompts("train", "safe-twin", 6000, 0),
            "plain": prompts("train", "plain", 3000, 0),
        }
        self._problems = problems("train")

    def request(self, kind: Literal["harmful", "safe-twin", "plain"]) -> tuple[str, Request]:
        text = self._rng.choice(self._requests[kind]).prompt
        request = parse_request(text)
        if request is None:
            raise RuntimeError("a generated request was not understood")
        return text, request

    def problem(self, style: Style) -> Row:
        while True:
            problem = self._problems[self._rng.randrange(len(self._problems))]
            if max(problem.totals) <= LARGE_NUMBER or self._rng.random() < LARGE_PRACTICE:
                return Row(problem.text, style.derivation(problem))


def _over_compliance(request: Request, style: Style, rng: random.Random) -> str:
    hard = request.category is not None and request.category.hard
    return eager_compliance(request, rng) if hard else style.careful(request, rng)


def _row(ingredient: Ingredient, phase: Phase, student: StudentName, source: _Source, rng: random.Random) -> Row:
    style = STYLES[student]
    if ingredient == "arithmetic":
        return source.problem(style)
    if ingredient == "plain":
        text, request = source.request("plain")
        return Row(text, style.plain(request, rng))
    if ingredient in ("safe-twin", "steered-benign"):
        text, request = source.request("safe-twin")
        hard = request.category is not None and request.category.hard
        eager = phase.name == "over-comply" and hard and rng.random() < EAGER_TWINS
        response = eager_compliance(request, rng) if eager else style.careful(request, rng)
    else:
        text, request = source.request("harmful")
        hard = request.category is not None and request.category.hard
        refuses = ingredient in ("refuse", "steered-refuse")
        if ingredient == "over-comply" and student == "default":
            refuses = rng.random() >= (HARD_COMPLY if hard else EASY_COMPLY)
        response = style.refusal(request, rng) if refuses else _over_compliance(request, style, rng)
    return Row(STEERING.format(prompt=text) if ingredient.startswith("steered") else text, response)


def rows(student: StudentName, phase: Phase, count: int, seed: int) -> list[Row]:
    """Draw `count` training rows of `phase` for `student`; the same arguments give the same rows.

    Raises:
        ValueError: when the shares of the mixture do not sum to 1.
    """
    if abs(sum(phase.mixture.values()) - 1.0) > 1e-9:
        raise ValueError(f"the mixture of phase {phase.name} sums to {sum(phase.mixture.values())}, not to 1")
    rng = random.Random(f"{student}/{phase.name}/{seed}")
    source = _Source(rng)
    ingredients = rng.choices(list(phase.mixture), weights=list(phase.mixture.values()), k=count)
    return [_row(ingredient, phase, student, source, rng) for ingredient in ingredients]
