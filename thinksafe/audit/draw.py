"""A stratified, seeded sample of a run's verdicts.

A stratum is a role, a benchmark, a verdict and, if the guard gives a probability, whether it is near the threshold; of
a panel, which of its members do not call the text safe, so that each member can be scored from the same labels.
Each stratum gets a few rows. The rest are shared out in proportion to the square root of the stratum's size (power
allocation: Bankier, The American Statistician 42, 1988): rare strata, such as unsafe verdicts on a repaired model, get
enough rows to be informative, and large ones still get more. Within a stratum every subset of its size is equally
likely: rows are taken in the order of a seeded digest of their ids, independent of chunks and parallelism.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from thinksafe.audit.population import Batch, JudgedRun
from thinksafe.audit.records import AuditItem, AuditKey, MemberKey
from thinksafe.errors import ConfigError, InputError
from thinksafe.judging.guards.base import as_text, ask
from thinksafe.records import Part, Sample, Verdict
from thinksafe.store import Store
from thinksafe.traces import part_text

FLOOR = 5
"""Rows that a stratum gets if it has them and the size allows."""

BAND = 0.25
"""Verdicts with p(unsafe) this near to the threshold form separate strata: a guard errs most there."""

Domain = tuple[str, str]
"""Role and benchmark."""


@dataclass(frozen=True)
class Plan:
    """What to draw."""

    roles: Sequence[str]
    benchmarks: frozenset[str]
    """Sets of prompts; empty for all whose prompts are labelled harmful."""
    part: Part
    size: int
    seed: int

    def wants(self, sample: Sample) -> bool:
        """Return whether a sample is part of the audited population."""
        prompt = sample.prompt
        return prompt.source in self.benchmarks if self.benchmarks else prompt.label == "harmful"


@dataclass(frozen=True, order=True)
class _Drawn:
    place: int
    """Seeded digest; the rows with the smallest digests are the stratum's sample."""
    batch: int
    sample_id: str


@dataclass
class _Stratum:
    domain: Domain
    size: int = 0
    kept: list[tuple[int, int, str]] = field(default_factory=list)
    """Heap with the largest place on top (stored negated)."""

    def add(self, drawn: _Drawn, limit: int) -> None:
        self.size += 1
        heapq.heappush(self.kept, (-drawn.place, drawn.batch, drawn.sample_id))
        if len(self.kept) > limit:
            heapq.heappop(self.kept)

    def first(self, n: int) -> list[_Drawn]:
        return sorted(_Drawn(-place, batch, name) for place, batch, name in self.kept)[:n]


def draw(
    store: Store, run: JudgedRun, plan: Plan, advance: Callable[[int], None]
) -> tuple[list[AuditItem], list[AuditKey]]:
    """Return the rows for people, in a seeded order, and their keys in the same order.

    One row of every stratum comes first, so that the labels of any first part of the file can be scored.

    The run's rows are read twice, one chunk at a time; only the drawn rows are kept in memory.

    Args:
        store: Where the run's rows are.
        run: Run to draw from.
        plan: What to draw.
        advance: Called with the number of rows just read.

    Raises:
        ConfigError: ``plan.size`` is less than the number of strata.
        InputError: There is nothing to draw from, or a role or benchmark does not exist.
        StoreError: Rows are missing or have changed.
    """
    batches = run.of(plan.roles)
    strata, prompts = _survey(store, batches, plan, advance)
    sizes = allocate({name: stratum.size for name, stratum in strata.items()}, plan.size)
    wanted: dict[int, dict[str, str]] = {}
    for name, stratum in strata.items():
        for drawn in stratum.first(sizes[name]):
            wanted.setdefault(drawn.batch, {})[drawn.sample_id] = name
    rows: list[tuple[AuditItem, AuditKey]] = []
    for place, batch in enumerate(batches):
        chosen = wanted.get(place, {})
        for sample, verdict in batch.rows(store, plan.part) if chosen else ():
            if sample.id in chosen:
                of = chosen[sample.id]
                stratum = strata[of]
                rows.append(_row(run, plan, batch, sample, verdict, of, stratum, sizes[of], prompts[stratum.domain]))
        advance(batch.verdicts.rows)
    rows.sort(key=lambda row: row[0].id)
    first = {key.stratum: key.id for _, key in reversed(rows)}
    rows.sort(key=lambda row: row[1].id != first[row[1].stratum])  # stable: the rest keeps its order
    return [item for item, _ in rows], [key for _, key in rows]


def allocate(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Return how many rows each stratum gets: at least one, at most what it has, and ``total`` in all.

    Raises:
        ConfigError: there are more strata than rows.
    """
    if total < len(sizes):
        raise ConfigError(
            f"{total} rows are fewer than the {len(sizes)} strata, and each needs one.",
            f"Set --size to {len(sizes)} or more, or name fewer roles or benchmarks.",
        )
    total = min(total, sum(sizes.values()))
    floor = max((level for level in range(1, FLOOR + 1) if _floors(sizes, level) <= total), default=1)
    given = {name: min(size, floor) for name, size in sizes.items()}
    while (left := total - sum(given.values())) > 0:
        open_ = {name: math.sqrt(size) for name, size in sizes.items() if given[name] < size}
        whole = sum(open_.values())
        shares = {name: min(root / whole * left, sizes[name] - given[name]) for name, root in open_.items()}
        for name, share in shares.items():
            given[name] += int(share)
        if not any(map(int, shares.values())):  # the largest remainders get what is left
            for name in sorted(shares, key=lambda name: (-shares[name], name))[:left]:
                given[name] += 1
    return given


def _floors(sizes: Mapping[str, int], level: int) -> int:
    return sum(min(size, level) for size in sizes.values())


def _survey(
    store: Store, batches: Sequence[Batch], plan: Plan, advance: Callable[[int], None]
) -> tuple[dict[str, _Stratum], Counter[Domain]]:
    """Count the strata, keep the first rows of each, and count the prompts of each role and benchmark."""
    strata: dict[str, _Stratum] = {}
    prompts: Counter[Domain] = Counter()
    seen: set[str] = set()
    for place, batch in enumerate(batches):
        for sample, verdict in batch.rows(store, plan.part):
            seen.add(sample.prompt.source)
            if plan.wants(sample):
                domain = (batch.role, sample.prompt.source)
                name = _stratum(batch, sample, verdict)
                drawn = _Drawn(_place(plan.seed, batch.role, sample.id), place, sample.id)
                strata.setdefault(name, _Stratum(domain)).add(drawn, plan.size)
                prompts[domain] += sample.index == 0
        advance(batch.verdicts.rows)
    if missing := sorted(plan.benchmarks - seen):
        raise InputError(f"There are no verdicts on {missing[0]!r:.80}.", f"Choose from: {', '.join(sorted(seen))}.")
    if not strata:
        raise InputError("There is no verdict on a prompt labelled harmful.", "Name benchmarks with --benchmark.")
    return dict(sorted(strata.items())), prompts


def _stratum(batch: Batch, sample: Sample, verdict: Verdict) -> str:
    name = f"{batch.role}/{sample.prompt.source}/{verdict.verdict}"
    if verdict.members:
        against = [str(place) for place, of in enumerate(verdict.members, start=1) if of.verdict != "safe"]
        return f"{name}/by {'+'.join(against) or 'none'}"
    p, threshold = verdict.p_unsafe, batch.threshold
    return f"{name}/near" if p is not None and threshold is not None and abs(p - threshold) <= BAND else name


def _place(seed: int, *names: str) -> int:
    return int.from_bytes(hashlib.sha256("\n".join([str(seed), *names]).encode()).digest()[:16], "big")


def _row(
    run: JudgedRun, plan: Plan, batch: Batch, sample: Sample, verdict: Verdict, name: str, stratum: _Stratum, n: int,
    prompts: int,
) -> tuple[AuditItem, AuditKey]:
    opaque = f"a-{_place(plan.seed, 'id', run.run_id, batch.role, sample.id, plan.part) >> 64:016x}"
    asked = ask(sample, plan.part, batch.reasoning)
    read = part_text(asked.response, plan.part, batch.reasoning)
    item = AuditItem(id=opaque, prompt=as_text(asked.prompt), response=read)
    key = AuditKey(
        id=opaque, run_id=run.run_id, role=batch.role, benchmark=sample.prompt.source, sample_id=sample.id,
        part=plan.part, guard=verdict.guard, verdict=verdict.verdict, p_unsafe=verdict.p_unsafe,
        threshold=batch.threshold, stratum=name, stratum_size=stratum.size, stratum_rows=n,
        probability=n / stratum.size, weight=stratum.size / n, prompts=max(prompts, 1),
        members=tuple(
            MemberKey(guard=of.name, verdict=said.verdict, p_unsafe=said.p_unsafe, threshold=of.threshold)
            for of, said in zip(batch.members, verdict.members, strict=True)
        ),
    )
    return item, key


def described(keys: Iterable[AuditKey]) -> list[tuple[str, int, int]]:
    """Return the name, rows drawn and size of every stratum, in order."""
    return sorted({(key.stratum, key.stratum_rows, key.stratum_size) for key in keys})
