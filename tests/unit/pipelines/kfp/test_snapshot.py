from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from thinksafe_pipelines.kfp import snapshot


def test_the_snapshots_are_current() -> None:
    assert snapshot.main(["--check"]) == 0, "run python -m thinksafe_pipelines.kfp.snapshot"


def test_stale_and_lost_snapshots_are_found_and_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    for name in ("same", "changed", "gone"):
        (folder / f"{name}.yaml").write_text(f"{name}\n")
    monkeypatch.setattr(snapshot, "FOLDER", tmp_path)
    wanted = {"same.yaml": "same\n", "changed.yaml": "other\n", "new.yaml": "new\n"}
    monkeypatch.setattr(snapshot, "snapshots", lambda: wanted)
    names = ["changed.yaml", "new.yaml", "gone.yaml"]
    assert snapshot.main(["--check"]) == 1
    assert capsys.readouterr().out == "".join(f"out of date: snapshots/{name}\n" for name in names)
    assert snapshot.main([]) == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == wanted
    assert snapshot.main(["--check"]) == 0


def pipeline(**changed: Any) -> dict[str, Any]:
    """Return a pipeline of two tasks of the stage ``judge``."""
    container = {"command": ["thinksafe", "judge"], "image": "plain", **changed}
    names = ("judge", "judge-2")
    return {
        "root": {
            "dag": {"tasks": {name: {"componentRef": {"name": f"comp-{name}"}} for name in names}},
            "inputDefinitions": {"parameters": {"artifacts": {"defaultValue": "store"}}},
        },
        "components": {f"comp-{name}": {"executorLabel": f"exec-{name}"} for name in names},
        "deploymentSpec": {"executors": {f"exec-{name}": {"container": copy.deepcopy(container)} for name in names}},
    }


def platform(**pods: Any) -> dict[str, Any]:
    found = {"exec-judge": {"pod": 1}, "exec-judge-2": {"pod": 1}, **pods}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": found}}}}


def test_what_a_cluster_adds_to_a_stage() -> None:
    spec = pipeline(image="theirs", env=[{"name": "A", "value": "1"}])
    for task in spec["root"]["dag"]["tasks"].values():
        task["retryPolicy"] = {"maxRetryCount": 3}
    spec["root"]["inputDefinitions"]["parameters"]["artifacts"]["defaultValue"] = "s3://bucket"
    assert snapshot.additions(pipeline(), spec, platform()) == {
        "judge": {
            "container": {"image": "theirs", "env": [{"name": "A", "value": "1"}]},
            "task": {"retryPolicy": {"maxRetryCount": 3}}, "kubernetes": {"pod": 1},
        }
    }


def test_the_tasks_of_a_stage_may_not_differ() -> None:
    with pytest.raises(ValueError, match="tasks of the stage judge"):
        snapshot.additions(pipeline(), pipeline(), platform(**{"exec-judge-2": {"pod": 2}}))


def test_a_cluster_may_not_change_the_pipeline() -> None:
    with pytest.raises(ValueError, match="change more"):
        snapshot.additions(pipeline(), pipeline(args=["--other"]), platform())
    other = pipeline()
    other["root"]["dag"]["tasks"]["judge"]["dependentTasks"] = ["judge-2"]
    with pytest.raises(ValueError, match="change more"):
        snapshot.additions(pipeline(), other, platform())
