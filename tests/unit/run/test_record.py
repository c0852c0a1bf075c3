"""Stage records: written last, also for failures, and read in the order of the run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.sections import GradeSection
from thinksafe.errors import DamagedError, StageError, StoreError
from thinksafe.run.details import JudgeDetails
from thinksafe.run.record import (
    StageContext,
    StageRecord,
    find_evidence,
    find_record,
    list_records,
    recorded,
    silent,
    write_stage_record,
)
from thinksafe.store.local import LocalStore

SECTION = GradeSection(reasoning="think")


def test_success(make_context: Callable[..., StageContext], store: LocalStore) -> None:
    with recorded(make_context("grade", "grade-base"), SECTION) as result:
        assert not store.keys("runs/"), "the record is the last act"
        result.verdict = "passed"
        result.inputs, result.outputs = {"samples": "a"}, {"grades": "b"}
        result.counts, result.details = {"rows": 3}, JudgeDetails(guard="g")
    (record,) = list_records(store, "run-1").found.values()
    assert (record.run_id, record.stage, record.task) == ("run-1", "grade", "grade-base")
    assert (record.status, record.verdict, record.error) == ("succeeded", "passed", "")
    assert (record.inputs, record.outputs) == ({"samples": "a"}, {"grades": "b"})
    assert (record.counts, record.details, record.section) == ({"rows": 3}, {"guard": "g"}, {"reasoning": "think"})
    assert record.seconds >= 0


def test_a_record_without_attempts_is_of_the_first(
    make_context: Callable[..., StageContext], store: LocalStore
) -> None:
    with recorded(make_context("grade"), SECTION):
        pass
    key = "runs/run-1/grade.json"
    older = json.loads(store.get(key))
    assert older.pop("attempts") == []
    store.put(key, json.dumps(older).encode())
    record = find_record(store, "run-1", "grade")
    assert record is not None
    assert record.attempts == ()


def test_failure_keeps_what_was_counted(make_context: Callable[..., StageContext], store: LocalStore) -> None:
    def counting() -> None:
        with recorded(make_context("grade"), SECTION) as result:
            result.details = JudgeDetails(guard="g")
            raise StageError("A problem.", "An action.")

    with pytest.raises(StageError, match="problem"):
        counting()
    record = list_records(store, "run-1").found["grade"]
    assert (record.status, record.error, record.action) == ("failed", "A problem.", "An action.")
    assert record.details == {"guard": "g"}


def test_evidence_is_read_whole_or_not_at_all(make_context: Callable[..., StageContext], store: LocalStore) -> None:
    with recorded(make_context("judge"), SECTION) as result:
        result.details = JudgeDetails(guard="g")
    record = list_records(store, "run-1").found["judge"]
    assert record.require(JudgeDetails) == JudgeDetails(guard="g")
    damaged = record.model_copy(update={"details": {"guard": ["g"]}})
    assert damaged.read(JudgeDetails) == JudgeDetails()
    with pytest.raises(DamagedError, match=r"judge: guard cannot be read") as caught:
        damaged.require(JudgeDetails)
    assert "backup" in caught.value.action


@pytest.mark.parametrize("error", [ValueError("SECRET text"), KeyboardInterrupt(), MemoryError("SECRET")])
def test_foreign_error_is_recorded_without_its_message(
    make_context: Callable[..., StageContext], store: LocalStore, error: BaseException
) -> None:
    with pytest.raises(type(error)), recorded(make_context("grade"), None):
        raise error
    record = list_records(store, "run-1").found["grade"]
    assert (record.status, record.error) == ("failed", type(error).__name__)
    assert "SECRET" not in record.model_dump_json()


def test_a_retry_replaces_the_record(make_context: Callable[..., StageContext], store: LocalStore) -> None:
    with pytest.raises(StageError), recorded(make_context("grade"), None):
        raise StageError("p", "a")
    with recorded(make_context("grade"), None):
        pass
    assert list_records(store, "run-1").found["grade"].status == "succeeded"


def test_an_error_is_not_hidden_by_a_store_that_fails_too(
    make_context: Callable[..., StageContext], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    context = make_context("grade", store=LocalStore(tmp_path / "file"))
    with pytest.raises(StageError, match="the cause"), recorded(context, None):
        raise StageError("the cause", "a")

    def unwritable() -> None:
        with recorded(make_context("grade"), None) as result:
            result.details = {"not": object()}
            raise StageError("the cause", "a")

    with pytest.raises(StageError, match="the cause"):
        unwritable()
    with pytest.raises(StoreError), recorded(context, None):
        pass  # without a record a stage has not done its work


def test_records_are_read_in_order_of_start(make_context: Callable[..., StageContext], store: LocalStore) -> None:
    for task in ("z", "a", "m"):
        with recorded(make_context("grade", task), None):
            pass
    with recorded(make_context("grade", "elsewhere", run_id="run-10"), None):
        pass
    assert list(list_records(store, "run-1").found) == ["z", "a", "m"]
    assert list_records(store, "run-2").found == {}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "is not a stage record"),
        ([], "is not a stage record"),
        ({"schema_version": 2, "new": True}, r"was written by another version of thinksafe \(schema 2; this"),
        ({"task": "y"}, "is the record of y of the run run-1"),
        ({"run_id": "run-2"}, "is the record of x of the run run-2"),
    ],
)
def test_what_cannot_be_read_is_named_and_stands_for_no_record(store: LocalStore, data: Any, problem: str) -> None:
    good = StageRecord(run_id="run-1", stage="grade", task="x", status="succeeded", started=1.0, seconds=1.0)
    write_stage_record(store, good)
    write_stage_record(store, good.model_copy(update={"task": "z"}))
    known = find_record(store, "run-1", "x")
    assert known == good
    assert known.succeeded
    store.put("runs/run-1/notes.txt", b"not a record")
    store.put("runs/run-1/x.json", json.dumps(good.model_dump() | data if data else data).encode())
    records = list_records(store, "run-1")
    assert list(records.found) == ["z"]
    (found,) = records.problems
    assert re.fullmatch(rf"runs/run-1/x.json {problem}.*", found)
    assert find_record(store, "run-1", "x") is None
    with pytest.raises(DamagedError, match=rf"runs/run-1/x.json {problem}"):
        find_evidence(store, "run-1", "x")


def test_what_is_no_json_is_named(store: LocalStore) -> None:
    store.put("runs/run-1/x.json", b"\xff{")
    assert list_records(store, "run-1").problems == ("runs/run-1/x.json is not a stage record",)
    assert find_record(store, "run-1", "x") is None
    assert find_record(store, "run-1", "y") is None
    assert find_evidence(store, "run-1", "y") is None


def test_silent_progress() -> None:
    with silent("label", 3) as advance:
        advance(3)
