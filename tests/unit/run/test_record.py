"""Stage records: written last, also for failures, and read in the order of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from thinksafe.config.sections import GradeSection
from thinksafe.errors import InputError, StageError, StoreError
from thinksafe.run.record import StageContext, read_stage_records, recorded, silent
from thinksafe.store.local import LocalStore

SECTION = GradeSection(reasoning="think")


def test_success(make_context: Callable[..., StageContext], store: LocalStore) -> None:
    with recorded(make_context("grade", "grade-base-0"), SECTION) as result:
        assert not store.keys("runs/"), "the record is the last act"
        result.verdict = "passed"
        result.inputs, result.outputs = {"samples": "a"}, {"grades": "b"}
        result.counts, result.details = {"rows": 3}, {"more": [1]}
    (record,) = read_stage_records(store, "run-1").values()
    assert (record.run_id, record.stage, record.task) == ("run-1", "grade", "grade-base-0")
    assert (record.status, record.verdict, record.error) == ("succeeded", "passed", "")
    assert (record.inputs, record.outputs) == ({"samples": "a"}, {"grades": "b"})
    assert (record.counts, record.details, record.section) == ({"rows": 3}, {"more": [1]}, {"reasoning": "think"})
    assert record.seconds >= 0


def test_failure_keeps_what_was_counted(make_context: Callable[..., StageContext], store: LocalStore) -> None:
    def counting() -> None:
        with recorded(make_context("grade"), SECTION) as result:
            result.details = {"funnel": [1]}
            raise StageError("A problem.", "An action.")

    with pytest.raises(StageError, match="problem"):
        counting()
    record = read_stage_records(store, "run-1")["grade"]
    assert (record.status, record.error, record.action) == ("failed", "A problem.", "An action.")
    assert record.details == {"funnel": [1]}


@pytest.mark.parametrize("error", [ValueError("SECRET text"), KeyboardInterrupt(), MemoryError("SECRET")])
def test_foreign_error_is_recorded_without_its_message(
    make_context: Callable[..., StageContext], store: LocalStore, error: BaseException
) -> None:
    with pytest.raises(type(error)), recorded(make_context("grade"), None):
        raise error
    record = read_stage_records(store, "run-1")["grade"]
    assert (record.status, record.error) == ("failed", type(error).__name__)
    assert "SECRET" not in record.model_dump_json()


def test_a_retry_replaces_the_record(make_context: Callable[..., StageContext], store: LocalStore) -> None:
    with pytest.raises(StageError), recorded(make_context("grade"), None):
        raise StageError("p", "a")
    with recorded(make_context("grade"), None):
        pass
    assert read_stage_records(store, "run-1")["grade"].status == "succeeded"


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
    assert list(read_stage_records(store, "run-1")) == ["z", "a", "m"]
    assert read_stage_records(store, "run-2") == {}


def test_malformed_record_is_named(store: LocalStore) -> None:
    store.put("runs/run-1/x.json", b"{}")
    store.put("runs/run-1/notes.txt", b"not a record")
    with pytest.raises(InputError, match=r"x.json is not a stage record"):
        read_stage_records(store, "run-1")


def test_silent_progress() -> None:
    with silent("label", 3) as advance:
        advance(3)
