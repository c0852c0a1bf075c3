"""The driver of the compiled pipelines does what Kubeflow's does, and says so where a file would not run there."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ir_driver import Backend
from ir_pods import IRError, Namespace

CODE = """
import json, os, sys
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
STRING, LIST = {"parameterType": "STRING"}, {"parameterType": "LIST"}
ARTIFACT = {"artifactType": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}


def task(name: str, component: str, after: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    inputs = {"inputs": {"parameters": more.pop("parameters"), "artifacts": more.pop("artifacts", {})}}
    waits = {"dependentTasks": list(after)} if after else {}
    return {"componentRef": {"name": component}, "taskInfo": {"name": name}, **inputs, **waits, **more}


SPEC: dict[str, Any] = {
    "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.17.0", "pipelineInfo": {"name": "small"},
    "root": {
        "inputDefinitions": {"parameters": {"words": LIST, "word": {**STRING, "defaultValue": "z"}}},
        "dag": {
            "tasks": {
                "body": task("body", "comp-body", parameters={
                    "words": {"componentInputParameter": "words"}, "word": {"componentInputParameter": "word"},
                }),
                "exit": task(
                    "exit", "comp-say", ("body",), triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
                    parameters={"text": {"taskFinalStatus": {"producerTask": "body"}}},
                ),
            },
        },
    },
    "components": {
        "comp-body": {
            "inputDefinitions": {"parameters": {"words": LIST, "word": STRING}},
            "dag": {
                "tasks": {
                    "each": task(
                        "each", "comp-each", parameters={"words": {"componentInputParameter": "words"}},
                        parameterIterator={"itemInput": "item", "items": {"inputParameter": "words"}},
                    ),
                    "join": task(
                        "join", "comp-join", ("each",), parameters={"text": {"runtimeValue": {"constant": ""}}},
                        artifacts={
                            "parts": {"taskOutputArtifact": {"producerTask": "each", "outputArtifactKey": "all"}},
                        },
                    ),
                    "maybe": task(
                        "maybe", "comp-say", parameters={"text": {"componentInputParameter": "word"}},
                        triggerPolicy={"condition": "inputs.parameter_values['text'] == 'yes'"},
                    ),
                },
            },
        },
        "comp-each": {
            "inputDefinitions": {"parameters": {"words": LIST, "item": STRING}},
            "outputDefinitions": {"artifacts": {"all": ARTIFACT}},
            "dag": {
                "outputs": {"artifacts": {
                    "all": {"artifactSelectors": [{"producerSubtask": "say", "outputArtifactKey": "said"}]},
                }},
                "tasks": {"say": task("say", "comp-say", parameters={"text": {"componentInputParameter": "item"}})},
            },
        },
        "comp-say": {
            "executorLabel": "exec-say", "inputDefinitions": {"parameters": {"text": STRING}},
            "outputDefinitions": {"artifacts": {"said": ARTIFACT}},
        },
        "comp-join": {
            "executorLabel": "exec-say",
            "inputDefinitions": {
                "parameters": {"text": STRING}, "artifacts": {"parts": {**ARTIFACT, "isArtifactList": True}},
            },
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


def test_loops_fan_in_conditions_skip_and_pods_have_only_what_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAK", "1")
    run = backend(tmp_path).run(words=["a", "b"])
    assert run.state == "SUCCEEDED", run.text
    assert [pod.task for pod in run.pods] == ["/body/each[0]/say", "/body/each[1]/say", "/body/join", "/exit"]
    assert run.states["/body/maybe"] == "SKIPPED"
    assert (tmp_path / run.run_id / "bucket/pipelines/root" / run.run_id / "body/join/joined").read_text() == "ab"
    assert {pod.image for pod in run.pods} == {"registry/say:1"}
    assert "hunter" in run.pods[0].text
    assert "PLAIN" in run.pods[0].text
    assert "LEAK" not in run.text
    assert '"COMPLETE"' in run.pods[-1].command[-1]


def test_a_failed_task_stops_its_dag_and_the_exit_task_is_told(tmp_path: Path) -> None:
    run = backend(tmp_path).run(words=["a", "fail"], word="yes")
    assert (run.state, run.failed) == ("FAILED", ["say"])
    assert "/body/join" not in run.states
    assert "/body/maybe" not in run.states
    assert '"FAILED"' in run.pods[-1].command[-1]


BODY = ("components", "comp-body", "dag", "tasks")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (changed("components", "comp-each", "dag", "tasks", "say", "inputs", "parameters", "text",
                 value={"componentInputParameter": "words"}), "the DAG around has no parameter words"),
        (changed(*BODY, "each", "taskInfo", "name", value="for-each"), "no task is recorded as each"),
        (changed(*BODY, "maybe", "triggerPolicy", "condition", value="int(inputs.x) > 1"), "condition int"),
        (changed(*BODY, "maybe", "surprise", value=1), "unknown keys ['surprise']"),
        (changed("deploymentSpec", "executors", "exec-say", "container", "args",
                 value=["{{$}}", "{{$.inputs.parameters['other']}}"]), "nothing to put in the place of"),
        (changed("components", "comp-say", "inputDefinitions", "parameters", "text",
                 value={"parameterType": "BOOLEAN"}), "parameter text is no BOOLEAN"),
    ],
)
def test_a_file_that_a_backend_could_not_run(tmp_path: Path, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(IRError) as caught:
        backend(tmp_path, spec).run(words=["a"])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("namespace", "said"),
    [(Namespace(), "there is no secret login"), (Namespace(secrets={"login": {}}), "the secret has no key pass.word")],
)
def test_a_pod_without_its_secret_does_not_start(tmp_path: Path, namespace: Namespace, said: str) -> None:
    with pytest.raises(IRError, match=said):
        backend(tmp_path, namespace=namespace).run(words=["a"])


def test_a_value_that_looks_like_a_placeholder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IRError, match="a value holds a placeholder"):
        backend(tmp_path).run(words=["{{$.inputs.parameters['text']}}"])
