from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from kfp.pipeline_spec import pipeline_spec_pb2

from thinksafe.errors import InputError
from thinksafe.kube.executor import write_executor_output

ARTIFACT = {"type": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}, "metadata": {}}


def message(folder: Path, outputs: dict[str, str]) -> str:
    return json.dumps({
        "inputs": {"parameterValues": {"use": "base"}},
        "outputs": {
            "artifacts": {
                name: {"artifacts": [{**ARTIFACT, "name": f"{name}-name", "uri": uri}]}
                for name, uri in outputs.items()
            },
            "outputFile": str(folder / "deep" / "executor_output.json"),
        },
    })


def written(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "deep" / "executor_output.json").read_text())
    return value


def test_every_artifact_keeps_its_name_and_address(tmp_path: Path) -> None:
    outputs = {"metrics": "s3://bucket/a b/metrics", "outcomes": "/root/outcomes"}
    write_executor_output(message(tmp_path, outputs), {"metrics": {"harm": 0.25, "n": 3}})
    assert written(tmp_path) == {"artifacts": {
        "metrics": {"artifacts": [
            {"name": "metrics-name", "uri": "s3://bucket/a b/metrics", "metadata": {"harm": 0.25, "n": 3}}
        ]},
        "outcomes": {"artifacts": [{"name": "outcomes-name", "uri": "/root/outcomes", "metadata": {}}]},
    }}


def test_kfp_reads_what_is_written(tmp_path: Path) -> None:
    write_executor_output(message(tmp_path, {"model": "/m"}), {"model": {"rank": 4, "parts": ["a"], "x": {"y": None}}})
    text = (tmp_path / "deep" / "executor_output.json").read_text()
    output = json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput())
    (artifact,) = output.artifacts["model"].artifacts
    assert artifact.uri == "/m"
    assert artifact.metadata["rank"] == 4


def test_a_task_without_artifacts_writes_an_empty_output(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    write_executor_output(json.dumps({"outputs": {"outputFile": str(target)}}), {})
    assert json.loads(target.read_text()) == {"artifacts": {}}


def test_outside_kfp_nothing_is_written() -> None:
    write_executor_output("", {"metrics": {"harm": 1.0}})


def test_metadata_of_an_unknown_artifact_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'metric'.*Its output artifacts: metrics"):
        write_executor_output(message(tmp_path, {"metrics": "/m"}), {"metric": {}})
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_metadata_that_is_not_json_is_an_error(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError, match="not JSON"):
        write_executor_output(message(tmp_path, {"metrics": "/m"}), {"metrics": {"harm": value}})


@pytest.mark.parametrize("text", [
    "{", "[]", "null", "{}", '{"outputs": []}', '{"outputs": {"outputFile": 3}}', '{"outputs": {"outputFile": ""}}',
    '{"outputs": {"outputFile": "/x", "artifacts": {"a": {"artifacts": [{"name": "a"}]}}}}',
    '{"outputs": {"outputFile": "/x", "artifacts": {"a": []}}}', "[" * 100_000,
])
def test_a_malformed_executor_input_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="malformed"):
        write_executor_output(text, {})


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        write_executor_output(text and f"[{text}", {})
