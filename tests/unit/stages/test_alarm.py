"""alarm: a message without text of prompts, to an address that nobody sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from webhook_receiver import Receiver, webhook_receiver

from thinksafe.config.alarm import AlarmSettings
from thinksafe.config.sections import AlarmSection
from thinksafe.errors import StageError
from thinksafe.jsonl import write_json
from thinksafe.models.references import ModelReference
from thinksafe.records import Check, Decision
from thinksafe.run.details import AlarmDetails
from thinksafe.run.record import StageContext, StageResult, list_records
from thinksafe.settings import StudentSettings
from thinksafe.stages import alarm
from thinksafe.store.local import LocalStore


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with webhook_receiver() as running:
        monkeypatch.setenv("HOOK", running.address)
        yield running


@pytest.fixture
def run(tmp_path: Path, make_context: Callable[..., StageContext]) -> Callable[..., StageResult]:
    def raised(variable: str = "", passed: bool = False) -> StageResult:
        check = Check(name="regression/harm/x", passed=passed, value=0.1, threshold=0.0, n=300, reason="It rose.")
        decision = Decision(
            passed=passed, stopped_by=None if passed else "monitor", checks=(check,), summary="Alarm: it rose."
        )
        model = ModelReference(role="evaluated", student=StudentSettings(model="micro://x"), base_digest="b")
        write_json(tmp_path / "decision", decision)
        write_json(tmp_path / "model", model)
        section = AlarmSection(alarm=AlarmSettings(webhook_env=variable), suite="micro")
        return alarm.run(make_context("alarm"), section, tmp_path / "decision", tmp_path / "model")

    return raised


def test_the_webhook_hears_what_failed(run: Callable[..., StageResult], receiver: Receiver) -> None:
    assert run("HOOK").details == AlarmDetails(webhook="called: status 204")
    ((_, kind, message),) = receiver.heard
    assert kind == "application/json"
    assert (message["event"], message["suite"], message["run_id"]) == ("thinksafe.alarm", "micro", "run-1")
    assert message["failed"] == [{"check": "regression/harm/x", "value": 0.1, "threshold": 0.0, "n": 300}]
    assert message["report"].endswith("reports/run-1/report.html")


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        ("", "not called: HOOK holds no http address"),
        ("file:///etc/passwd", "not called: HOOK holds no http address"),
        ("http://127.0.0.1:9/secret", "failed: NewConnectionError"),
    ],
)
def test_a_webhook_that_fails_does_not_hide_the_alarm(
    run: Callable[..., StageResult], monkeypatch: pytest.MonkeyPatch, store: LocalStore, address: str, outcome: str
) -> None:
    monkeypatch.setenv("HOOK", address)
    result = run("HOOK")
    assert (result.verdict, result.details.webhook) == ("alarm", outcome)
    assert "secret" not in list_records(store, "run-1").found["alarm"].model_dump_json()


def test_a_status_is_told(run: Callable[..., StageResult], receiver: Receiver) -> None:
    receiver.statuses = [410]
    assert run("HOOK").details == AlarmDetails(webhook="failed: status 410")


def test_without_a_webhook(run: Callable[..., StageResult]) -> None:
    assert run().details == AlarmDetails(webhook="none is named")


def test_there_is_nothing_to_raise_when_all_is_well(run: Callable[..., StageResult]) -> None:
    with pytest.raises(StageError, match="no alarm"):
        run(passed=True)
