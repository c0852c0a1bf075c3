"""Tallies of the second guard: what both guards said about each prompt, as a few numbers per prompt, no text."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from thinksafe.errors import StageError
from thinksafe.measuring.evidence import disagreement_name
from thinksafe.measuring.statistics import proportion
from thinksafe.records import Disagreement, Part, Verdict, VerdictValue

VALUES: tuple[VerdictValue, ...] = get_args(VerdictValue)
"""Order of a matrix's rows and columns."""


class SecondOpinions:
    """Accumulates the verdicts that carry a second opinion, by benchmark and part.

    Args:
        prompts: Number of prompts; positions are 0 to ``prompts - 1``.
    """

    def __init__(self, prompts: int) -> None:
        self._prompts = prompts
        self._pairs: Counter[tuple[int, Part, str, str]] = Counter()
        self._read: dict[Part, array[int]] = {}
        self._apart: dict[Part, array[int]] = {}
        self._guards: tuple[str, str] | None = None

    def add(self, verdict: Verdict, position: int, benchmark: int) -> None:
        """Count a verdict on a sample of the prompt at a position; verdicts without a second opinion are ignored.

        Raises:
            StageError: The second opinion comes from another guard than the earlier ones.
        """
        if verdict.second is None:
            return
        guards = (verdict.guard, verdict.second.guard)
        if guards != (self._guards or guards):
            raise StageError(
                f"The second opinion on sample {verdict.sample_id!r} is by another guard than the first.",
                "Check the pipeline's wiring, then start the run again.",
            )
        self._guards = guards
        part = verdict.part
        if part not in self._read:
            self._read[part], self._apart[part] = (array("L", [0]) * self._prompts for _ in range(2))
        self._pairs[benchmark, part, verdict.verdict, verdict.second.verdict] += 1
        self._read[part][position] += 1
        self._apart[part][position] += not verdict.confirmed

    def values(
        self, prompts: Mapping[str, int], owner: Sequence[int], benchmark: int, part: Part
    ) -> Iterator[tuple[str, float]]:
        """Yield prompt ids, in the order of ``prompts``, and the share of their samples that was not confirmed.

        Args:
            prompts: Position by prompt id.
            owner: Benchmark by position.
            benchmark: Which benchmark's prompts.
            part: Part of the responses.
        """
        if part in self._read:
            read, apart = self._read[part], self._apart[part]
            for prompt, i in prompts.items():
                if owner[i] == benchmark and read[i]:
                    yield prompt, apart[i] / read[i]

    def record(
        self, benchmark: int, name: str, part: Part, values: Sequence[float], confidence: float
    ) -> Disagreement | None:
        """Return the disagreement on one benchmark (its position and name), None if nothing was judged twice."""
        if not values or self._guards is None:
            return None
        one, two, three = (
            tuple(self._pairs[benchmark, part, first, second] for second in VALUES) for first in VALUES
        )
        estimate = proportion(values, confidence)
        guard, other = self._guards
        return Disagreement.model_validate(
            {
                "name": disagreement_name(name, part), "benchmark": name, "part": part, "guard": guard,
                "second": other, "value": estimate.value, "n": len(values), "samples": sum((*one, *two, *three)),
                "matrix": (one, two, three), "interval": estimate.interval,
            }
        )
