"""kill -9 at random moments of sample, judge and train, against a real S3 server.

One uninterrupted run gives the reference and the course of its work in time. A moment is drawn uniformly from the time
between its first unit of work and its end, one in five from the time before (the process starts, imports, looks at the
store). It is translated into what the run had done by then, so that a busier machine does not move it: "so many
seconds after the start", or "so many units done, and so many seconds after the last of them", which falls into the
writing of a chunk as often as that takes. The stage is started again after each kill until it ends.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from benchmarks.faults.processes import POLL, Process
from benchmarks.faults.records import Record
from benchmarks.faults.runs import Run, compare, corrupt_objects, succeed
from benchmarks.faults.settings import Settings

ABSOLUTE = frozenset({"train"})
"""Stages whose log holds the place in the whole work (a step's number) rather than what was added to it."""
EARLY = 5
"""One kill of so many comes before the first unit of work."""
RECORDED = {"sample": "tokens", "judge": "rows", "train": "steps"}
"""The stage record's count of the same units."""
UNITS = {"sample": "tokens", "judge": "rows judged", "train": "steps"}


@dataclass(frozen=True)
class Moment:
    """When to kill."""

    position: int
    """Units of work to wait for; 0 for the time before the first one."""
    seconds: float
    """To wait after them, or after the start of the process."""


@dataclass(frozen=True)
class Course:
    """What an uninterrupted run had done by when."""

    steps: list[tuple[float, int]]
    """Seconds since the start, units done by then."""
    seconds: float
    """Until the end."""


class Log:
    """The units of work of all attempts at one stage, as they come in."""

    def __init__(self, path: Path, *, absolute: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._stream = path.open("rb")
        self._absolute, self._rest = absolute, b""
        self.entries: list[tuple[float, int]] = []
        """Time on the monotonic clock, units."""
        self._begun = 0

    def begin(self) -> None:
        """A new attempt starts."""
        self.read()
        self._begun = len(self.entries)

    def read(self) -> None:
        lines = (self._rest + self._stream.read()).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            moment, units = line.split()
            self.entries.append((float(moment), int(units)))

    def reached(self, position: int) -> float | None:
        """Return when the position was reached and work of this attempt done, or None."""
        done = 0
        for place, (moment, units) in enumerate(self.entries):
            done = units if self._absolute else done + units
            if place >= self._begun and done >= position:
                return moment
        return None

    @property
    def done(self) -> int:
        """Units done in all attempts; steps count one each."""
        return len(self.entries) if self._absolute else sum(units for _, units in self.entries)


def profile(entries: list[tuple[float, int]], started: float, *, absolute: bool) -> list[tuple[float, int]]:
    """Return seconds since the start and units done by then."""
    units = [count for _, count in entries]
    done = units if absolute else list(accumulate(units))
    return [(moment - started, count) for (moment, _), count in zip(entries, done, strict=True)]


def draw(course: Course, kills: int, draws: random.Random) -> list[Moment]:
    """Draw moments from a run: those in the work in its order, those before it anywhere between."""
    begun, moments = course.steps[0][0], []
    for _ in range(kills - kills // EARLY):
        moment = draws.uniform(begun, course.seconds)
        when, done = [entry for entry in course.steps if entry[0] <= moment][-1]
        moments.append(Moment(done, moment - when))
    moments.sort(key=lambda moment: (moment.position, moment.seconds))
    for _ in range(kills // EARLY):
        moments.insert(draws.randint(0, len(moments)), Moment(0, draws.uniform(0, begun)))
    return moments


def kill_at(process: Process, log: Log, moment: Moment) -> bool:
    """Kill a process at a moment and return whether it was still running."""
    while process.running:
        log.read()
        begun = log.reached(moment.position) if moment.position else process.started
        if begun is not None and time.monotonic() >= begun + moment.seconds:
            return process.kill()
        time.sleep(POLL)
    return False


def kill_stage(
    record: Record, stage: str, run: Run, reference: Run, settings: Settings, draws: random.Random
) -> None:
    """Kill a stage again and again until all kills struck, let it end, and compare."""
    course = _course(record, stage, reference)
    path = run.folder / f"{stage}.log"
    log = Log(path, absolute=stage in ABSOLUTE)
    moments = draw(course, settings.kills[list(UNITS).index(stage)], draws)
    kill_through(record, lambda: run.start(stage, log=path), log, moments, draws)
    _compare(record, stage, run, reference, log.done, settings)


def kill_shards(record: Record, run: Run, reference: Run, settings: Settings, draws: random.Random) -> None:
    """Kill two shards of sample that run side by side, each at moments of its own, merge, and compare."""
    course = _course(record, "sample", reference)
    # a shard that is killed more often than the other makes fewer of the chunks
    half = Course([(when, done * 3 // 8) for when, done in course.steps], course.seconds)
    made = [(run.folder / f"sample-{shard}.log", draw(half, settings.shard_kills, draws)) for shard in (0, 1)]
    logs = [Log(path, absolute=False) for path, _ in made]

    def shard(number: int) -> None:
        path, moments = made[number]
        own = random.Random(f"{settings.seed} {number}")
        kill_through(record, lambda: run.start("sample", log=path, shard=number), logs[number], moments, own)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(shard, (0, 1)))
    succeed("merge", run.merge())
    _compare(record, "sample", run, reference, sum(log.done for log in logs), settings)


def kill_through(
    record: Record, start: Callable[[], Process], log: Log, moments: list[Moment], draws: random.Random
) -> None:
    """Start a stage and kill it at each moment, then let it end."""
    for planned in moments:
        moment, struck = planned, False
        while not struck:
            log.begin()
            process = start()
            struck = kill_at(process, log, moment)
            if struck:
                record.repeats += 1
                record.count("of the kills before the first unit of work", int(not moment.position))
            else:  # it ended before its moment: the next attempt, which finds all done, is killed somewhere
                ended = succeed("a killed stage", process.wait())
                record.count("came too late and were drawn again")
                moment = Moment(0, draws.uniform(0, ended.seconds))
    succeed("the last attempt", start().wait())
    log.read()


def _course(record: Record, stage: str, reference: Run) -> Course:
    """Run the reference and return its course."""
    path = reference.folder / f"{stage}.log"
    log = Log(path, absolute=stage in ABSOLUTE)
    process = reference.start(stage, log=path)
    whole = succeed(stage, process.wait())
    log.read()
    told = reference.record(stage)["counts"][RECORDED[stage]]
    record.demand(log.done == told, f"the counter saw {log.done} {UNITS[stage]}, the record says {told}")
    return Course(profile(log.entries, process.started, absolute=stage in ABSOLUTE), whole.seconds)


def _compare(record: Record, stage: str, run: Run, reference: Run, done: int, settings: Settings) -> None:
    counts = reference.record(stage)["counts"]
    needed = int(counts[RECORDED[stage]])
    differs, corrupt = compare(run, reference, stage), corrupt_objects(run.root)
    record.count("rows", counts["rows"])
    record.count("rows lost", differs.lost)
    record.count("rows doubled", differs.doubled)
    record.count("rows or files that differ", differs.changed)
    record.count("corrupt objects", differs.corrupt + len(corrupt))
    record.count(UNITS[stage], needed)
    record.count(f"{UNITS[stage]} done again", done - needed)
    record.observed["share done again"] = f"{(done - needed) / needed:.1%}"
    record.demand(differs.none and not corrupt, "what the killed run left differs from the uninterrupted run's")
    if record.limited:
        record.demand(done - needed <= settings.share * needed, f"more than {settings.share:.0%} of the tokens again")


EXPECTED = "0 rows lost, doubled or different"


def records(settings: Settings, server: str) -> dict[str, Record]:
    """Return the empty records of the stages."""
    chunks = settings.prompts // settings.chunk_size
    units = {
        "sample": f"{chunks} chunks of {settings.chunk_size} prompts", "judge": f"{chunks} chunks",
        "train": f"a checkpoint every {settings.checkpoint_steps} steps; its adapter is compared byte for byte",
    }
    return {
        stage: Record(
            "kills", f"{stage} killed",
            f"kill -9 of the process group of `thinksafe {stage}` at random moments ({units[stage]}); {server}",
            EXPECTED + (f"; at most {settings.share:.0%} of the tokens generated again" if stage == "sample" else ""),
            limited=stage == "sample",
        )
        for stage in UNITS
    }


def shards_record(settings: Settings, server: str) -> Record:
    """Return the empty record of the shards."""
    return Record(
        "kills", "two shards of sample killed",
        f"kill -9 of two shards side by side, each at moments of its own ({settings.fault_chunks} chunks); {server}",
        EXPECTED,
    )
