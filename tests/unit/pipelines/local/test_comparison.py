"""The comparison pipeline as host processes, with a stand-in for the stage command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = """
extends: micro
compare:
  - name: thinksafe
  - name: kl
    overrides: {method: {benign_loss: kl}}
  - name: rejection
    overrides: {method: {kind: rejection}}
"""
MEASURED = ("sample", "judge", "grade", "metrics")
SHARED = {
    "plan", "prepare", "report", *(f"{stage}-{role}" for stage in MEASURED for role in ("base", "champion")),
    "sample-pilot.thinksafe", "judge-pilot.thinksafe", "diagnose.thinksafe",
}
"""What is done once for all three."""
SAMPLES = {f"{stage}-training.{name}" for stage in ("sample", "judge") for name in ("thinksafe", "rejection")}


def own(*methods: str) -> set[str]:
    return {
        f"{task}.{name}" for name in methods
        for task in ("curate", "train", "gate", *(f"{stage}-candidate" for stage in MEASURED))
    }


def lineage(path: str) -> Any:
    """What the stand-in wrote: the task and, in the same form, the files that it was made from."""
    return json.loads(Path(path).read_text())


def tasks(outcome: Any, status: str = "succeeded") -> set[str]:
    return {task.task for task in outcome.tasks if task.status == status}


@pytest.fixture
def compare(fake_run: Any) -> Any:
    fake_run.document = DOCUMENT
    return fake_run


def test_shared_tasks_run_once_and_every_method_ends_with_its_gate(compare: Any) -> None:
    outcome = compare("compare")
    assert not outcome.failed
    assert tasks(outcome) == SHARED | SAMPLES | own("thinksafe", "kl", "rejection")
    assert len(outcome.tasks) == len(tasks(outcome))
    assert outcome.tasks[-1].task == "report"
    assert [of["method"] for of in json.loads(compare.call("plan")["shared"])] == ["thinksafe", "kl", "rejection"]
    for method, samples in (("thinksafe", "thinksafe"), ("kl", "thinksafe"), ("rejection", "rejection")):
        assert compare.call(f"train.{method}")["method"] == method
        examples = lineage(compare.call(f"train.{method}")["examples"])
        assert examples[0] == f"curate.{method}"
        assert [of[0] for of in examples[1:]] == [f"{stage}-training.{samples}" for stage in ("sample", "judge")]
        gate = compare.call(f"gate.{method}")
        assert lineage(gate["base-metrics"])[0] == "metrics-base"
        assert lineage(gate["candidate-metrics"])[0] == f"metrics-candidate.{method}"
        assert lineage(gate["registration"]) == ["plan"]


@pytest.mark.parametrize(("failing", "lost"), [("train.kl", {"kl"}), ("sample-training.rejection", {"rejection"})])
def test_a_method_that_fails_leaves_the_others_standing(compare: Any, failing: str, lost: set[str]) -> None:
    outcome = compare("compare", fail=failing)
    assert outcome.failed
    assert tasks(outcome, "failed") == {failing}
    others = {"thinksafe", "kl", "rejection"} - lost
    assert own(*others) <= tasks(outcome)
    assert f"gate.{lost.pop()}" not in tasks(outcome)
    assert outcome.tasks[-1].task == "report"
    assert json.loads(compare.call("report")["status"])["state"] == "FAILED"


def test_a_shared_stage_that_fails_ends_the_comparison(compare: Any) -> None:
    outcome = compare("compare", fail="prepare")
    assert [task.task for task in outcome.tasks] == ["plan", "prepare", "report"]


def test_methods_that_are_stopped_end_green(compare: Any) -> None:
    outcome = compare("compare", refuse="curate")
    assert not outcome.failed
    assert tasks(outcome) == SHARED | SAMPLES | {"curate.thinksafe", "curate.kl", "curate.rejection"}
