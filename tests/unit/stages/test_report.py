from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import report_runs as runs
from judged_runs import judge_run

from thinksafe.digests import digest_bytes
from thinksafe.errors import ConfigError, InputError
from thinksafe.records import Sample
from thinksafe.report import without_timing
from thinksafe.run.record import START, StageContext, StageRecord, list_records, silent, write_stage_record
from thinksafe.stages.report import parse_status, run
from thinksafe.store import open_store
from thinksafe.store.local import LocalStore


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageContext:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return StageContext(open_store(str(tmp_path / "store")), runs.RUN_ID, "report", "report", silent)


def write(context: StageContext, records: dict[str, StageRecord], tracking_uri: str = "") -> None:
    if "plan" in records:
        records["plan"].details["config"]["registry"]["tracking_uri"] = tracking_uri
    for record in records.values():
        write_stage_record(context.store, record)


def without_plan(records: dict[str, StageRecord]) -> dict[str, StageRecord]:
    return {task: record for task, record in records.items() if task != "plan"}


def published(context: StageContext) -> list[str]:
    return [key.rpartition("/")[2] for key in context.store.keys(f"reports/{context.run_id}/")]


def test_no_record_at_all(context: StageContext, tmp_path: Path) -> None:
    status = json.dumps({"state": "FAILED", "error": {"message": "The failed tasks are: [plan]."}})
    result = run(context, status, report_out=tmp_path / "out" / "report.html")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert result.verdict == "failed"
    assert "The failed tasks are: [plan]." in page
    assert runs.RUN_ID in page
    assert published(context) == ["provenance.json", "report.html"]


def test_a_pod_that_did_not_start_is_named_until_the_run_is_retried(context: StageContext, tmp_path: Path) -> None:
    records = without_plan(runs.refused())
    last = max(record.started for record in records.values())
    error = "The pod p does not start: CreateContainerConfigError: secret 'hub' not found"
    stuck = StageRecord(
        run_id=context.run_id, stage="judge", task=START, status="failed", started=last + 1, seconds=0.0, error=error,
        action="Check the secrets.",
    )
    write(context, {**records, START: stuck})
    assert run(context, report_out=tmp_path / "report.html").verdict == "failed"
    assert "CreateContainerConfigError" in (tmp_path / "report.html").read_text("utf-8")
    later = StageRecord(
        run_id=context.run_id, stage="judge", task="judge-base", status="succeeded", started=last + 2, seconds=1.0
    )
    write(context, {"judge-base": later})
    assert run(context, report_out=tmp_path / "report.html").verdict != "failed"
    assert "CreateContainerConfigError" not in (tmp_path / "report.html").read_text("utf-8")


def test_publishes_page_and_files_and_records_their_digests(context: StageContext, tmp_path: Path) -> None:
    write(context, without_plan(runs.refused()))
    result = run(context, report_out=tmp_path / "report.html")
    names = ["decision.json", "metrics.json", "provenance.json", "report.html"]
    assert published(context) == names
    for name in names:
        data = context.store.get(f"reports/{runs.RUN_ID}/{name}")
        assert result.outputs[name] == digest_bytes(data)
    assert context.store.get(f"reports/{runs.RUN_ID}/report.html") == (tmp_path / "report.html").read_bytes()
    decision = json.loads(context.store.get(f"reports/{runs.RUN_ID}/decision.json"))
    assert (decision["passed"], decision["stopped_by"], len(decision["checks"])) == (False, "gate", 31)
    assert set(decision["checks"][0]) == {
        "name", "passed", "status", "value", "interval", "threshold", "unit", "n", "reason", "undecided",
    }
    record = list_records(context.store, runs.RUN_ID).found["report"]
    assert (record.status, record.verdict) == ("succeeded", "refused by gate")
    assert record.details["report"] == f"reports/{runs.RUN_ID}/report.html"


def test_a_candidate_gets_a_card_and_a_bill_of_materials(context: StageContext, tmp_path: Path) -> None:
    write(context, runs.promoted())
    result = run(context, report_out=tmp_path / "report.html", tracked=False)
    assert {"README.md", "bom.cdx.json"} <= set(published(context))
    for name in ("README.md", "bom.cdx.json"):
        assert result.outputs[name] == digest_bytes(context.store.get(f"reports/{runs.RUN_ID}/{name}"))


@pytest.mark.parametrize("outcome", ["stopped by diagnose", "evaluated", "failed"])
def test_without_a_candidate_there_is_no_card(context: StageContext, tmp_path: Path, outcome: str) -> None:
    write(context, runs.ALL[outcome]())
    run(context, report_out=tmp_path / "report.html", tracked=False)
    assert "README.md" not in published(context)


def test_again_gives_the_same_page(context: StageContext, tmp_path: Path) -> None:
    write(context, without_plan(runs.failed()))
    first, second = (run(context, report_out=tmp_path / f"{name}.html") for name in ("a", "b"))
    assert first.outputs == second.outputs


def test_the_page_stays_when_mlflow_fails(context: StageContext, tmp_path: Path) -> None:
    write(context, runs.failed())
    with pytest.raises(ConfigError, match="No MLflow server is named"):
        run(context, report_out=tmp_path / "report.html")
    assert "has no end-of-sequence token" in (tmp_path / "report.html").read_text("utf-8")
    assert published(context) == ["provenance.json", "report.html"]
    assert list_records(context.store, runs.RUN_ID).found["report"].status == "failed"


def test_a_malformed_record_is_named_on_the_page_and_raised(context: StageContext, tmp_path: Path) -> None:
    write(context, without_plan(runs.incomplete()))
    context.store.put(f"runs/{runs.RUN_ID}/gate.json", b'{"run_id": 1')
    with pytest.raises(InputError, match=r"gate\.json is not a stage record"):
        run(context, report_out=tmp_path / "report.html")
    assert "gate.json is not a stage record" in (tmp_path / "report.html").read_text("utf-8")


def test_other_runs_are_not_mixed_in(context: StageContext, tmp_path: Path) -> None:
    write(context, without_plan(runs.promoted(run_id="other")))
    assert run(context, report_out=tmp_path / "report.html").verdict == "incomplete"


@pytest.mark.slow
def test_mlflow_gets_the_files_and_the_state_of_the_run(context: StageContext, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    write(context, runs.incomplete(), f"sqlite:///{database}")
    status = json.dumps({"state": "FAILED"})
    first = run(context, status, report_out=tmp_path / "a.html")
    second = run(context, status, report_out=tmp_path / "b.html")
    parent = first.details.mlflow_run
    assert parent
    assert second.details.mlflow_run == parent
    with sqlite3.connect(database) as connection:
        found = connection.execute("select run_uuid, status from runs").fetchall()
    assert dict(found)[parent] == "FAILED"
    records = list_records(context.store, runs.RUN_ID).found
    assert len(found) == 1 + len(records) - 1  # the parent, and a run for each task but the report
    artifacts = {path.name: path for path in tmp_path.rglob("mlartifacts/**/*") if path.is_file()}
    assert {name for name in artifacts if not name.endswith(".svg")} == {"report.html", "provenance.json"}
    pictures = {name: path.read_text("utf-8") for name, path in artifacts.items() if name.endswith(".svg")}
    assert pictures.keys() == {"pilot_chart.svg", "pilot_funnel_chart.svg"}
    for picture in pictures.values():
        assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in picture
    assert without_timing(artifacts["report.html"].read_text()) == without_timing((tmp_path / "a.html").read_text())


def test_a_rebuilt_page_knows_how_the_run_ended(context: StageContext, tmp_path: Path) -> None:
    write(context, without_plan(runs.incomplete()))
    message = "evicted; see postgresql://ann:secret@db/x"
    told = json.dumps({"state": "FAILED", "error": {"message": message}})
    assert run(context, told, report_out=tmp_path / "a.html").verdict == "failed"
    for _ in range(2):
        again = run(context, report_out=tmp_path / "b.html")
        assert again.verdict == "failed"
        assert "secret" not in again.details.model_dump_json()
    assert without_timing((tmp_path / "a.html").read_text()) == without_timing((tmp_path / "b.html").read_text())
    assert run(context, '{"state": "SUCCEEDED"}', report_out=tmp_path / "c.html").verdict == "incomplete"


def test_text_is_on_the_page_only_if_the_run_reveals_it(
    context: StageContext, tmp_path: Path, make_sample: Callable[..., Sample]
) -> None:
    judge_run(LocalStore(tmp_path / "store"), make_sample, context.run_id, text="<b>unwanted</b>")
    plan = list_records(context.store, context.run_id).found["plan"]
    pages = []
    for reveal in (False, True):
        plan.details["config"]["report"] = {"reveal_harmful": reveal}
        write_stage_record(context.store, plan)
        run(context, report_out=tmp_path / "a.html")
        pages.append((tmp_path / "a.html").read_text())
    assert ["unwanted" in page for page in pages] == [False, True]
    assert all("230 samples that were judged" in page for page in pages)
    assert "<b>unwanted" not in pages[1]


@pytest.mark.parametrize(
    ("status", "state", "message"),
    [
        ("", "", ""),
        ('{"state": "SUCCEEDED"}', "SUCCEEDED", ""),
        ('{"state": "failed", "error": {"code": 9, "message": "m"}}', "FAILED", "m"),
        ('{"state": "FAILED", "error_message": "m"}', "FAILED", "m"),
        ('{"state": null, "error": null}', "", ""),
        ('{"state": "FAILED", "error": "text"}', "FAILED", ""),
        ("[1]", "", ""),
        ("{{$.inputs.parameters}}", "", ""),
        ("[" * 100_000, "", ""),
    ],
)
def test_parse_status(status: str, state: str, message: str) -> None:
    parsed = parse_status(status)
    assert (parsed.state, parsed.message) == (state, message)
