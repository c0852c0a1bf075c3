from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.gate import GateSettings
from thinksafe.config.sections import GateSection
from thinksafe.errors import InputError, StageError
from thinksafe.jsonl import read_record, write_json, write_records
from thinksafe.measuring.statistics import proportion
from thinksafe.records import Decision, Metric, MetricKind, MetricSet, Outcome, Role, SamplingSettings
from thinksafe.registry.registration import Registration
from thinksafe.run.record import StageContext, StageResult, list_records, silent
from thinksafe.stages import gate
from thinksafe.store.local import LocalStore

SECTION = GateSection(gate=GateSettings(), reasoning_benchmarks=("gsm8k",))
REGISTRATION = Registration(
    name="student", version="3", run_id="run", candidate="c" * 64, adapter_digest="a" * 64, data_digest="",
    config_digest="", model_id="m-1", mlflow_run="r-1",
)


def write_model(folder: Path, role: Role, harm: int, *, absent: bool = False) -> None:
    ones: dict[tuple[MetricKind, str], int] = {
        ("harm", "harmbench"): harm, ("over_refusal", "xstest"): 3, ("reasoning", "gsm8k"): 270,
    }
    metrics, rows = [], []
    for (kind, benchmark), count in ones.items() if not absent else ():
        values = [1.0] * count + [0.0] * (300 - count)
        estimate = proportion(values, 0.9)
        metrics.append(
            Metric(
                name=f"{kind}/{benchmark}", kind=kind, benchmark=benchmark, value=estimate.value, n=300, samples=300,
                interval=estimate.interval, settings=SamplingSettings(),
            )
        )
        rows += [
            Outcome(metric=f"{kind}/{benchmark}", prompt_id=f"{i:03d}", value=value) for i, value in enumerate(values)
        ]
    write_json(folder / f"{role}.json", MetricSet(role=role, absent=absent, suite="s", metrics=tuple(metrics)))
    write_records(folder / f"{role}.jsonl", rows)


def run(folder: Path, registration: Path | None = None) -> StageResult:
    context = StageContext(LocalStore(folder / "store"), "run", "gate", "gate", silent)
    files = [folder / f"{role}.{kind}" for role in ("base", "candidate", "champion") for kind in ("json", "jsonl")]
    return gate.run(
        context, SECTION, *files, registration=registration, decision_out=folder / "decision.json",
        passed_out=folder / "passed",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path, "base", 150)
    write_model(tmp_path, "candidate", 5)
    write_model(tmp_path, "champion", 0, absent=True)
    return tmp_path


@pytest.fixture
def tagged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Decision]]:
    """Records what would be tagged; the registry itself has its own tests."""
    calls: list[tuple[Any, Decision]] = []
    stand_in = types.ModuleType("thinksafe.registry.decision_tags")
    stand_in.tag_decision = lambda registration, decision: calls.append(  # type: ignore[attr-defined]
        (registration, decision)
    )
    monkeypatch.setitem(sys.modules, "thinksafe.registry.decision_tags", stand_in)
    return calls


@pytest.mark.parametrize(("harm", "verdict", "flag"), [(5, "passed", "true"), (90, "refused", "false")])
def test_writes_decision_flag_and_record(folder: Path, harm: int, verdict: str, flag: str) -> None:
    write_model(folder, "candidate", harm)
    result = run(folder)
    decision = read_record(folder / "decision.json", Decision)
    assert (folder / "passed").read_text() == flag
    assert decision.passed == (flag == "true")
    assert result.verdict == verdict
    record = list_records(LocalStore(folder / "store"), "run").found["gate"]
    assert (record.status, record.verdict) == ("succeeded", verdict)
    assert Decision.model_validate(record.details["decision"]) == decision
    roles, kinds = ("base", "candidate", "champion"), ("metrics", "outcomes")
    assert set(record.inputs) == {f"{role}_{kind}" for role in roles for kind in kinds}


def test_the_same_inputs_give_the_same_bytes(folder: Path) -> None:
    run(folder)
    first = (folder / "decision.json").read_bytes()
    run(folder)
    assert (folder / "decision.json").read_bytes() == first
    assert str(folder).encode() not in first


def test_tags_the_version_with_the_decision(folder: Path, tagged: list[tuple[Any, Decision]]) -> None:
    write_json(folder / "registration.json", REGISTRATION)
    run(folder, folder / "registration.json")
    assert tagged == [(REGISTRATION, read_record(folder / "decision.json", Decision))]
    tagged.clear()
    run(folder)
    assert tagged == []


def test_nothing_is_written_when_the_version_could_not_be_tagged(
    folder: Path, tagged: list[tuple[Any, Decision]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise StageError("MLflow is down.", "Start it.")

    monkeypatch.setattr(sys.modules["thinksafe.registry.decision_tags"], "tag_decision", down)
    write_json(folder / "registration.json", REGISTRATION)
    with pytest.raises(StageError):
        run(folder, folder / "registration.json")
    assert not (folder / "decision.json").exists()
    assert not (folder / "passed").exists()
    assert tagged == []


@pytest.mark.parametrize("name", ["base.json", "candidate.jsonl", "champion.json"])
def test_missing_and_malformed_files_are_errors(folder: Path, name: str) -> None:
    (folder / name).write_text('{"no": "record"}\n')
    with pytest.raises(InputError, match=name):
        run(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        run(folder)
    assert not (folder / "passed").exists()


def test_an_empty_outcome_file_refuses(folder: Path) -> None:
    (folder / "candidate.jsonl").write_text("")
    assert run(folder).verdict == "refused"
    assert (folder / "passed").read_text() == "false"


def test_swapped_files_are_an_error(folder: Path) -> None:
    (folder / "base.json").rename(folder / "other")
    (folder / "candidate.json").rename(folder / "base.json")
    (folder / "other").rename(folder / "candidate.json")
    with pytest.raises(InputError, match="wiring"):
        run(folder)
