"""An S3 server that answers 503, is slow, cuts bodies, is gone or carries out writes late; the real one is behind it.

A stage either succeeds or fails clearly. In both cases, no object in the store may claim to be complete without being
so, and the same command, started again without the fault, must give the same result as a run without faults.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.faults.records import Record
from benchmarks.faults.runs import Run, chunk_key, compare, corrupt_objects
from benchmarks.faults.servers import Bucket, Fault, FlakyProxy
from benchmarks.faults.settings import Settings

WIDE = 1024
"""Rank of the adapter whose file (20 MB) goes up in parts."""
CHUNKS = "/chunks/"


@dataclass(frozen=True)
class Case:
    """One way in which the server fails, and the stage that meets it."""

    name: str
    done: str
    stage: str
    faults: tuple[Fault, ...]
    settle: float = 0.0
    """Seconds after which the last late write has arrived."""
    repeats: int = 0
    """0 for the settings' number."""
    patience: int = 0
    """``THINKSAFE_S3_RETRY_SECONDS``; 0 leaves the default."""


def cases(settings: Settings) -> list[Case]:
    """Return the cases; a fault that hits a share of the requests draws them from the seed."""
    busy, outage = settings.busy, settings.outage
    found = [
        Case(
            "503 for a while", f"S3 answers 503 SlowDown for {busy:g} s in the middle of sample", "sample",
            (Fault("status", path=CHUNKS, skip=20, times=None, seconds=busy, error="SlowDown"),),
        ),
        Case(
            "slow", "sample: a quarter of the requests take 1 s longer, and as many answers come at 4 KiB/s",
            "sample",
            (Fault("delay", times=None, chance=0.25, wait=1.0), Fault("slow", times=None, chance=0.33, rate=4096)),
        ),
        Case(
            "reads cut", "judge: a quarter of the downloads end in the middle of the body", "judge",
            (Fault("cut", method="GET", path=CHUNKS, times=None, chance=0.25),),
        ),
        Case(
            "uploads cut", "sample: a quarter of the uploads are cut in the middle of the body", "sample",
            (Fault("cut upload", method="PUT", times=None, chance=0.25),),
        ),
        Case(
            "upload in parts cut", "train: the first two parts of the adapter's upload are cut in the middle", "train",
            (Fault("cut upload", method="PUT", path="partNumber=", times=2),),
        ),
        Case(
            "gone for a minute" if outage >= 60 else f"gone for {outage:g} s",
            f"S3 refuses all connections for {outage:g} s in the middle of sample", "sample",
            (Fault("refuse", path=CHUNKS, skip=20, wait=outage),),
        ),
        Case(
            "answers lost", "sample: a quarter of the writes are carried out, but the answer is lost",
            "sample", (Fault("lost", method="PUT", times=None, chance=0.25),),
        ),
        Case(
            "writes land later",
            "sample: for a quarter of the writes the connection closes at once, and the write lands 3 s later",
            "sample", (Fault("late", method="PUT", times=None, chance=0.25, wait=3.0),), settle=5.0,
        ),
        Case(
            "gone for good", "S3 refuses all connections from the middle of sample on; sample retries for 10 s",
            "sample", (Fault("refuse", path=CHUNKS, skip=20, wait=3600.0),), patience=10, repeats=1,
        ),
        Case(
            "a time-out whose write lands",
            "sample: a write is carried out, but no answer comes while the client waits (a minute)",
            "sample", (Fault("lost", method="PUT", path=CHUNKS, skip=5, wait=90.0),), repeats=1,
        ),
    ]
    return [case for case in found if settings.wants(case.name)]


EXPECTED = "succeeds or fails clearly; nothing corrupt; after a restart, the same result as without the fault"


def record(case: Case, server: str) -> Record:
    """Return the empty record of a case."""
    return Record("S3", case.name, f"{case.done}; {server}", EXPECTED)


def make_reference(reference: Run) -> None:
    """Run sample, judge, curate and train without faults; train with an adapter whose upload has parts."""
    plan = json.loads(Path(reference.inputs.plan).read_text("utf-8"))
    section = copy.deepcopy(plan["sections"]["train"])
    section["training"]["lora_rank"] = WIDE
    plan["sections"][reference.train_section] = section
    Path(reference.inputs.plan).write_text(json.dumps(plan), "utf-8")
    reference.must("sample", "judge", "curate", "train")


def meet(record: Record, case: Case, bucket: Bucket, run: Run, reference: Run, seed: int) -> None:
    """Run a stage with a fault, check what it left, start it again without the fault and compare."""
    _provide(case.stage, run, reference)
    with FlakyProxy(bucket.server.endpoint, seed=seed) as proxy:
        proxy.add(*case.faults)
        patience = {"THINKSAFE_S3_RETRY_SECONDS": str(case.patience)} if case.patience else {}
        disturbed = replace(run, environment={**bucket.through(proxy), **patience})
        ended = disturbed.do(case.stage)
        struck = sum(bool(seen.fault) for seen in proxy.seen)
        time.sleep(case.settle)
    record.repeats += 1
    record.count("requests hit", struck)
    record.demand(struck > 0, "the fault hit no request")
    record.count("succeeded", int(ended.code == 0))
    record.count("failed clearly", int(ended.clear))
    record.demand(ended.code == 0 or ended.clear, f"neither succeeded nor failed clearly: {ended.error}")
    corrupt = corrupt_objects(run.root)
    if ended.code:
        record.observed.setdefault("message", ended.error)
        ended = run.do(case.stage)
        record.count("succeeded after a restart", int(ended.code == 0))
        record.demand(ended.code == 0, f"after a restart: {ended.error}")
        corrupt += corrupt_objects(run.root)
    if ended.code == 0:
        differs = compare(run, reference, case.stage)
        record.count("rows lost", differs.lost)
        record.count("rows duplicated", differs.doubled)
        record.count("rows or files that differ", differs.changed)
        record.demand(differs.none, "it succeeded, but its result differs from that of the run without faults")
    record.count("corrupt objects", len(corrupt))
    record.demand(not corrupt, f"corrupt: {', '.join(corrupt[:3])}")


def _provide(stage: str, run: Run, reference: Run) -> None:
    """Give a run the inputs, made without faults, of the stage that meets the fault."""
    from thinksafe.store import open_store

    run.folder.mkdir(parents=True)
    if stage == "judge":
        shutil.copy(reference.folder / "samples.json", run.folder)
        source, target = open_store(reference.root), open_store(run.root)
        for chunk in json.loads((run.folder / "samples.json").read_bytes())["chunks"]:
            for key in (chunk_key(chunk), f"chunks/{chunk['key']}/done.json"):
                target.put(key, source.get(key))
    elif stage == "train":
        shutil.copy(reference.folder / "examples.jsonl", run.folder)
