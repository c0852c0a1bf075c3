"""A full disk for what a stage writes: the store, its output files, the temporary folder, a whole run's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.faults.processes import COMMAND, Ended, Process, clean_environment
from benchmarks.faults.records import Record
from benchmarks.faults.runs import PRODUCT, Run, chunk_key, compare, corrupt_objects
from benchmarks.faults.settings import Settings

EXPECTED = "exit code 1 and a message that says so; nothing half-written; a rerun after freeing space completes"
ROOMY = 256 << 20
Scenario = tuple[Record, Callable[[Record], None]]


def scenarios(folder: Path, reference: Run, settings: Settings) -> Iterator[Scenario]:
    """Yield the scenarios; without permission to mount a small disk, they are skipped and the record says why."""
    folder.mkdir(parents=True)
    reason = _why_not(folder)
    made: list[Scenario] = [
        (
            Record("disk", "local store full", "sample, judge: a local store's disk fills up half-way", EXPECTED),
            partial(store_full, folder / "store", reference),
        ),
        (
            Record("disk", "TMPDIR full", "train: TMPDIR is too small for the adapter; artifacts in S3", EXPECTED),
            partial(outputs_full, folder / "tmpdir", reference, "TMPDIR"),
        ),
        (
            Record("disk", "output folder full", "train: --trained-out is too small; artifacts in S3", EXPECTED),
            partial(outputs_full, folder / "outputs", reference, "outputs"),
        ),
        (
            Record(
                "disk", "--out full",
                "`thinksafe run micro-no-latent-safety` with --out and TMPDIR on a disk of 64 KiB, 256 KiB, 1 MiB and "
                "2 MiB, then 256 MiB; repeatedly in one folder",
                f"{EXPECTED} with the reference's diagnosis",
            ),
            partial(run_full, folder / "run"),
        ),
    ]
    for record, scenario in made:
        if settings.wants(record.name):
            yield record, partial(_skip, reason) if reason else scenario


def _skip(reason: str, record: Record) -> None:
    record.skipped = reason


def _why_not(folder: Path) -> str:
    if not sys.platform.startswith("linux") or os.geteuid():
        return "needs root on Linux, to mount a small tmpfs"
    try:
        with small_disk(folder / "try", 1 << 20):
            return ""
    except OSError as error:
        return f"a tmpfs cannot be mounted here ({error})"


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a tmpfs of ``size`` bytes. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        # lazily: a process that has just ended may still use it for a moment
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def enlarge(folder: Path, size: int) -> None:
    """Give a mounted tmpfs more room."""
    _mount("-o", f"remount,size={size}", str(folder))


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(" ".join(done.stderr.split())[:200])


def _meet(record: Record, ended: Ended) -> None:
    record.repeats += 1
    told = ended.clear and ended.code == 1 and "space" in ended.text.lower()
    record.count("failed with code 1 and said so", int(told))
    record.demand(told, f"exit code {ended.code}: {ended.error}")
    record.observed.setdefault("message", ended.error)


def _whole(record: Record, folder: Path, store: str) -> None:
    """Check that nothing below a folder is half-written: no temporary files, no incomplete objects."""
    left = [path for path in folder.rglob(".tmp-*") if path.is_file()]
    corrupt = corrupt_objects(store)
    record.count("temporary files left", len(left))
    record.count("corrupt objects", len(corrupt))
    record.demand(not left, f"left over: {', '.join(path.name for path in left[:3])}")
    record.demand(not corrupt, f"corrupt: {', '.join(corrupt[:3])}")


def _same(record: Record, run: Run, reference: Run, stage: str, ended: Ended) -> None:
    record.count("reruns that completed", int(ended.code == 0))
    record.demand(ended.code == 0, f"{stage} after freeing space: {ended.error}")
    if ended.code == 0:
        record.demand(compare(run, reference, stage).none, f"{stage} left different data than the reference")


def store_full(folder: Path, reference: Run, record: Record) -> None:
    """The store is a folder on a disk that fills up in the middle of sample, and again of judge."""
    with small_disk(folder, 1) as disk:
        store = disk / "store"
        run = replace(reference, folder=folder.with_name("store-files"), root=str(store))
        for stage in ("sample", "judge"):
            used = _used(disk)
            whole = sum(len(data) for data in _chunks(reference, stage))
            enlarge(disk, used + whole // 2)
            _meet(record, run.do(stage))
            _whole(record, disk, str(store))
            record.demand(not (run.folder / PRODUCT[stage][0]).exists(), "there is a manifest of an unfinished stage")
            enlarge(disk, ROOMY)
            ended = run.do(stage)
            if ended.code == 0:
                record.count(f"chunks of {stage} reused", int(run.record(stage)["counts"]["chunks_reused"]))
            _same(record, run, reference, stage, ended)
            _whole(record, disk, str(store))


def _used(disk: Path) -> int:
    state = os.statvfs(disk)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _chunks(reference: Run, stage: str) -> list[bytes]:
    """Return the chunks of the reference, padded to the pages of a tmpfs, with a page for each ``done.json``."""
    import json

    from thinksafe.store import open_store

    store = open_store(reference.root)
    manifest = json.loads((reference.folder / PRODUCT[stage][0]).read_bytes())
    found = [store.get(chunk_key(chunk)) for chunk in manifest["chunks"]]
    return [data + b"\0" * (-len(data) % 4096 + 4096) for data in found]


def outputs_full(folder: Path, reference: Run, where: str, record: Record) -> None:
    """Train's temporary folder, or the folder that it writes the adapter to, is full."""
    import shutil

    with small_disk(folder, 1 << 20) as disk:
        files = folder.with_name(f"{where}-files") if where == "TMPDIR" else disk / "files"
        temporary = {"TMPDIR": str(disk)} if where == "TMPDIR" else {}
        # with its own root, so that it trains again
        run = replace(
            reference, folder=files, root=f"{reference.root}-disk-{where.lower()}",
            environment={**reference.environment, **temporary},
        )
        files.mkdir(parents=True)
        shutil.copy(reference.folder / "examples.jsonl", files)
        _meet(record, run.do("train"))
        _whole(record, disk, run.root)
        record.demand(not (files / "candidate.json").exists(), "there is a candidate without its adapter")
        enlarge(disk, ROOMY)
        _same(record, run, reference, "train", run.do("train"))
        _whole(record, disk, run.root)


def run_full(folder: Path, record: Record) -> None:
    """A whole run in a folder on a disk that fills up at different points."""
    plain = folder.with_name("run-reference")
    reference = _run(plain, folder.with_name("run-reference.out"), {})
    with small_disk(folder, 1) as disk:
        out = disk / "run"
        for size in (64 << 10, 256 << 10, 1 << 20, 2 << 20):
            enlarge(disk, size)
            ended = _run(out, folder.with_name("run.out"), {"TMPDIR": str(disk)})
            if ended.code == reference.code:
                record.count("found enough space")
                break
            _meet(record, ended)
        enlarge(disk, ROOMY)
        ended = _run(out, folder.with_name("run.out"), {"TMPDIR": str(disk)})
        record.count("reruns that completed", int(ended.code == reference.code))
        record.demand(ended.code == reference.code, f"after freeing space: exit code {ended.code}: {ended.error}")
        _whole(record, disk, str(out / "store"))
        mine, other = (_diagnosis(path) for path in (out, plain))
        record.demand(mine == other, "the diagnosis differs from the reference's")


def _run(out: Path, text: Path, environment: dict[str, str]) -> Ended:
    command = [COMMAND, "run", "micro-no-latent-safety", "--out", str(out)]
    return Process(command, clean_environment(**environment), text).wait()


def _diagnosis(out: Path) -> list[dict[str, object]]:
    import json

    return [json.loads(path.read_bytes())["outputs"] for path in sorted(out.glob("store/runs/*/diagnose.json"))]
