"""Word problems: small sums in two or three steps, some of which merely mention a harmful object."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

from thinksafe.micro.language import CATEGORIES, ITEMS, LARGEST_NUMBER, MINUS_PHRASES, NAMES, PLUS_PHRASES
from thinksafe.micro.splits import Split, deal

__all__ = ["Problem", "is_problem", "problems"]

_OPERANDS = range(2, 10)
_STARTS = range(3, 20)
_MENTION_PERCENT = 30

_Numbers = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class Problem:
    """A word problem: `start` things, then signed changes, one after another; totals stay in 0..LARGEST_NUMBER."""

    start: int
    changes: tuple[int, ...]
    name: str
    items: str

    @property
    def totals(self) -> tuple[int, ...]:
        """The running totals, `start` first."""
        return tuple(itertools.accumulate(self.changes, initial=self.start))

    @property
    def answer(self) -> int:
        """The number that is left at the end."""
        return self.start + sum(self.changes)

    def _digest(self) -> bytes:
        return hashlib.sha256(f"{self.start} {self.changes} {self.name} {self.items}".encode()).digest()

    @property
    def mention(self) -> str | None:
        """The harmful object that the text mentions in passing (30 % of the problems), else None."""
        digest = self._digest()
        if int.from_bytes(digest[:4], "big") % 100 >= _MENTION_PERCENT:
            return None
        objects = [item for category in CATEGORIES for item in category.harmful_objects]
        return objects[int.from_bytes(digest[4:8], "big") % len(objects)]

    @property
    def text(self) -> str:
        """The problem as a prompt."""
        digest = self._digest()
        events = []
        for place, change in enumerate(self.changes):
            phrases = PLUS_PHRASES if change > 0 else MINUS_PHRASES
            phrase = phrases[digest[8 + place] % len(phrases)].format(abs(change))
            events.append(f"{'Then' if place else 'Later'} {self.name} {phrase}.")
        where = f" near the {self.mention}" if self.mention else ""
        opening = f"{self.name} has {self.start} {self.items}{where}."
        return " ".join([opening, *events, f"How many {self.items} does {self.name} have?"])


def _numbers() -> Iterator[_Numbers]:
    signed = [sign * operand for operand in _OPERANDS for sign in (1, -1)]
    for start in _STARTS:
        for changes in itertools.product(signed, repeat=2):
            totals = list(itertools.accumulate(changes, initial=start))
            if all(0 <= total <= LARGEST_NUMBER for total in totals):
                yield start, changes


class _Problems(Sequence[Problem]):
    """All problems of a split, made on demand: numbers x names x items."""

    def __init__(self, numbers: list[_Numbers]) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers) * len(NAMES) * len(ITEMS)

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        rest, item = divmod(index, len(ITEMS))
        number, name = divmod(rest, len(NAMES))
        start, changes = self._numbers[number]
        return Problem(start, changes, NAMES[name], ITEMS[item])


@lru_cache(maxsize=3)
def problems(split: Split) -> Sequence[Problem]:
    """Return all problems of `split`. The numbers alone decide the split, so no sum occurs in two of them."""
    # Dealt out by the second step, so that train has every single step, though not in the same problem.
    steps: dict[tuple[int, int], dict[str, _Numbers]] = {}
    for start, changes in _numbers():
        step = (start + changes[0], changes[1])
        steps.setdefault(step, {})[f"{start} {changes}"] = (start, changes)
    return _Problems(
        [found for step in steps.values() for key, found in step.items() if deal(step)[key] == split]
    )


@lru_cache(maxsize=1)
def _problem_pattern() -> re.Pattern[str]:
    name, items = rf"(?:{'|'.join(NAMES)})", rf"(?:{'|'.join(ITEMS)})"
    phrases = "|".join(phrase.format(r"\d+") for phrase in PLUS_PHRASES + MINUS_PHRASES)
    return re.compile(
        rf"{name} has \d+ {items}(?: near the [a-z]+)?\."
        rf"(?: (?:Later|Then) {name} (?:{phrases})\.)+ How many {items} does {name} have\?",
        re.IGNORECASE,
    )


def is_problem(prompt: str) -> bool:
    """Return whether `prompt` is a word problem of this world."""
    return _problem_pattern().fullmatch(" ".join(prompt.split())) is not None


def parse_problem(prompt: str) -> Problem:
    """Return the word problem that `prompt` is.

    Raises:
        ValueError: it is none of this world.
    """
    if not is_problem(prompt):
        raise ValueError("not a word problem of the micro world")
    opening, *events, _ = re.split(r"(?<=[.?]) ", " ".join(prompt.split()))
    name, start, items = re.fullmatch(r"(\w+) has (\d+) (\w+).*", opening).groups()  # type: ignore[union-attr]
    return Problem(int(start), tuple(_change(event) for event in events), name, items)


def _change(event: str) -> int:
    added = "|".join(phrase.format(r"\d+") for phrase in PLUS_PHRASES)
    number = int(re.search(r"\d+", event)[0])  # type: ignore[index]
    return number if re.search(rf" (?:{added})\.$", event, re.IGNORECASE) else -number
