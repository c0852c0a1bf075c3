"""``python -m benchmarks.faults``: run the scenarios and write the figures."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.faults import disk, kills, page, promoters, registry, registry_faults, server_faults
from benchmarks.faults.processes import ROOT
from benchmarks.faults.records import Record, surviving
from benchmarks.faults.runs import Run, make_inputs
from benchmarks.faults.servers import Bucket, ceph_bucket, free_port, missing_programs, moto_bucket
from benchmarks.faults.settings import FULL, QUICK, Settings

GROUPS = ("kills", "S3", "MLflow", "promoters", "disk")
HALVES = (("kills", "disk"), ("S3", "MLflow", "promoters"))
"""Groups that run one after another; the halves run in parallel."""


def main() -> int:
    """Run the scenarios that the command line names and return 1 if one failed."""
    given = _arguments()
    settings = QUICK if given.quick else FULL
    out: Path = given.out.absolute()
    if out.exists() and any(out.iterdir()):
        print(f"error: {out} is not empty.\n  Give --out a new folder.", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if given.only:
        records = [asdict(record) for record in Scenarios(settings, out / "work").run(given.only)]
    else:
        records = _side_by_side(out, [name for name in ("quick", "keep") if getattr(given, name)])
    report = page.document(records, settings, seconds=time.monotonic() - started)
    (out / "faults.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    target = given.page or (None if given.quick or given.only else ROOT / "docs" / "reliability.md")
    if target:
        target.write_text(page.render(report), "utf-8")
    if given.only and not given.keep:
        shutil.rmtree(out / "work")
    return int(any(one["outcome"] == "failed" for one in report["scenarios"]))


def _side_by_side(out: Path, flags: list[str]) -> list[dict[str, Any]]:
    """Run the halves as processes, each with its own servers, and return their records.

    Raises:
        RuntimeError: one of them ended without its records.
    """
    started = []
    for number, groups in enumerate(HALVES):
        half = out / f"half-{number}"
        command = [sys.executable, "-m", "benchmarks.faults", "--out", str(half), *(f"--{flag}" for flag in flags)]
        command += [text for group in groups for text in ("--only", group)]
        started.append((subprocess.Popen(command, cwd=ROOT), half / "faults.json"))
    records: list[dict[str, Any]] = []
    try:
        for process, report in started:
            process.wait()
            if not report.is_file():
                raise RuntimeError(f"{report.parent} ended without its records")
            records += json.loads(report.read_bytes())["scenarios"]
    finally:
        for process, _ in started:
            process.terminate()
    return sorted(records, key=lambda one: GROUPS.index(one["group"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="new folder for faults.json and the files of the runs")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, for CI; does not write the page")
    parser.add_argument("--only", action="append", choices=GROUPS, help="a group of scenarios; can be repeated")
    parser.add_argument("--page", type=Path, help="file for the table (default: docs/reliability.md after a full run)")
    parser.add_argument("--keep", action="store_true", help="keep the files of the runs")
    return parser.parse_args()


class Scenarios:
    """All scenarios, one after another on the same servers."""

    def __init__(self, settings: Settings, work: Path) -> None:
        self._settings, self._work = settings, work
        self._records: list[Record] = []

    def run(self, groups: list[str]) -> list[Record]:
        """Run groups and return a record for each scenario."""
        self._work.mkdir(parents=True)
        with self._bucket() as bucket:
            inputs = make_inputs(
                self._work / "inputs", self._settings, bucket.environment, bucket.root("inputs")
            )
            self._whole = Run(
                self._work / "reference", bucket.root("reference"), inputs, inputs.prompts, bucket.environment
            )
            few = inputs.part(self._settings.fault_chunks * self._settings.chunk_size, "few")
            self._small = Run(
                self._work / "small", bucket.root("small"), inputs, few, bucket.environment, train_section="train_wide"
            )
            if "kills" in groups:
                self._kills(bucket)
            if set(groups) - {"kills"}:
                server_faults.make_reference(self._small)
            if "S3" in groups:
                self._server_faults(bucket)
            if {"MLflow", "promoters"} & set(groups):
                self._registry(bucket, groups)
            if "disk" in groups:
                self._disk()
        return self._records

    @contextmanager
    def _bucket(self) -> Iterator[Bucket]:
        if missing := missing_programs():
            say(f"Ceph is not installed (no {', '.join(missing)}): using moto's server instead")
            with moto_bucket() as bucket:
                yield bucket
        else:
            with ceph_bucket(self._work / "ceph") as bucket:
                yield bucket

    @contextmanager
    def _scenario(self, record: Record) -> Iterator[Record]:
        self._records.append(record)
        say(f"{record.group}: {record.name} ...")
        with surviving(record, time.monotonic):
            yield record
        figures = ", ".join(f"{name}: {value}" for name, value in record.observed.items())
        say(f"  {record.outcome} in {record.seconds:g} s; {record.repeats} times; {figures}")
        for problem in (*record.problems, *([record.skipped] if record.skipped else [])):
            say(f"  {problem}")

    def _kills(self, bucket: Bucket) -> None:
        draws = random.Random(self._settings.seed)
        run = Run(
            self._work / "killed", bucket.root("killed"), self._whole.inputs, self._whole.prompts, bucket.environment
        )
        for stage, record in kills.records(self._settings, bucket.name).items():
            with self._scenario(record):
                if stage == "train":
                    self._whole.must("curate")
                    run.must("curate")
                kills.kill_stage(record, stage, run, self._whole, self._settings, draws)
        shared = replace(
            self._small, folder=self._work / "shared", root=bucket.root("shared"),
            inputs=self._small.inputs.shared_by(kills.WORKERS),
        )
        alone = replace(self._small, folder=self._work / "alone", root=bucket.root("alone"))
        with self._scenario(kills.workers_record(self._settings, bucket.name)) as record:
            kills.kill_workers(record, shared, alone, self._settings, draws)

    def _server_faults(self, bucket: Bucket) -> None:
        for number, case in enumerate(server_faults.cases(self._settings)):
            with self._scenario(server_faults.record(case, bucket.name)) as record:
                for repeat in range(case.repeats or self._settings.fault_repeats):
                    name = f"fault-{number}-{repeat}"
                    run = Run(
                        self._work / name, bucket.root(name), self._small.inputs, self._small.prompts,
                        bucket.environment, train_section=self._small.train_section,
                    )
                    server_faults.meet(record, case, bucket, run, self._small, self._settings.seed + repeat)

    def _registry(self, bucket: Bucket, groups: list[str]) -> None:
        with registry.started(self._work / "registry", bucket, self._small, free_port()) as found:
            if "MLflow" in groups:
                for record, scenario in registry_faults.scenarios(found, self._settings):
                    if not self._settings.wants(record.name):
                        continue
                    with self._scenario(record):
                        scenario(record)
            if "promoters" not in groups:
                return
            found.ensure_up()
            self._race(found, "race-1", self._settings.generations[0])
            if bucket.name != "moto" and self._settings.generations[1]:
                with moto_bucket() as second:
                    other = found.moved(second, self._work / "registry-moto")
                    self._race(other, "race-2", self._settings.generations[1])
                bucket.use()

    def _race(self, found: registry.Registry, model: str, generations: int) -> None:
        with self._scenario(promoters.record(self._settings, found.bucket.name, generations)) as record:
            promoters.race(record, found, model, self._settings, generations)

    def _disk(self) -> None:
        for record, scenario in disk.scenarios(self._work / "disk", self._small, self._settings):
            with self._scenario(record):
                scenario(record)


def say(text: str) -> None:
    """Print progress."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
