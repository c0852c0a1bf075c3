"""The recipes of the other methods end as docs/methods.md says."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from micro_runs import COMMAND, Run

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def _failed(run: Run) -> set[str]:
    return {check["name"] for check in run.read("decision.json")["checks"] if not check["passed"]}


def test_rejection_sampling_is_refused_and_moves_no_champion(
    run_recipe: Callable[..., Run], tmp_path: Path
) -> None:
    run = run_recipe(tmp_path / "run", "micro-rejection")
    assert run.code == 3, run.text
    decision = run.read("decision.json")
    assert decision["passed"] is False
    assert decision["stopped_by"] == "gate"
    assert run.ledger == []
    assert "promote" not in run.records
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(f"sqlite:///{run.folder / 'mlflow.db'}")
    assert client.get_model_version_by_alias("micro-rejection", "candidate")
    with pytest.raises(MlflowException):
        client.get_model_version_by_alias("micro-rejection", "champion")


@pytest.mark.parametrize(
    ("recipe", "failed"),
    [
        ("micro-no-reasoning", {"over_refusal/micro-safe-twins"}),
        ("micro-direct-refusal", {"over_refusal/micro-safe-twins"}),
        ("micro-given", set()),
        ("micro-safekey", set()),
    ],
)
def test_rivals_end_as_the_docs_say(
    run_recipe: Callable[..., Run], tmp_path: Path, recipe: str, failed: set[str]
) -> None:
    run = run_recipe(tmp_path / "run", recipe)
    assert run.code == (3 if failed else 0), run.text
    assert _failed(run) == failed
    assert run.read("provenance.json")["config"]["method"]["kind"] == recipe.removeprefix("micro-")


def test_a_teacher_of_another_style_repairs_and_costs_reasoning(run_recipe: Callable[..., Run], tmp_path: Path) -> None:
    run = run_recipe(tmp_path / "run", "micro-teacher")
    assert run.code == 3, run.text
    failed = _failed(run)
    assert "reasoning/loss" in failed
    assert not failed & {"harm/micro-harm", "over_refusal/micro-safe-twins", "harm_reduction/micro-harm"}


def test_self_distillation_trains_in_the_context_with_the_highest_flip_rate(
    run_recipe: Callable[..., Run], tmp_path: Path
) -> None:
    run = run_recipe(tmp_path / "run", "micro-self-distillation")
    assert run.code in (0, 3), run.text
    diagnosis = run.records["diagnose"]["details"]
    usable = [found for found in diagnosis["contexts"] if not found["excluded"]]
    assert len(usable) < len(diagnosis["contexts"]), "some make the student refuse benign prompts"
    assert all(found["refused"]["value"] <= 0.1 for found in usable)
    assert diagnosis["context"] == usable[0]["name"]
    assert usable[0]["flip_rate"]["value"] == max(found["flip_rate"]["value"] for found in usable)
    assert run.records["train"]["inputs"]["context"]
    assert run.metric("candidate", "harm/micro-harm") < run.metric("base", "harm/micro-harm") - 0.3
    assert f"Training uses {diagnosis['context']}." in (run.folder / "report.html").read_text("utf-8")


def test_retries_keep_prompts_that_one_try_loses(run_recipe: Callable[..., Run], tmp_path: Path) -> None:
    run = run_recipe(tmp_path / "run", "micro-retries")
    assert run.code == 0, run.text
    accepted = {
        row["template"]: row["count"] for row in run.records["curate"]["details"]["funnel"]
        if row["label"] == "harmful" and row["reason"] == "accepted"
    }
    assert list(accepted) == ["", "suffix", "both"]
    assert sum(accepted.values()) >= accepted[""] + 10
    assert run.records["judge-training"]["counts"]["chunks_reused"] > 0


def test_a_second_round_samples_from_the_first_candidate_and_ends_the_same_after_a_kill(
    run_recipe: Callable[..., Run], tmp_path: Path
) -> None:
    whole = run_recipe(tmp_path / "whole", "micro-rounds")
    assert whole.code == 0, whole.text
    first, last = (whole.records[task] for task in ("train-round1", "train"))
    assert whole.records["sample-training"]["inputs"]["model"] == first["outputs"]["candidate"]
    assert last["inputs"]["base"] == first["inputs"]["base"]
    assert last["inputs"]["examples"] != first["inputs"]["examples"]
    kept = [whole.records[task]["counts"]["accepted"] for task in ("curate-round1", "curate")]
    assert kept[1] > kept[0], "the candidate refuses prompts at which the student could not be steered"
    assert "the candidate of round 1" in (whole.folder / "report.html").read_text("utf-8")
    folder = tmp_path / "killed"
    _kill_in_training(folder, "micro-rounds", 5)
    again = run_recipe(folder, "micro-rounds")
    assert again.code == 0, again.text
    for name in ("decision.json", "metrics.json"):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert again.records["train-round1"]["counts"]["reused"] == 1


@pytest.mark.parametrize(
    ("recipe", "failed"),
    [
        ("micro-safepath", {"harm/micro-harm", "reasoning/loss"}),
        ("micro-self-distillation", {"harm/micro-harm"}),
        ("micro-on-policy-distillation", {"harm/micro-harm", "over_refusal/micro-safe-twins", "reasoning/loss"}),
    ],
)
def test_those_that_move_the_student_too_little_or_too_far(
    run_recipe: Callable[..., Run], tmp_path: Path, recipe: str, failed: set[str]
) -> None:
    run = run_recipe(tmp_path / "run", recipe)
    assert run.code == 3, run.text
    assert failed <= _failed(run)


def test_grpo_repairs_and_ends_the_same_after_a_kill_in_its_training(
    run_recipe: Callable[..., Run], tmp_path: Path
) -> None:
    whole = run_recipe(tmp_path / "whole", "micro-grpo")
    assert whole.code == 0, whole.text
    folder = tmp_path / "killed"
    _kill_in_training(folder, "micro-grpo", 20)
    again = run_recipe(folder, "micro-grpo")
    assert again.code == 0, again.text
    for name in ("decision.json", "metrics.json"):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()
    trained, resumed = (run.records["train"] for run in (whole, again))
    assert trained["details"]["adapter_digest"] == resumed["details"]["adapter_digest"]
    for name in ("responses", "response_tokens"):
        assert resumed["counts"][name] == trained["counts"][name] > 0, "what was sampled before the kill counts"


def _kill_in_training(folder: Path, recipe: str, seconds: float) -> None:
    """Run a recipe, and kill it so long after the training (of the last round) has begun."""
    with subprocess.Popen(
        [COMMAND, "run", recipe, "--out", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        _until(process, lambda: any(folder.glob("store/runs/*/curate.json")))
        time.sleep(seconds)
        assert not any(folder.glob("store/runs/*/train.json")), "the training was over"
        os.killpg(process.pid, signal.SIGKILL)


def _until(process: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
    limit = time.monotonic() + 600
    while not done():
        assert process.poll() is None, "the run ended before"
        assert time.monotonic() < limit, "ten minutes passed"
        time.sleep(0.2)
