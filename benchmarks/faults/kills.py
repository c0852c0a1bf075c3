"""kill -9 at random moments of sample, judge and train, against a real S3 server.

One uninterrupted run gives the reference and the progress of its work over time. Four of five moments are drawn
uniformly from the time between its first unit of work and its end, one of five from the time before (the process
starts, imports, looks at the store). A moment is expressed by the work done up to then, so that it does not depend on
the load of the machine: "n seconds after the start", or "n units done, and m seconds after the last of them". So kills
hit the writing of a chunk as often as its share of the time. The stage is started again after each kill until it ends.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from benchmarks.faults.processes import POLL, Process
from benchmarks.faults.records import Record
from benchmarks.faults.runs import Run, compare, corrupt_objects, succeed
from benchmarks.faults.settings import Settings

ABSOLUTE = frozenset({"train"})
"""Stages whose log has the position in the whole work (a step's number) rather than the work added."""
EARLY = 5
"""One kill in this many comes before the first unit of work."""
RECORDED = {"sample": "tokens", "judge": "rows", "train": "steps"}
"""The stage record's count of the same units."""
WORKERS = 2
"""Workers of a stage that share the chunks."""
UNITS = {"sample": "tokens", "judge": "judged rows", "train": "steps"}


@dataclass(frozen=True)
class Moment:
    """When to kill."""

    position: int
    """Units of work to wait for; 0 for the time before the first one."""
    seconds: float
    """Seconds to wait after them, or after the start of the process."""


@dataclass(frozen=True)
class Course:
    """How the work of an uninterrupted run progressed."""

    steps: list[tuple[float, int]]
    """Seconds since the start, and units done by then."""
    seconds: float
    """Seconds until the end."""


class Log:
    """The units of work of all attempts at one stage, as they are logged."""

    def __init__(self, path: Path, *, absolute: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._stream = path.open("rb")
        self._absolute, self._rest = absolute, b""
        self.entries: list[tuple[float, int]] = []
        """Time on the monotonic clock, units."""
        self._begun = 0

    def begin(self) -> None:
        """Start a new attempt."""
        self.read()
        self._begun = len(self.entries)

    def read(self) -> None:
        lines = (self._rest + self._stream.read()).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            moment, units = line.split()
            self.entries.append((float(moment), int(units)))

    def reached(self, position: int) -> float | None:
        """Return when the position was reached with work of this attempt, or None."""
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
    """Draw moments of a run: those during the work in order, with those before it at random places between."""
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
    """Kill a stage repeatedly until all kills have hit, let it end, and compare."""
    course = _course(record, stage, reference)
    path = run.folder / f"{stage}.log"
    log = Log(path, absolute=stage in ABSOLUTE)
    moments = draw(course, settings.kills[list(UNITS).index(stage)], draws)
    kill_through(record, lambda: run.start(stage, log=path), log, moments, draws)
    _compare(record, stage, run, reference, log.done, settings)


def kill_workers(record: Record, run: Run, reference: Run, settings: Settings, draws: random.Random) -> None:
    """Kill workers of sample, start the stage again after each moment until it ends, and compare.

    At each moment all workers are killed but at the last one, which spares one of them.
    """
    course = _course(record, "sample", reference)
    # something must be left to do at the last moment, too: no moment is after the last unit of work
    earlier = Course([(when, done * 3 // 4) for when, done in course.steps], course.steps[-1][0])
    path = run.folder / "sample.log"
    log = Log(path, absolute=False)
    moments = draw(earlier, settings.worker_kills, draws)
    for place, moment in enumerate(moments):
        log.begin()
        process = run.start("sample", log=path)
        struck = _strike(process, log, moment, WORKERS if place < len(moments) - 1 else 1, draws)
        ended = process.wait()
        if not struck:
            succeed("a stage whose workers were not killed", ended)
            record.count("kills that came too late")
            continue
        record.repeats += struck
        record.count("kills before the first unit of work", struck * int(not moment.position))
        # a worker that is spared does all but what the other one had begun
        record.count("stages that ended with an error", int(ended.code != 0))
        told = ended.code == 0 or (ended.clear and ended.error.startswith("Workers were killed"))
        record.demand(told, f"the stage said: {ended.error}")
    ends = record.observed.get("stages that ended with an error", 0)
    record.demand(ends != 0, "no stage ended with an error")
    succeed("the last attempt", run.start("sample", log=path).wait())
    log.read()
    _compare(record, "sample", run, reference, log.done, settings)


def _strike(process: Process, log: Log, moment: Moment, number: int, draws: random.Random) -> int:
    """Kill a number of workers at a moment and return how many it met."""
    while process.running:
        log.read()
        begun = log.reached(moment.position) if moment.position else process.started
        workers = process.workers()
        if len(workers) == WORKERS and begun is not None and time.monotonic() >= begun + moment.seconds:
            chosen = draws.sample(workers, number)
            for pid in chosen:
                os.kill(pid, signal.SIGKILL)
            return number
        time.sleep(POLL)
    return 0


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
                record.count("kills before the first unit of work", int(not moment.position))
            else:  # it ended before its moment: the next attempt, which finds everything done, is killed at any time
                ended = succeed("a killed stage", process.wait())
                record.count("kills that came too late and were redrawn")
                moment = Moment(0, draws.uniform(0, ended.seconds))
    succeed("the last attempt", start().wait())
    log.read()


def _course(record: Record, stage: str, reference: Run) -> Course:
    """Run the reference and return its progress."""
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
    record.count("rows duplicated", differs.doubled)
    record.count("rows or files that differ", differs.changed)
    record.count("corrupt objects", differs.corrupt + len(corrupt))
    record.count(UNITS[stage], needed)
    record.count(f"{UNITS[stage]} repeated", done - needed)
    record.observed["share repeated"] = f"{(done - needed) / needed:.1%}"
    record.demand(differs.none and not corrupt, "the killed run's results differ from the uninterrupted run's")
    if record.limited:
        record.demand(
            done - needed <= settings.share * needed, f"more than {settings.share:.0%} of the tokens generated again"
        )


EXPECTED = "0 rows lost, duplicated or different"


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


def workers_record(settings: Settings, server: str) -> Record:
    """Return the empty record of the workers."""
    return Record(
        "kills", "workers of sample killed",
        f"kill -9 of the {WORKERS} workers of one stage, of one of them at the last moment, while the stage waits for "
        f"them ({settings.fault_chunks} chunks); {server}",
        f"an error that says so; {EXPECTED}",
    )
