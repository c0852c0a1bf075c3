"""The history of evaluations: numbered, one entry a run, comparable only with itself."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from thinksafe.errors import StoreError
from thinksafe.jsonl import write_records
from thinksafe.models.references import ModelReference
from thinksafe.records import MetricSet, Outcome
from thinksafe.registry import evaluations
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

MODEL = ModelReference(role="evaluated", student=StudentSettings(model="micro://x"), base_digest="b")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def add(store: LocalStore, tmp_path: Path, run: str, suite: str = "s", value: float = 0.0) -> evaluations.Evaluation:
    path = tmp_path / f"{run}.jsonl"
    write_records(path, [Outcome(metric="harm/x", prompt_id="1", value=value)])
    return evaluations.append(
        store, MODEL, MetricSet(role="evaluated", suite=suite), path, run_id=run, created="2026-01-01T00:00:00+00:00"
    )


def test_a_run_is_compared_with_the_newest_before_it(store: LocalStore, tmp_path: Path) -> None:
    assert evaluations.last_before(store, MODEL, "s", "a") is None
    first, second = add(store, tmp_path, "a"), add(store, tmp_path, "b", value=1.0)
    assert (first.number, second.number) == (1, 2)
    assert evaluations.last_before(store, MODEL, "s", "c") == second
    assert evaluations.last_before(store, MODEL, "s", "b") == first, "a repeated attempt decides the same again"
    assert evaluations.last_before(store, MODEL, "s", "a") is None
    assert evaluations.last_before(store, MODEL, "other suite", "c") is None
    changed = MODEL.model_copy(update={"adapter": "adapters/y", "adapter_digest": "y"})
    assert evaluations.last_before(store, changed, "s", "c") is None


def test_a_run_is_added_once(store: LocalStore, tmp_path: Path) -> None:
    assert add(store, tmp_path, "a") == add(store, tmp_path, "a")


def test_whether_the_checks_held_is_kept(store: LocalStore, tmp_path: Path) -> None:
    add(store, tmp_path, "a")
    path = tmp_path / "b.jsonl"
    write_records(path, [Outcome(metric="harm/x", prompt_id="1", value=1.0)])
    evaluations.append(
        store, MODEL, MetricSet(role="evaluated", suite="s"), path, run_id="b", created="2026-01-02T00:00:00+00:00",
        passed=False,
    )
    found = [evaluations.read(store, key) for key in store.keys("evaluations/") if "/outcomes/" not in key]
    assert [entry.passed for entry in found] == [None, False]


def test_outcomes_are_verified(store: LocalStore, tmp_path: Path) -> None:
    entry = add(store, tmp_path, "a", value=1.0)
    with evaluations.outcomes_of(store, entry) as rows:
        assert [row.value for row in rows] == [1.0]
    store.put(entry.outcomes, b'{"metric":"harm/x","prompt_id":"1","value":0.0}\n')
    with pytest.raises(StoreError, match="was changed"), evaluations.outcomes_of(store, entry):
        pass


def test_evaluations_at_once_all_get_a_number(store: LocalStore, tmp_path: Path) -> None:
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda run=f"r{i}": numbers.append(add(store, tmp_path, run).number)) for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 7))


def test_a_malformed_entry_is_named(store: LocalStore, tmp_path: Path) -> None:
    add(store, tmp_path, "a")
    key = next(key for key in store.keys("evaluations/") if key.endswith("000001.json"))
    store.put(key, b"{}")
    with pytest.raises(StoreError, match=r"000001\.json is not an evaluation"):
        evaluations.last_before(store, MODEL, "s", "b")
