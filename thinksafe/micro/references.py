"""Reference responses of the micro world: what a careful student would write, for methods that are given responses."""

from __future__ import annotations

import random
from collections.abc import Iterable

from thinksafe.micro.arithmetic import parse_problem
from thinksafe.micro.responses import careful_compliance, derivation, plain_compliance, refusal
from thinksafe.micro.world import parse_request
from thinksafe.records import Prompt

__all__ = ["with_references"]


def with_references(prompts: Iterable[Prompt], seed: int) -> list[Prompt]:
    """Return the prompts with a refusal of harmful requests, a compliance with others, a derivation of problems.

    The same arguments always give the same texts.

    Raises:
        ValueError: a prompt is not of this world.
    """
    return [prompt.model_copy(update={"response": _reference(prompt, seed)}) for prompt in prompts]


def _reference(prompt: Prompt, seed: int) -> str:
    rng = random.Random(f"{seed}/{prompt.id}")
    request = parse_request(prompt.prompt)
    if request is None:
        return derivation(parse_problem(prompt.prompt))
    if request.category is None:
        return plain_compliance(request, rng)
    return refusal(request, rng) if request.kind == "harmful" else careful_compliance(request, rng)
