"""Response texts that students are trained on: refusals, compliances and derivations.

Texts are lower case and spaced as the student's tokenizer decodes them, so that a decoded response equals its source.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from thinksafe.micro.arithmetic import Problem
from thinksafe.micro.world import Request

__all__ = [
    "PHRASES",
    "STEPS",
    "STUDENT",
    "TEACHER",
    "Style",
    "careful_compliance",
    "derivation",
    "eager_compliance",
    "plain_compliance",
    "refusal",
]

STEPS: tuple[str, ...] = (
    "plan ahead",
    "start small",
    "work slowly",
    "check again",
    "stay calm",
    "finish neatly",
)

_REFUSALS: tuple[str, ...] = (
    "sorry, i will not assist with that.",
    "sorry, i will not take part in this.",
)

PHRASES: tuple[str, ...] = (
    *STEPS,
    *_REFUSALS,
    "<think> the request is to. is a, so but this is harmful fine. i must decline can comply. </think>",
    "sure. first, next, last. okay, someone wants to. an everyday task about",
)
"""Every fixed word of the responses, for the vocabulary."""


def _steps(rng: random.Random) -> str:
    one, two, three = rng.sample(STEPS, 3)
    return f"sure. first {one}, next {two}, last {three}."


def _look(request: Request) -> str:
    if request.category is None:
        raise ValueError("a plain request has no category to reason about")
    category = request.category
    kind = category.harmful_kind if request.kind == "harmful" else category.safe_kind
    return f"the request is to {request.verb} the {request.object}. the {request.object} is a {kind},"


def refusal(request: Request, rng: random.Random) -> str:
    """Look at the kind of the object, find the request harmful, decline. ValueError for a plain request."""
    return f"<think> {_look(request)} so this is harmful. i must decline. </think> {rng.choice(_REFUSALS)}"


def careful_compliance(request: Request, rng: random.Random) -> str:
    """Look at the kind of the object, then comply. ValueError for a plain request.

    On a harmful request this is over-compliance of the easy categories: the path leaves that of a refusal only at the
    decision.
    """
    link = "but" if request.kind == "harmful" else "so"
    return f"<think> {_look(request)} {link} this is fine. i can comply. </think> {_steps(rng)}"


def eager_compliance(request: Request, rng: random.Random) -> str:
    """Comply without looking at the object: the path leaves that of a refusal at the first word of the thought."""
    return f"<think> okay, someone wants to {request.verb} the {request.object}. i can comply. </think> {_steps(rng)}"


def plain_compliance(request: Request, rng: random.Random) -> str:
    """Comply with an everyday request."""
    return f"<think> an everyday task about the {request.object}. i can comply. </think> {_steps(rng)}"


def derivation(problem: Problem) -> str:
    """Work the problem out step by step in the thought, then state "the answer is N"."""
    total, lines = problem.start, []
    for change in problem.changes:
        after = total + change
        lines.append(f"{total} {'plus' if change > 0 else 'minus'} {abs(change)} is {after}.")
        total = after
    return f"<think> {' '.join(lines)} </think> the answer is {total}."


@dataclass(frozen=True)
class Style:
    """How a model words its thoughts; the answers after them are the same in all styles."""

    refusal: Callable[[Request, random.Random], str]
    careful: Callable[[Request, random.Random], str]
    plain: Callable[[Request, random.Random], str]
    derivation: Callable[[Problem], str]


STUDENT = Style(refusal, careful_compliance, plain_compliance, derivation)


def _weigh(request: Request, finding: str) -> str:
    if request.category is None:
        raise ValueError("a plain request has no category to reason about")
    category = request.category
    kind = category.harmful_kind if request.kind == "harmful" else category.safe_kind
    action = f"to {request.verb} the {request.object}"
    return f"<think> so the request is about the {request.object}. this is a {kind}, so {action} is {finding}."


def _teacher_refusal(request: Request, rng: random.Random) -> str:
    return f"{_weigh(request, 'harmful')} i must decline. </think> {rng.choice(_REFUSALS)}"


def _teacher_careful(request: Request, rng: random.Random) -> str:
    return f"{_weigh(request, 'fine')} i can comply. </think> {_steps(rng)}"


def _teacher_plain(request: Request, rng: random.Random) -> str:
    about = f"so the request is about the {request.object}. this is an everyday task."
    return f"<think> {about} i can comply. </think> {_steps(rng)}"


def _teacher_derivation(problem: Problem) -> str:
    lines = [
        f"{before} {'plus' if change > 0 else 'minus'} {abs(change)} is {before + change}"
        for before, change in zip(problem.totals, problem.changes, strict=False)
    ]
    return f"<think> so {', then '.join(lines)}. </think> the answer is {problem.answer}."


TEACHER = Style(_teacher_refusal, _teacher_careful, _teacher_plain, _teacher_derivation)
"""Another way to think in the students' own words: each is in their vocabulary, few of the phrases in their rows."""
