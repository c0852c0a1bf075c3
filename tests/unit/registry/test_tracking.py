"""MLflow runs from stage records, against a real MLflow on a SQLite file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.config.model import RegistrySettings
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.records import Interval, Metric, MetricSet, SamplingSettings
from thinksafe.registry.mlflow_client import connect
from thinksafe.registry.tracking import (
    ensure_parent_run,
    flattened,
    headline_tags,
    safe_name,
    short,
    write_runs,
)
from thinksafe.run.record import StageRecord

KINDS = ("base", "candidate", "champion")


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.fixture
def settings(tmp_path: Path) -> RegistrySettings:
    return RegistrySettings(model="m", tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def record(task: str, **fields: Any) -> StageRecord:
    base = {"run_id": "run-1", "stage": task.split("-")[0], "task": task, "status": "succeeded", "started": 1000.0}
    return StageRecord.model_validate({**base, "seconds": 2.5, **fields})


def metric_set(role: Any, value: float = 0.25) -> dict[str, Any]:
    names = ("harm/h", "over_refusal/o", "reasoning/r")
    metrics = tuple(
        Metric(
            name=name, kind=name.split("/")[0], benchmark=name.split("/")[1], value=value, n=40, samples=40,
            interval=Interval(low=0.1, high=0.5, confidence=0.9, method="wilson"), settings=SamplingSettings(),
        )
        for name in names
    )
    return MetricSet(role=role, suite="s", metrics=metrics).model_dump(mode="json")


def decision(stopped_by: str | None = None) -> dict[str, Any]:
    check = {"name": "c", "passed": stopped_by is None, "value": 0.1, "n": 1, "reason": "r"}
    return {"passed": stopped_by is None, "stopped_by": stopped_by, "checks": [check], "summary": "s"}


def run_records() -> dict[str, StageRecord]:
    """Return the records of a run that was promoted, of the micro run's size."""
    section = {"seed": 1, "settings": {"temperature": 0.6, "max_tokens": 72}, "arms": {"harmful": ["steered"]}}
    records = [
        record("plan", details={"config_digest": "cfg", "base": {"base_digest": "bbb"}, "config": {"name": "micro"}}),
        record("prepare", section=section, counts={"rows": 500}),
        record("diagnose", verdict="passed", details={"decision": decision()}),
        record("curate", section=section, counts={"examples": 300}),
        record(
            "train", section={"training": {"lora_rank": 8, "target_modules": ["q_proj", "k_proj"]}},
            details={
                "adapter_digest": "aaa",
                "curve": [{"step": s, "loss": 2 / (s + 1), "learning_rate": 1e-3} for s in range(75)],
            },
        ),
        record("register", details={"registration": {"name": "m", "version": "3", "data_digest": "ddd"}}),
        record("gate", verdict="passed", details={"decision": decision()}),
        record("promote", verdict="promoted", details={"entry": {"generation": 2}}),
    ]
    for use in ("pilot", "training", *KINDS):
        counts = {"rows": 100, "tokens": 5000, "chunks": 2, "chunks_reused": 0, "truncated": 1}
        records += [record(f"{stage}-{use}", section=section, counts=counts) for stage in ("sample", "judge")]
        if use in KINDS:
            records.append(record(f"grade-{use}", section=section, counts={"rows": 50}))
    records += [record(f"metrics-{role}", section=section, details={"metrics": metric_set(role)}) for role in KINDS]
    return {item.task: item for item in records}


def nested(settings: RegistrySettings, parent: str) -> dict[str, Any]:
    client = connect(settings.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment).experiment_id
    runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    found = {run.data.tags["thinksafe.task"]: run for run in runs}
    assert len(found) == len(runs), "a task was logged twice"
    return found


def test_the_parent_run_is_found_or_created(settings: RegistrySettings) -> None:
    first = ensure_parent_run(settings, "run-1", "micro")
    assert ensure_parent_run(settings, "run-1", "other") == first
    assert ensure_parent_run(settings, "run-2", "micro") != first
    run = connect(settings.tracking_uri).get_run(first)
    assert run.info.run_name == "micro"
    assert run.data.tags["thinksafe.run_id"] == "run-1"


@pytest.mark.parametrize("run_id", ["", "x' or '1'='1", 'a"b', "a`b", "a\\", "a\nb"])
def test_a_run_id_cannot_change_the_search(settings: RegistrySettings, run_id: str) -> None:
    with pytest.raises(ConfigError):
        ensure_parent_run(settings, run_id, "micro")


@pytest.mark.parametrize("name", ["thinksafe", "../up", "..", "a b/c", "é"])
def test_artifacts_lie_beside_the_database(settings: RegistrySettings, tmp_path: Path, name: str) -> None:
    page = tmp_path / "report.html"
    page.write_text("<p>")
    parent = write_runs({}, settings.model_copy(update={"experiment": name}), [page], run_id="r")
    found = list((tmp_path / "mlartifacts").glob(f"*/{parent}/artifacts/report.html"))
    assert len(found) == 1
    assert not Path("mlruns").exists()


def test_every_task_becomes_a_nested_run_and_the_parent_has_the_headlines(
    settings: RegistrySettings, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text("<p>")
    records = run_records()
    parent = write_runs(records, settings, [page], run_id="run-1", name="micro")
    runs = nested(settings, parent)
    assert runs.keys() == records.keys()

    sample = runs["sample-training"]
    assert sample.info.status == "FINISHED"
    assert sample.info.run_name == "sample-training"
    assert (sample.info.start_time, sample.info.end_time) == (1_000_000, 1_002_500)
    assert sample.data.params == {
        "seed": "1", "settings.temperature": "0.6", "settings.max_tokens": "72", "arms.harmful": '["steered"]',
    }
    assert sample.data.metrics["tokens"] == 5000
    assert sample.data.metrics["seconds"] == 2.5
    assert runs["plan"].data.params == {"name": "micro"}
    assert runs["metrics-base"].data.metrics == {
        "seconds": 2.5,
        **{
            f"{name}{suffix}": value
            for name in ("harm/h", "over_refusal/o", "reasoning/r")
            for suffix, value in {"": 0.25, ".low": 0.1, ".high": 0.5, ".n": 40.0}.items()
        },
    }
    client = connect(settings.tracking_uri)
    losses = client.get_metric_history(runs["train"].info.run_id, "train/loss")
    assert [(point.step, point.value) for point in losses] == [(s, 2 / (s + 1)) for s in range(75)]

    run = client.get_run(parent)
    assert run.info.status == "FINISHED"
    for role in KINDS:
        assert run.data.metrics[f"{role}/harm/h"] == 0.25
        assert run.data.metrics[f"{role}/reasoning/r.low"] == 0.1
    assert {key: value for key, value in run.data.tags.items() if key.startswith("thinksafe.")}.items() >= {
        "thinksafe.run_id": "run-1", "thinksafe.decision": "passed", "thinksafe.promotion": "promoted",
        "thinksafe.generation": "2", "thinksafe.version": "3", "thinksafe.adapter_digest": "aaa",
        "thinksafe.base_digest": "bbb", "thinksafe.config_digest": "cfg", "thinksafe.data_digest": "ddd",
    }.items()
    assert [file.path for file in client.list_artifacts(parent)] == ["report.html"]


def snapshot(settings: RegistrySettings, parent: str) -> Any:
    client = connect(settings.tracking_uri)
    return {
        run.info.run_id: (
            run.info.status, run.data.tags, run.data.params,
            {key: [(p.value, p.step, p.timestamp) for p in client.get_metric_history(run.info.run_id, key)]
             for key in run.data.metrics},
        )
        for run in [client.get_run(parent), *nested(settings, parent).values()]
    }


def test_writing_again_changes_nothing(settings: RegistrySettings) -> None:
    records = run_records()
    parent = write_runs(records, settings, run_id="run-1")
    before = snapshot(settings, parent)
    assert write_runs(records, settings, run_id="run-1") == parent
    assert snapshot(settings, parent) == before


def test_a_retried_task_replaces_its_earlier_attempt(settings: RegistrySettings) -> None:
    failed = record("train", status="failed", section={"rank": 4}, error="Out of memory.", action="Use less.")
    parent = write_runs({"train": failed, "plan": record("plan")}, settings, run_id="run-1")
    client = connect(settings.tracking_uri)
    assert client.get_run(parent).info.status == "FAILED"
    runs = nested(settings, parent)
    assert runs["train"].info.status == "FAILED"
    assert runs["train"].data.tags["thinksafe.error"] == "Out of memory."
    plan = runs["plan"].info.run_id

    retried = record("train", section={"rank": 8}, counts={"steps": 3})
    write_runs({"train": retried, "plan": record("plan")}, settings, run_id="run-1")
    runs = nested(settings, parent)
    assert runs.keys() == {"train", "plan"}
    assert runs["plan"].info.run_id == plan
    assert runs["train"].info.status == "FINISHED"
    assert runs["train"].data.params == {"rank": "8"}
    assert client.get_run(parent).info.status == "FINISHED"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["create_run", "log_batch", "set_terminated", "log_artifact"])
def test_a_kill_between_any_two_calls_leaves_nothing_double(
    settings: RegistrySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, when: str
) -> None:
    from mlflow import MlflowClient

    page = tmp_path / "report.html"
    page.write_text("<p>")
    records = {task: run_records()[task] for task in ("plan", "train", "metrics-base", "gate")}
    ensure_parent_run(settings, "run-1", "micro")
    real = getattr(MlflowClient, call)
    seen = []

    def fatal(*args: Any, **kwargs: Any) -> Any:
        seen.append(call)
        last = len(seen) == (1 if call == "log_artifact" else 2)  # in the middle of the tasks
        result = None if last and when == "before" else real(*args, **kwargs)
        if last:
            raise Killed
        return result

    monkeypatch.setattr(MlflowClient, call, fatal)
    with pytest.raises(Killed):
        write_runs(records, settings, [page], run_id="run-1")
    monkeypatch.undo()
    parent = write_runs(records, settings, [page], run_id="run-1")
    found = snapshot(settings, parent)
    assert len(found) == 1 + len(records)
    assert all(status == "FINISHED" for status, *_ in found.values())
    for _, _, _, histories in found.values():
        for history in histories.values():
            assert len({step for _, step, _ in history}) == len(history), "a point was logged twice"
    assert nested(settings, parent)["train"].data.params["training.lora_rank"] == "8"


def test_an_attempts_leftover_tags_go(settings: RegistrySettings) -> None:
    refused = record("gate", verdict="refused", details={"decision": decision("gate")})
    parent = write_runs({"gate": refused}, settings, run_id="run-1")
    client = connect(settings.tracking_uri)
    assert client.get_run(parent).data.tags["thinksafe.stopped_by"] == "gate"
    write_runs({"gate": run_records()["gate"]}, settings, run_id="run-1")
    tags = client.get_run(parent).data.tags
    assert tags["thinksafe.decision"] == "passed"
    assert "thinksafe.stopped_by" not in tags


def test_a_pipeline_that_failed_without_a_record_is_failed(settings: RegistrySettings) -> None:
    parent = write_runs({"plan": record("plan")}, settings, run_id="run-1", failed=True)
    assert connect(settings.tracking_uri).get_run(parent).info.status == "FAILED"


def test_the_diagnosis_that_stopped_a_run_is_tagged() -> None:
    stopped = record("diagnose", verdict="unsteerable", details={"decision": decision("diagnose")})
    tags = headline_tags({"diagnose": stopped})
    assert tags["thinksafe.diagnosis"] == "unsteerable"
    assert tags["thinksafe.stopped_by"] == "diagnose"
    assert tags["thinksafe.decision"] == ""


def test_malformed_metrics_and_missing_artifacts_are_errors(settings: RegistrySettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metrics-base"):
        write_runs({"metrics-base": record("metrics-base", details={"metrics": {}})}, settings, run_id="a")
    with pytest.raises(StageError, match=r"no\.html"):
        write_runs({}, settings, [tmp_path / "no.html"], run_id="b")


def test_hostile_and_long_values_are_taken(settings: RegistrySettings) -> None:
    section = {
        "../up": "x\ny", "a//b": 1, "k" * 400: "v" * 10_000, "{{$}}": None, "é": True, "e": False,
        "only": {"a.b": 1, "<b>": 2}, "items": [{"n": i} for i in range(60)],
    }
    odd = record("sample-0", section=section, counts={"a%b": 1, "a&b": 2, "/x": 3, "..": 4}, error="e" * 9000)
    runs = nested(settings, write_runs({odd.task: odd}, settings, run_id="run-1"))
    params = runs["sample-0"].data.params
    assert len(params) == 8 + 60
    assert params[safe_name("../up")] == "x y"
    assert all(len(value) <= 500 for value in params.values())
    assert {value for key, value in runs["sample-0"].data.metrics.items() if key != "seconds"} == {1, 2, 3, 4}


def test_numbers_that_are_not_finite_are_left_out(settings: RegistrySettings) -> None:
    odd = StageRecord.model_construct(
        **{**record("train").model_dump(), "counts": {"ok": 1.0}, "details": {"curve": [{"step": 0, "loss": None}]}}
    )
    runs = nested(settings, write_runs({"train": odd}, settings, run_id="run-1"))
    assert runs["train"].data.metrics == {"ok": 1.0, "seconds": 2.5}


@given(st.text(max_size=300))
def test_safe_names_are_taken_by_mlflow_and_keep_plain_ones(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    _validate_metric_name(safe_name(name))
    _validate_param_name(safe_name(name))
    assert len(safe_name(name)) <= 250
    assert safe_name(safe_name(name)) == safe_name(name)


@given(st.sets(st.text(alphabet="ab./ %&", max_size=6), max_size=6))
def test_two_names_never_become_one(names: set[str]) -> None:
    assert len({safe_name(name) for name in names}) == len(names)


def test_plain_metric_names_are_stable() -> None:
    for name in ("harm/micro-harm", "candidate/harm/h.b_c/answer.low", "settings.max_tokens", "train/loss"):
        assert safe_name(name) == name


@given(st.text(max_size=1000))
def test_short_values_fit_on_a_line(value: str) -> None:
    assert len(short(value)) <= 500
    assert "\n" not in short(value)


def test_settings_are_flattened() -> None:
    settings = {"a": {"b": 1, "c": [1, "x"]}, "d": [{"e": None}, {"e": True}], "f": [], "g": {}, "h": "text"}
    assert dict(flattened(settings)) == {
        "a.b": "1", "a.c": '[1, "x"]', "d.0.e": "null", "d.1.e": "true", "f": "[]", "g": "{}", "h": "text",
    }
    assert json.loads(dict(flattened(settings))["a.c"]) == [1, "x"]
    assert dict(flattened({})) == {}


def test_the_parent_has_what_comparisons_need(settings: RegistrySettings, tmp_path: Path) -> None:
    records = run_records()
    config = {
        "name": "micro", "seed": 7,
        "data": {"harmful": [{"name": "ours", "prompts": {"source": "jsonl", "path": "https://ann:secret@x/y"}}]},
    }
    plan = records["plan"].details | {"config": config, "kfp_run": "0b5e0f0c-0000-4000-8000-000000000000"}
    drift = {"measure": "kl", "label": "benign", "value": 0.02, "n": 9, "tokens": 80, "interval": None}
    records["plan"] = records["plan"].model_copy(update={"details": plan})
    records["prepare"] = record(
        "prepare", details={"sets": [{"name": "ours", "use": "training", "rows": 5, "digest": "ab" * 32}]}
    )
    records["curate"] = record("curate", counts={"accepted": 4}, outputs={"examples": "cd" * 32})
    records["train"] = record("train", details={"drift": [drift, {"odd": 1}]})
    records["promote"] = record("promote", details={"entry": {"model": "m", "generation": 2}})
    plot = tmp_path / "plane.svg"
    plot.write_text("<svg/>")
    parent = write_runs(records, settings, run_id="run-1", plots=[plot])
    assert write_runs(records, settings, run_id="run-1", plots=[plot]) == parent
    client = connect(settings.tracking_uri)
    run = client.get_run(parent)
    assert run.data.params["seed"] == "7"
    assert run.data.metrics["drift/kl/benign"] == 0.02
    assert run.data.metrics["drift/kl/benign.n"] == 9
    assert run.data.tags["thinksafe.kfp_run"] == plan["kfp_run"]
    assert run.data.tags["thinksafe.ledger_entry"] == "promotions/m/000002.json"
    found = {of.dataset.name: of for of in run.inputs.dataset_inputs}
    assert len(found) == len(run.inputs.dataset_inputs) == 2
    assert {name: of.dataset.digest for name, of in found.items()} == {"ours": "ab" * 18, "examples": "cd" * 18}
    source = json.loads(found["ours"].dataset.source)
    assert source["sha256"] == "ab" * 32
    assert "secret" not in found["ours"].dataset.source
    assert found["ours"].tags[0].value == "training"
    assert [file.path for file in client.list_artifacts(parent, "plots")] == ["plots/plane.svg"]


def test_another_config_does_not_change_the_parents_parameters(settings: RegistrySettings) -> None:
    for seed in (1, 2):
        plan = record("plan", details={"config": {"seed": seed, f"only{seed}": 1}})
        parent = write_runs({"plan": plan}, settings, run_id="run-1")
    assert connect(settings.tracking_uri).get_run(parent).data.params == {"seed": "1", "only1": "1", "only2": "1"}


def test_an_evaluations_decision_and_model_are_tagged() -> None:
    records = {
        "plan": record("plan", details={"model": {"base_digest": "b", "adapter_digest": "a"}}),
        "monitor": record("monitor", verdict="regressed", details={"decision": decision("monitor")}),
    }
    tags = headline_tags(records)
    assert tags["thinksafe.decision"] == "regressed"
    assert tags["thinksafe.stopped_by"] == "monitor"
    assert (tags["thinksafe.base_digest"], tags["thinksafe.adapter_digest"]) == ("b", "a")


def test_a_ledger_entry_that_is_none_has_no_tag() -> None:
    for entry in ({"model": "../x", "generation": 1}, {"model": "m"}, {"model": "m", "generation": "1"}, "text"):
        tags = headline_tags({"promote": record("promote", details={"entry": entry})})
        assert tags["thinksafe.ledger_entry"] == ""
