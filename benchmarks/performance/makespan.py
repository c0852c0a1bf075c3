"""64 workers on responses of heavy-tailed lengths, simulated with the claims of a stage's workers.

A chunk takes as long as the sum of its responses' lengths, as with an engine that is always full. Claiming, loading and
the last rows of a worker, which cannot fill an engine, are left out.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.performance.result import Result
from thinksafe.errors import ConflictError
from thinksafe.work.claims import Claims

WORKERS, CHUNK, SIGMA, DRAWS = 64, 64, 1.0, 40
PROMPTS = 40_000
"""About the number of prompts in the GPU recipes (SafeChain); fewer prompts make the ratio worse."""


class Memory:
    """The part of a store that claims need."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def create(self, key: str, data: bytes) -> None:
        """Write an object that does not exist yet."""
        if key in self._objects:
            raise ConflictError("There is one.", "Take another.")
        self._objects[key] = data

    def get(self, key: str) -> bytes:
        """Return a claim; every worker is alive."""
        return self._objects.get(key) or json.dumps({"time": time.time()}).encode()

    def keys(self, prefix: str) -> list[str]:
        """Return all keys; the store has a single set of claims."""
        return list(self._objects)


def makespan(work: np.ndarray, queues: list[Iterator[int]]) -> float:
    """Return when the last of several workers is done; each takes chunks from its queue as it becomes free."""
    free, last = [(0.0, worker) for worker in range(len(queues))], 0.0
    while free:
        now, worker = heapq.heappop(free)
        last = max(last, now)
        if (index := next(queues[worker], None)) is not None:
            heapq.heappush(free, (now + float(work[index]), worker))
    return last


def claimed(total: int) -> list[Iterator[int]]:
    """Return the queues of the workers of a stage, with claims."""
    store = Memory()
    return [Claims(store, "set", total, worker, WORKERS).take(lambda _: False) for worker in range(WORKERS)]  # type: ignore[arg-type]


def fixed(total: int) -> list[Iterator[int]]:
    """Return the queues without claims, for comparison: chunk i goes to worker i modulo 64."""
    return [iter(range(worker, total, WORKERS)) for worker in range(WORKERS)]


def simulate(assign: Callable[[int], list[Iterator[int]]], chunk: int) -> tuple[float, float, list[float]]:
    """Return the median makespan, the median ideal (total work over all workers) and each draw's ratio of the two."""
    draw = np.random.default_rng(1)
    cuts = np.arange(0, PROMPTS, chunk)
    spans, ideals = [], []
    for _ in range(DRAWS):
        work = np.add.reduceat(draw.lognormal(0.0, SIGMA, PROMPTS), cuts)
        spans.append(makespan(work, assign(len(cuts))))
        ideals.append(float(work.sum()) / WORKERS)
    return median(spans), median(ideals), [span / ideal for span, ideal in zip(spans, ideals, strict=True)]


def measure(_model: Path) -> Result:
    """Compare the makespan with the ideal one."""
    span, ideal, ratios = simulate(claimed, CHUNK)
    ratio = median(ratios)
    others = {
        "a fixed assignment of chunks to workers": simulate(fixed, CHUNK)[2],
        "chunks of 16": simulate(claimed, 16)[2],
        "chunks of 256": simulate(claimed, 256)[2],
    }
    return Result(
        "makespan", "when the last of 64 workers is done, against the total work divided by 64 (lower is better); "
        "simulated.",
        "median lengths", span, ideal, ratio, target="≤ 1.1", reached=ratio <= 1.1,
        n=f"{PROMPTS:,} prompts, chunks of {CHUNK}, {WORKERS} workers, {DRAWS} draws",
        notes=(
            f"Response lengths are log-normal (sigma {SIGMA:g}); smallest and largest ratio of the draws: "
            f"{min(ratios):.3f} and {max(ratios):.3f}. Medians of other assignments: "
            + ", ".join(f"{name} {median(found):.3f}" for name, found in others.items()) + "."
        ),
    )
