from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import hostile_runs
import pytest
import report_runs as runs
from rich.console import Console

from thinksafe.errors import ConfigError, StoreError
from thinksafe.models.references import ModelReference
from thinksafe.registry import ledger
from thinksafe.registry.ledger import Digests, LedgerEntry
from thinksafe.report.model_history import champion_words, history_table, render_history
from thinksafe.report.summary import reasoning_average, summarise
from thinksafe.report.timeline import timeline
from thinksafe.run.record import StageRecord, record_key, write_stage_record
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore
from thinksafe.text import DASH

NAME = "qwen3-safe"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def add_run(store: LocalStore, records: dict[str, Any]) -> None:
    for record in records.values():
        write_stage_record(store, record)


def entry(generation: int, run_id: str, version: str, **changes: Any) -> LedgerEntry:
    target = ModelReference(
        role="champion", student=StudentSettings(model="m"), base_digest="b", adapter="adapters/a", adapter_digest="a"
    )
    return LedgerEntry(
        **{
            "model": NAME, "generation": generation, "previous": generation - 1 or None, "action": "promote",
            "target": target, "version": version, "run_id": run_id, "digests": Digests(adapter="a", base="b"),
            "reason": "r", "who": "ann", "created": f"2026-10-{generation:02d}T00:00:00+00:00", **changes,
        }
    )


def add_deploy(run_id: str) -> bytes:
    record = StageRecord(
        run_id=run_id, stage="deploy", task="deploy", status="succeeded", verdict="deployed", started=runs.START,
        seconds=10.0,
    )
    return record.model_dump_json().encode()


@pytest.fixture
def lived(store: LocalStore) -> LocalStore:
    """A model with a promoted, a refused and again a promoted version, and a rollback to the first."""
    add_run(store, runs.promoted(run_id="one", version="1"))
    add_run(store, runs.refused(run_id="two", version="2", at=1_791_500_000.0))
    add_run(store, runs.promoted(run_id="three", version="3"))
    ledger.append(store, entry(1, "one", "1"))
    ledger.append(store, entry(2, "three", "3", created="2026-11-01T00:00:00+00:00"))
    ledger.append(store, entry(3, "one", "1", action="rollback", who="bob", created="2026-11-02T00:00:00+00:00"))
    return store


def test_events_are_in_order_with_their_numbers(lived: LocalStore) -> None:
    found = timeline(lived, NAME)
    assert [(e.version, e.generation, e.action, e.decision) for e in found] == [
        ("1", 1, "promote", "passed"), ("2", None, "registered", "refused"), ("3", 2, "promote", "passed"),
        ("1", 3, "rollback", "passed"),
    ]
    assert [e.champion for e in found] == [False, False, False, True]
    assert [e.until for e in found] == [found[2].created, "", found[3].created, ""]
    candidate = summarise(runs.refused()).metrics["candidate"]
    worst = max((m for m in candidate.metrics if m.kind == "harm" and m.part == "whole"), key=lambda m: m.value)
    harm, reasoning, average = found[1].harm, found[1].reasoning, reasoning_average(candidate)
    assert harm is not None
    assert reasoning is not None
    assert average is not None
    assert (harm.name, harm.value, harm.n, harm.interval) == (worst.benchmark, worst.value, worst.n, worst.interval)
    assert (reasoning.name, reasoning.value, reasoning.interval) == ("average of 3", average.value, average.interval)


def test_other_models_and_unfinished_runs_are_left_out(lived: LocalStore) -> None:
    assert timeline(lived, "another") == []
    other = runs.refused(run_id="four", version="9")
    other["register"].details["registration"]["name"] = "another"
    add_run(lived, other)
    add_run(lived, runs.failed(run_id="five"))
    assert [event.version for event in timeline(lived, "another")] == ["9"]
    lived.put(record_key("four", "deploy"), add_deploy("four"))
    assert timeline(lived, "another")[0].deployed == "deployed 2026-09-21T14:13:30+00:00"
    assert len(timeline(lived, NAME)) == 4
    with pytest.raises(ConfigError):
        timeline(lived, "../x")


def test_lost_and_malformed_records_leave_columns_empty(lived: LocalStore) -> None:
    for task in ("gate", "plan"):
        lived.put(record_key("one", task), b"not a record")
    lived.delete(record_key("one", "metrics-candidate"))
    lived.put(record_key("two", "metrics-candidate"), b"{}")
    found = timeline(lived, NAME)
    assert (found[0].decision, found[0].harm) == ("", None)
    assert (found[1].harm, found[1].decision) == (None, "refused")
    assert "2026" in render_history(NAME, found)


def test_a_gap_in_the_ledger_is_an_error(lived: LocalStore) -> None:
    lived.put("promotions/qwen3-safe/000007.json", b"{}")
    with pytest.raises(StoreError, match="lacks"):
        timeline(lived, NAME)


def test_table_and_page_say_the_same(lived: LocalStore) -> None:
    found = timeline(lived, NAME)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(history_table(found))
    text, page = console.export_text(), render_history(NAME, found)
    for words in ("refused", "rollback", "until", "2026-11-01 00:00", "now", "bob"):
        assert words in text
        assert words in page
    assert "until 2026-11-01 00:00" in page
    assert "Champion: version 1, generation 3, since 2026-11-02" in page
    for event in found:
        assert event.harm is not None
        assert f'data-value="{event.harm.value!r}"' in page
    assert page.count("<svg") == 2


def test_hostile_names_are_text(lived: LocalStore) -> None:
    hostile = hostile_runs.HOSTILE["script"]
    found = [event.model_copy(update={"who": hostile, "decision": hostile}) for event in timeline(lived, NAME)]
    assert "<script>window" not in render_history(NAME, found)


def test_a_withdrawal_is_an_event_without_a_champion(lived: LocalStore) -> None:
    ledger.append(lived, entry(4, "one", "1", action="withdraw", created="2026-11-03T00:00:00+00:00"))
    found = timeline(lived, NAME)
    assert (found[-1].action, found[-1].champion, found[-2].until) == ("withdraw", False, found[-1].created)
    assert not any(event.champion for event in found)
    assert champion_words(found[-1]) == DASH
    page = render_history(NAME, found)
    assert "No champion: version 1 was withdrawn at 2026-11-03" in page
