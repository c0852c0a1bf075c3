"""The fault scenarios can fail: what they compare with and count finds each kind of damage."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.faults import page
from benchmarks.faults.kills import Course, Log, draw, profile
from benchmarks.faults.processes import Ended
from benchmarks.faults.records import Record, surviving
from benchmarks.faults.registry import State
from benchmarks.faults.runs import Inputs, Run, chunk_key, compare, corrupt_objects
from benchmarks.faults.settings import FULL
from thinksafe.cli.main import app
from thinksafe.run.manifests import Manifest, write_chunk, write_manifest
from thinksafe.store.local import LocalStore


@pytest.fixture
def make_run(tmp_path: Path, make_sample: Callable[..., Any]) -> Callable[..., Run]:
    """Return a function that writes a run of two chunks of two samples."""

    def make(name: str, *responses: str) -> Run:
        store = LocalStore(tmp_path / name / "store")
        rows = [make_sample(response=text, index=place) for place, text in enumerate(responses)]
        chunks = tuple(
            write_chunk(store, str(index) * 64, index, rows[index * 2 : index * 2 + 2]) for index in range(2)
        )
        write_manifest(
            tmp_path / name / "samples.json", Manifest(kind="samples", total=2, model="m", chunks=chunks)
        )
        return Run(tmp_path / name, store.root, Inputs(tmp_path), tmp_path, {})

    return make


def test_stages_get_the_options_that_they_require(make_run: Callable[..., Run]) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    run = make_run("run", "a", "b", "c", "d")
    for stage in ("sample", "judge", "curate", "train"):
        name, *given = run.command(stage)
        options = {option: known for known in commands[name].params for option in known.opts}
        assert set(given[::2]) <= set(options), stage
        assert {known.opts[0] for known in options.values() if known.required} <= set(given[::2]), stage


def test_compare_counts_each_kind_of_damage(make_run: Callable[..., Run]) -> None:
    reference = make_run("reference", "a", "b", "c", "d")
    assert compare(make_run("same", "a", "b", "c", "d"), reference, "sample").none

    changed = compare(make_run("changed", "a", "b", "x", "d"), reference, "sample")
    assert (changed.lost, changed.doubled, changed.changed, changed.none) == (0, 0, 1, False)

    run = make_run("short", "a", "b", "c", "d")
    manifest = json.loads((run.folder / "samples.json").read_bytes())
    twice = manifest | {"chunks": [manifest["chunks"][0]] * 2}
    (run.folder / "samples.json").write_text(json.dumps(twice))
    found = compare(run, reference, "sample")
    assert (found.lost, found.doubled, found.changed, found.none) == (2, 2, 0, False)


def test_objects_that_claim_too_much_are_found(make_run: Callable[..., Run]) -> None:
    run = make_run("run", "a", "b", "c", "d")
    store = LocalStore(Path(run.root))
    chunk = json.loads((run.folder / "samples.json").read_bytes())["chunks"][0]
    assert corrupt_objects(run.root) == []
    rows = store.get(chunk_key(chunk))
    store.put(chunk_key(chunk), rows[: len(rows) // 2])
    store.put("runs/r/sample.json", b'{"half": ')
    store.put("adapters/x/manifest.json", b'{"files": {"adapter_config.json": "0"}}')
    found = ["adapters/x/manifest.json", f"chunks/{chunk['key']}/done.json", "runs/r/sample.json"]
    assert corrupt_objects(run.root) == found
    (Path(run.root) / chunk_key(chunk)).unlink()
    assert corrupt_objects(run.root) == found


def test_moments_follow_the_work_of_the_reference() -> None:
    steps = profile([(12.0, 3), (14.0, 5), (15.0, 1)], 10.0, absolute=False)
    assert steps == [(2.0, 3), (4.0, 8), (5.0, 9)]
    course = Course(steps, 6.0)
    moments = draw(course, 50, random.Random(1))
    early = [moment for moment in moments if not moment.position]
    work = [moment for moment in moments if moment.position]
    assert (len(early), len(work)) == (10, 40)
    assert all(0 <= moment.seconds <= 2 for moment in early)
    assert work == sorted(work, key=lambda moment: (moment.position, moment.seconds))
    assert {moment.position for moment in work} == {3, 8, 9}
    assert all(moment.seconds <= (2 if moment.position == 3 else 1) for moment in work)
    assert moments == draw(course, 50, random.Random(1))


def test_the_log_counts_all_attempts_and_waits_for_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(path, absolute=False)
    with path.open("ab", buffering=0) as stream:
        stream.write(b"1.0 4\n2.0 4\n3.")
        log.read()
        assert (log.done, log.reached(8), log.reached(9)) == (8, 2.0, None)
        log.begin()
        assert log.reached(8) is None, "that was the attempt before"
        stream.write(b"5 2\n")
        log.read()
    assert (log.done, log.reached(9)) == (10, 3.5)
    steps = Log(tmp_path / "steps", absolute=True)
    (tmp_path / "steps").write_text("1.0 1\n2.0 2\n3.0 1\n4.0 2\n")
    steps.read()
    assert (steps.done, steps.reached(2)) == (4, 2.0)


@pytest.mark.parametrize(
    ("code", "text", "clear"),
    [
        (1, "sample: 3 of 4\nerror: The store is gone.\n  Start it again.\n", True),
        (0, "error: The store is gone.\n  Start it again.\n", False),
        (-9, "", False),
        (1, "error: The store is gone.\n", False),
        (1, "error: unexpected KeyError at x.py:3.\n  Set THINKSAFE_DEBUG=1.\n", False),
        (1, "Traceback (most recent call last):\nerror: The store is gone.\n  Start it again.\n", False),
    ],
)
def test_what_counts_as_a_clear_failure(code: int, text: str, clear: bool) -> None:
    assert Ended(code, text, 1.0).clear is clear


def test_an_alias_needs_its_entry() -> None:
    entry = {"version": "1"}
    assert State("1", "", 1, []).unbacked
    assert not State("1", "", 1, [entry]).unbacked
    assert not State("", "", 1, []).settled
    assert not State("1", "", 2, [entry, {"version": "2"}]).settled


def test_a_scenario_that_breaks_is_a_failure_and_shown() -> None:
    record = Record("S3", "slow", "what | was <done>", "that it works", repeats=1)
    with surviving(record, iter([1.0, 3.0]).__next__):
        raise RuntimeError("/some/folder/sample.out is missing")
    assert (record.outcome, record.seconds) == ("failed", 2.0)
    idle = Record("S3", "never done", "nothing", "something")
    assert idle.outcome == "failed"
    text = page.render(page.document([asdict(record), asdict(idle)], FULL, 60.0))
    assert "0 scenarios passed, 2 failed, 0 were skipped, in 1 minutes" in text
    assert "what \\| was &lt;done>" in text
    assert "**the scenario itself failed: RuntimeError: .../sample.out is missing** | **failed** |" in text
