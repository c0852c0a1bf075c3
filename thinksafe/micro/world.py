"""The micro world: deterministic prompts in three disjoint splits.

A request is `verb the object` inside one of a few frames. A pair of verb and object, and a word problem's numbers,
belong to exactly one split by hash, so no pair of the test split was ever trained on, while every word was.
Rates and counts are tuned on validation; the test split is for the one quoted result.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from thinksafe.micro.arithmetic import Problem, problems
from thinksafe.micro.language import CATEGORIES, FRAMES, PLAIN_OBJECTS, PLAIN_VERBS, SUFFIXES, Category
from thinksafe.micro.splits import Split, deal
from thinksafe.records import Prompt

__all__ = ["BENIGN_MIXTURE", "Kind", "Request", "Split", "parse_request", "prompts"]

Kind = Literal["harmful", "safe-twin", "plain", "reasoning", "benign"]
RequestKind = Literal["harmful", "safe-twin", "plain"]

BENIGN_MIXTURE: dict[Literal["safe-twin", "plain", "reasoning"], float] = {
    "safe-twin": 0.4,
    "plain": 0.2,
    "reasoning": 0.4,
}
"""Shares of the kinds in `benign`; counts are rounded down and the rest goes to `reasoning`."""


@dataclass(frozen=True)
class Request:
    """What a prompt asks for: a verb, an object and the category (None for a plain request)."""

    kind: RequestKind
    verb: str
    object: str
    category: Category | None


@lru_cache(maxsize=1)
def _request_table() -> dict[tuple[str, str], Request]:
    table: dict[tuple[str, str], Request] = {}
    for category in CATEGORIES:
        for verb in category.verbs:
            for item in category.harmful_objects:
                table[verb, item] = Request("harmful", verb, item, category)
            for item in category.safe_objects:
                table[verb, item] = Request("safe-twin", verb, item, category)
    for verb in PLAIN_VERBS:
        for item in PLAIN_OBJECTS:
            table[verb, item] = Request("plain", verb, item, None)
    return table


@lru_cache(maxsize=16)
def _requests(split: Split, kind: RequestKind) -> tuple[Request, ...]:
    # Dealt out object by object, so that train has every object with several verbs, and every category weighs the
    # same in each split.
    pairs: dict[str, dict[str, Request]] = {}
    for (verb, item), request in _request_table().items():
        if request.kind == kind:
            pairs.setdefault(item, {})[f"{verb} {item}"] = request
    return tuple(
        request for item in pairs.values() for pair, request in item.items() if deal(item)[pair] == split
    )


@lru_cache(maxsize=1)
def _request_pattern() -> re.Pattern[str]:
    # A frame's opening and its closing mark belong together, hence one alternative for each.
    suffixes = "|".join(re.escape(suffix.strip()) for suffix in SUFFIXES if suffix)
    frames = "|".join(
        f"{re.escape(opening.strip())} REQUEST{re.escape(closing)}".replace("\\ ", " ")
        for opening, closing in FRAMES
    )
    request = rf"([a-z]+) the ([a-z]+)(?: (?:{suffixes}))?".replace("\\ ", " ")
    return re.compile(frames.replace("REQUEST", request), re.IGNORECASE)


def parse_request(prompt: str) -> Request | None:
    """Return what `prompt` asks for, or None when it is not a request of this world.

    Only the original prompt text is understood: a steered prompt gives None, as does a word problem.
    """
    match = _request_pattern().fullmatch(" ".join(prompt.split()))
    if match is None:
        return None
    verb, item = (group.lower() for group in match.groups() if group is not None)
    return _request_table().get((verb, item))


def _pick(available: int, n: int, what: str, rng: random.Random) -> list[int]:
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}")
    if n > available:
        raise ValueError(f"asked for {n} prompts, but only {available} {what} prompts exist")
    return rng.sample(range(available), n)


def _identifier(split: Split, kind: str, text: str) -> str:
    return f"micro-{split}-{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _request_prompts(split: Split, kind: RequestKind, n: int, rng: random.Random) -> list[Prompt]:
    found = _requests(split, kind)
    variants = len(FRAMES) * len(SUFFIXES)
    picked = []
    for index in _pick(len(found) * variants, n, f"{split} {kind}", rng):
        request, variant = found[index // variants], index % variants
        opening, closing = FRAMES[variant // len(SUFFIXES)]
        text = f"{opening}{request.verb} the {request.object}{SUFFIXES[variant % len(SUFFIXES)]}{closing}"
        picked.append(
            Prompt(
                id=_identifier(split, kind, text),
                prompt=text,
                label="harmful" if kind == "harmful" else "benign",
                source="micro",
                category=request.category.name if request.category else "plain",
            )
        )
    return picked


def _reasoning_prompts(split: Split, n: int, rng: random.Random) -> list[Prompt]:
    found = problems(split)
    picked: list[Problem] = [found[index] for index in _pick(len(found), n, f"{split} reasoning", rng)]
    return [
        Prompt(
            id=_identifier(split, "reasoning", problem.text),
            prompt=problem.text,
            label="benign",
            source="micro",
            category="arithmetic",
            answer=str(problem.answer),
        )
        for problem in picked
    ]


def prompts(split: Split, kind: Kind, n: int, seed: int) -> list[Prompt]:
    """Return `n` distinct prompts of one split and kind, in an order given by `seed`.

    The same arguments always give the same list. `benign` mixes the three benign kinds in the shares of
    `BENIGN_MIXTURE` and shuffles them. An id depends on the text, split and kind alone.

    Raises:
        ValueError: when `n` is negative or exceeds the number of prompts that exist (the message says how many), or
            for an unknown kind or split.
    """
    if split not in ("train", "validation", "test"):
        raise ValueError(f"unknown split {split!r}: expected train, validation or test")
    rng = random.Random(f"{split}/{kind}/{seed}")
    if kind == "reasoning":
        return _reasoning_prompts(split, n, rng)
    if kind == "harmful" or kind == "safe-twin" or kind == "plain":
        return _request_prompts(split, kind, n, rng)
    if kind != "benign":
        raise ValueError(f"unknown kind {kind!r}: expected harmful, safe-twin, plain, reasoning or benign")
    twins, plain = int(n * BENIGN_MIXTURE["safe-twin"]), int(n * BENIGN_MIXTURE["plain"])
    mixed = _request_prompts(split, "safe-twin", twins, rng) + _request_prompts(split, "plain", plain, rng)
    mixed += _reasoning_prompts(split, n - twins - plain, rng)
    rng.shuffle(mixed)
    return mixed
