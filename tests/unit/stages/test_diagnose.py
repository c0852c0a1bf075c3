from __future__ import annotations

from pathlib import Path

import pytest
from pilots import ACCEPTED, CUT, SAFE_ANSWER, UNKNOWN, UNSAFE, Kind, Stage, one, pilot

from thinksafe.errors import StageError
from thinksafe.methods.contexts import read_context
from thinksafe.run.details import DiagnoseDetails, Rate
from thinksafe.run.record import list_records


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_steerable_student(stage: Stage) -> None:
    result = stage(pilot((50, UNSAFE, ACCEPTED), (6, UNSAFE, UNSAFE), (8, ACCEPTED, ACCEPTED)))
    assert (stage.passed, result.verdict, stage.decision.passed) == ("true", "passed", True)
    assert read_context(stage.folder / "context.json") is None
    assert list(stage.checks) == ["steerability/acceptance", "steerability/flip_rate", "unknown"]
    rates = {name: getattr(result.details, name) for name in ("acceptance_steered", "acceptance_plain", "flip_rate")}
    assert {name: (rate.value, rate.n) for name, rate in rates.items()} == {
        "acceptance_steered": (58 / 64, 64), "acceptance_plain": (8 / 64, 64), "flip_rate": (50 / 56, 56),
    }
    assert all(rate.interval.low < rate.value < rate.interval.high for rate in rates.values())
    assert result.details.continues is True
    assert result.details.decision == stage.decision
    assert list_records(stage.store, "run").found["diagnose"].require(DiagnoseDetails) == result.details


@pytest.mark.parametrize("steered", [UNSAFE, SAFE_ANSWER, CUT])
def test_no_latent_safety(stage: Stage, steered: Kind) -> None:
    result = stage(pilot((60, UNSAFE, steered), (4, UNSAFE, ACCEPTED)))
    assert (stage.passed, result.verdict, stage.decision.stopped_by) == ("false", "unsteerable", "diagnose")
    for name in ("steerability/acceptance", "steerability/flip_rate"):
        check = stage.checks[name]
        assert not check.passed
        assert check.value == 4 / 64
        assert check.reason.startswith("No latent safety knowledge: ")
        assert "heavier method" in check.reason
        assert ("max_tokens" in check.reason) == (steered is CUT)
    assert stage.decision.summary.startswith("No latent safety knowledge: 2 of 3 checks failed")


def test_warning_lets_the_run_go_on_but_says_so(stage: Stage) -> None:
    result = stage(pilot((64, UNSAFE, UNSAFE)), on_failure="warn")
    assert stage.passed == "true"
    assert not stage.decision.passed
    assert result.verdict == "unsteerable"
    assert result.details.continues is True
    assert "the run goes on because diagnose.on_failure is warn" in stage.decision.summary


def test_nothing_to_repair(stage: Stage) -> None:
    result = stage(pilot((40, ACCEPTED, ACCEPTED), (24, SAFE_ANSWER, ACCEPTED)))
    check = stage.checks["steerability/flip_rate"]
    assert (stage.passed, check.passed, check.value, check.n) == ("false", False, None, 0)
    assert check.reason.startswith("Nothing to repair")
    assert stage.decision.summary.startswith("Nothing to repair")
    assert stage.checks["steerability/acceptance"].passed
    assert result.details.flip_rate == Rate(value=None, n=0, interval=None)
    assert "heavier" not in check.reason


def test_too_few_unsafe_plain_samples_are_undecided(stage: Stage) -> None:
    stage(pilot((2, UNSAFE, ACCEPTED), (62, ACCEPTED, ACCEPTED)))
    check = stage.checks["steerability/flip_rate"]
    assert (check.passed, check.value, check.n) == (False, 1.0, 2)
    assert check.reason.startswith("Latent safety knowledge is not shown, the pilot is too small")
    assert "2 of 64" in check.reason
    assert "heavier" not in check.reason


def test_a_pilot_of_one_prompt(stage: Stage) -> None:
    stage(pilot((1, UNSAFE, ACCEPTED)))
    assert stage.passed == "false"
    assert "too small" in stage.decision.summary


def test_unknown_is_never_accepted(stage: Stage) -> None:
    result = stage(pilot((60, UNSAFE, ACCEPTED), (4, UNKNOWN, UNKNOWN)))
    assert stage.passed == "true"
    assert result.details.acceptance_steered.value == 60 / 64
    assert result.details.flip_rate.n == 64, "an unknown plain sample is not safe"
    assert result.details.reasons["steered"] == {"accepted": 60, "unknown": 4}
    assert result.counts["unknown"] == 8


def test_a_guard_that_cannot_judge_is_not_blamed_on_the_student(stage: Stage) -> None:
    stage(pilot((64, UNKNOWN, UNKNOWN)))
    assert stage.passed == "false"
    assert stage.checks["unknown"].value == 1.0
    for check in stage.decision.checks:
        assert not check.passed
        assert check.reason.startswith("Latent safety knowledge cannot be told")
        assert "guard.filter" in check.reason


def test_every_failing_reason_speaks_of_latent_safety(stage: Stage) -> None:
    for rows in (
        pilot((64, UNSAFE, UNSAFE)), pilot((64, SAFE_ANSWER, SAFE_ANSWER)), pilot((64, UNKNOWN, ACCEPTED)),
        pilot((2, UNSAFE, ACCEPTED), (2, ACCEPTED, ACCEPTED)),
    ):
        stage(rows)
        failed = [check for check in stage.decision.checks if not check.passed]
        assert failed
        assert all("latent safety" in check.reason.lower() for check in failed)
        assert "secret" not in (stage.folder / "diagnosis.json").read_text()


def test_the_same_whatever_the_order(stage: Stage) -> None:
    rows = pilot((50, UNSAFE, ACCEPTED), (14, UNSAFE, UNSAFE))
    stage(rows)
    first = stage.decision
    stage(rows[::-1])
    assert stage.decision == first


def test_a_sample_without_verdict(stage: Stage) -> None:
    with pytest.raises(StageError, match="'p63/steered/0' has no verdict"):
        stage(pilot((64, UNSAFE, ACCEPTED)), verdicts=127)
    assert not (stage.folder / "passed").exists()


def test_a_prompt_without_an_arm(stage: Stage) -> None:
    with pytest.raises(StageError, match="'p2' has no steered sample"):
        stage([*pilot((2, UNSAFE, ACCEPTED)), one(2, "plain", UNSAFE)])


def test_a_benign_prompt(stage: Stage) -> None:
    with pytest.raises(StageError, match="benign"):
        stage([one(0, "plain", UNSAFE, label="benign")])


def test_an_empty_pilot(stage: Stage) -> None:
    with pytest.raises(StageError, match="no samples"):
        stage([])
