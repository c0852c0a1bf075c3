"""The driver of the compiled pipelines does what Kubeflow's does, and says so where a file would not run there."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from argo_workflow import STORED
from ir_control import Control, GoneError
from ir_driver import Backend, PipelineRun
from ir_pods import IRError, Namespace

CODE = """
import json, os, sys, time
if sys.argv[2] == "sleep" or (sys.argv[2] == "once" and not os.path.exists("seen")):
    open("seen", "w").close()
    time.sleep(60)
given = json.loads(sys.argv[1])
for name, output in given["outputs"].get("parameters", {}).items():
    open(output["outputFile"], "w").write(sys.argv[2])
for name, output in given["outputs"].get("artifacts", {}).items():
    (one,) = output["artifacts"]
    parts = given["inputs"].get("artifacts", {}).get("parts", {"artifacts": []})["artifacts"]
    open(one["customPath"], "w").write("".join(open(part["customPath"]).read() for part in parts) or sys.argv[2])
json.dump({"artifacts": {}}, open(given["outputs"]["outputFile"], "w"))
print(sorted(os.environ), os.environ.get("PASSWORD"))
sys.exit(sys.argv[2] == "fail")
"""
STRING = {"parameterType": "STRING"}
ARTIFACT = {"artifactType": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}
FLAG, SAID = "pipelinechannel--first-flag", "pipelinechannel--first-said"


def task(name: str, component: str, after: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    inputs = {"inputs": {"parameters": more.pop("parameters"), "artifacts": more.pop("artifacts", {})}}
    waits = {"dependentTasks": list(after)} if after else {}
    return {"componentRef": {"name": component}, "taskInfo": {"name": name}, **inputs, **waits, **more}


def of_group(name: str) -> dict[str, str]:
    return {"componentInputParameter": name}


SPEC: dict[str, Any] = {
    "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.17.0", "pipelineInfo": {"name": "small"},
    "root": {
        "inputDefinitions": {"parameters": {"word": {**STRING, "defaultValue": "z"}, "other": STRING}},
        "dag": {
            "tasks": {
                "body": task(
                    "body", "comp-body", parameters={"word": of_group("word"), "other": of_group("other")}
                ),
                "exit": task(
                    "exit", "comp-say", ("body",), triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
                    parameters={"text": {"taskFinalStatus": {"producerTask": "body"}}},
                ),
            },
        },
    },
    "components": {
        "comp-body": {
            "inputDefinitions": {"parameters": {"word": STRING, "other": STRING}},
            "dag": {
                "tasks": {
                    "first": task("first", "comp-say", parameters={"text": of_group("word")}),
                    "holds": task(
                        "holds", "comp-holds", ("first",),
                        parameters={
                            FLAG: {"taskOutputParameter": {"producerTask": "first", "outputParameterKey": "flag"}},
                            "other": of_group("other"),
                        },
                        artifacts={
                            SAID: {"taskOutputArtifact": {"producerTask": "first", "outputArtifactKey": "said"}},
                        },
                        triggerPolicy={"condition": f"inputs.parameter_values['{FLAG}'] == 'yes'"},
                    ),
                    "rest": task("rest", "comp-say", ("first",), parameters={"text": of_group("other")}),
                },
            },
        },
        "comp-holds": {
            "inputDefinitions": {"parameters": {FLAG: STRING, "other": STRING}, "artifacts": {SAID: ARTIFACT}},
            "dag": {
                "tasks": {
                    "say": task("say", "comp-say", parameters={"text": of_group("other")}),
                    "then": task(
                        "then", "comp-join", ("say",), parameters={"text": {"runtimeValue": {"constant": ""}}},
                        artifacts={"parts": {"componentInputArtifact": SAID}},
                    ),
                },
            },
        },
        "comp-say": {
            "executorLabel": "exec-say", "inputDefinitions": {"parameters": {"text": STRING}},
            "outputDefinitions": {"artifacts": {"said": ARTIFACT}, "parameters": {"flag": STRING}},
        },
        "comp-join": {
            "executorLabel": "exec-say",
            "inputDefinitions": {"parameters": {"text": STRING}, "artifacts": {"parts": ARTIFACT}},
            "outputDefinitions": {"artifacts": {"joined": ARTIFACT}},
        },
    },
    "deploymentSpec": {"executors": {"exec-say": {"container": {
        "image": "registry/say:1", "command": ["python", "-c", CODE],
        "args": ["{{$}}", "{{$.inputs.parameters['text']}}"], "env": [{"name": "PLAIN", "value": "1"}],
    }}}},
}
PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-say": {"secretAsEnv": [{
    "keyToEnv": [{"secretKey": "pass.word", "envVar": "PASSWORD"}], "optional": False, "secretName": "login",
    "secretNameParameter": {"runtimeValue": {"constant": "login"}},
}]}}}}}}
LOGIN = Namespace(secrets={"login": {"pass.word": "hunter"}})


def backend(tmp_path: Path, spec: dict[str, Any] = SPEC, namespace: Namespace = LOGIN) -> Backend:
    (tmp_path / "compiled.yaml").write_text(yaml.safe_dump_all([spec, PLATFORM]))
    return Backend(tmp_path / "compiled.yaml", tmp_path, namespace)


def changed(*place: str, value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    part: Any = spec
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return spec


def test_conditions_read_outputs_and_pods_have_only_what_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAK", "1")
    run = backend(tmp_path).run(word="yes", other="b")
    assert run.state == "SUCCEEDED", run.text
    assert [pod.task for pod in run.pods] == [
        "/body/first", "/body/holds/say", "/body/holds/then", "/body/rest", "/exit"
    ]
    root = tmp_path / run.run_id / "bucket/pipelines/root" / run.run_id
    assert (root / "body/holds/then/joined").read_text() == "yes"
    assert {pod.image for pod in run.pods} == {"registry/say:1"}
    assert "hunter" in run.pods[0].text
    assert "PLAIN" in run.pods[0].text
    assert "LEAK" not in run.text
    assert '"COMPLETE"' in run.pods[-1].command[-1]


def test_a_condition_that_does_not_hold_skips_its_group(tmp_path: Path) -> None:
    run = backend(tmp_path).run(other="b")
    assert run.state == "SUCCEEDED", run.text
    assert [pod.task for pod in run.pods] == ["/body/first", "/body/rest", "/exit"]
    assert run.states["/body/holds"] == "SKIPPED"


def test_a_failed_task_stops_its_dag_and_the_exit_task_is_told(tmp_path: Path) -> None:
    run = backend(tmp_path).run(word="yes", other="fail")
    assert (run.state, run.failed) == ("FAILED", ["say"])
    assert "/body/holds/then" not in run.states
    assert "/body/rest" not in run.states
    assert '"FAILED"' in run.pods[-1].command[-1]


BODY = ("components", "comp-body", "dag", "tasks")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (changed("components", "comp-holds", "dag", "tasks", "say", "inputs", "parameters", "text",
                 value=of_group("word")), "the DAG around has no parameter word"),
        (changed(*BODY, "first", "taskInfo", "name", value="for-first"), "no task is recorded as first"),
        (changed(*BODY, "holds", "triggerPolicy", "condition", value="int(inputs.x) > 1"), "condition int"),
        (changed(*BODY, "holds", "triggerPolicy", "condition", value="inputs.parameter_values['word'] == 'yes'"),
         "the condition has no parameter word"),
        (changed(*BODY, "holds", "surprise", value=1), "unknown keys ['surprise']"),
        (changed(*BODY, "holds", "parameterIterator", value={}), "unknown keys ['parameterIterator']"),
        (changed("deploymentSpec", "executors", "exec-say", "container", "args",
                 value=["{{$}}", "{{$.inputs.parameters['other']}}"]), "nothing to put in the place of"),
        (changed("components", "comp-say", "inputDefinitions", "parameters", "text",
                 value={"parameterType": "BOOLEAN"}), "parameter text is no BOOLEAN"),
    ],
)
def test_a_file_that_a_backend_could_not_run(tmp_path: Path, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(IRError) as caught:
        backend(tmp_path, spec).run(word="yes", other="b")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("namespace", "said"),
    [(Namespace(), "there is no secret login"), (Namespace(secrets={"login": {}}), "the secret has no key pass.word")],
)
def test_a_pod_without_its_secret_does_not_start(tmp_path: Path, namespace: Namespace, said: str) -> None:
    with pytest.raises(IRError, match=said):
        backend(tmp_path, namespace=namespace).run(other="b")


def test_a_value_that_looks_like_a_placeholder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IRError, match="a value holds a placeholder"):
        backend(tmp_path).run(other="{{$.inputs.parameters['text']}}")


def test_each_pod_of_the_longest_chain_costs_ten_seconds_and_nobody_waits_for_them(tmp_path: Path) -> None:
    began = time.monotonic()
    assert backend(tmp_path).run(other="b").steps == 1 + 2 + 2 + 2, "drivers of the body, of first, rest and exit"
    longer = backend(tmp_path).run(word="yes", other="b")
    assert longer.steps == 1 + 2 + (1 + 2 + 2) + 2, "the condition has a driver, too"
    assert longer.seconds == 100 > time.monotonic() - began


def heavy(tasks: int, size: int, character: str = "") -> dict[str, Any]:
    """Return the pipeline with more tasks in its body, and much text in the container."""
    spec = changed("deploymentSpec", "executors", "exec-say", "container", "env", value=[
        {"name": "PLAIN", "value": (character or "x") * size}
    ])
    for number in range(tasks):
        spec["components"]["comp-body"]["dag"]["tasks"][f"more-{number}"] = task(
            f"more-{number}", "comp-say", ("first",), parameters={"text": of_group("other")}
        )
    return spec


def test_a_run_that_outgrows_its_workflow_dies_without_its_exit_task(tmp_path: Path) -> None:
    run = backend(tmp_path, heavy(40, 60_000)).run(other="b")
    assert (run.state, run.error) == ("FAILED", "Request entity too large: limit is 3145728")
    assert 5 < len(run.pods) < 40
    assert "/exit" not in run.states


def test_status_is_compressed_where_the_workflow_is_large(tmp_path: Path) -> None:
    run = backend(tmp_path, heavy(4, 100_000)).run(other="b")
    assert run.state == "SUCCEEDED", run.text
    assert 100_000 < run.bytes < STORED, "the text is there once, and compressed in the status"


def in_the_background(tmp_path: Path, control: Control, **parameters: Any) -> Callable[[], PipelineRun]:
    """Start a run, wait for its first pod, and return what waits for its end."""
    spec, done = copy.deepcopy(SPEC), []
    spec["components"]["comp-body"]["dag"]["tasks"]["first"]["retryPolicy"] = {"maxRetryCount": 1}

    def run() -> None:
        try:
            done.append(backend(tmp_path, spec).run("run-1", control, **parameters))
        except GoneError as gone:
            done.append(gone)

    thread = threading.Thread(target=run)
    thread.start()
    marker = tmp_path / "run-1" / "disks" / "body.first" / "seen"
    while not marker.is_file():
        time.sleep(0.01)

    def ended() -> PipelineRun:
        thread.join(30)
        return done[0]

    return ended


def test_a_terminated_run_ends_its_stage_and_runs_its_exit_task(tmp_path: Path) -> None:
    control = Control()
    ended = in_the_background(tmp_path, control, word="sleep", other="b")
    control.terminate()
    run = ended()
    assert run.state == "FAILED"
    assert [(pod.task, pod.code) for pod in run.pods] == [("/body/first", -15), ("/exit", 0)]
    assert json.loads(run.pods[-1].command[-1])["state"] == "FAILED"


def test_a_lost_pod_is_replaced_once(tmp_path: Path) -> None:
    control = Control()
    ended = in_the_background(tmp_path, control, word="once", other="b")
    control.lose()
    run = ended()
    assert run.state == "SUCCEEDED", run.text
    assert [pod.code for pod in run.pods] == [0, 0, 0]


def test_a_deleted_workflow_runs_nothing_more(tmp_path: Path) -> None:
    control = Control()
    ended = in_the_background(tmp_path, control, word="sleep", other="b")
    control.delete()
    assert isinstance(ended(), GoneError)
