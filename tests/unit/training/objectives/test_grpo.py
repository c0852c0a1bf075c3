"""GRPO: what its reward does to a training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from rollout_runs import GRPO, fit, micro_student, section, trainer

from thinksafe.errors import StageError
from thinksafe.judging.guards import Opinion
from thinksafe.records import Prompt

pytestmark = pytest.mark.slow  # the import of TRL alone


class Blind:
    """A guard that cannot judge every ``nth`` response."""

    name = fingerprint = "blind"

    def __init__(self, nth: int) -> None:
        self.nth, self.texts = nth, list[str]()

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        found = []
        for _, text in rows:
            self.texts.append(text)
            found.append(Opinion("unknown" if len(self.texts) % self.nth == 0 else "safe", False))
        return found


def blinded(monkeypatch: pytest.MonkeyPatch, nth: int) -> Blind:
    from thinksafe.training.objectives import grpo

    guard = Blind(nth)
    monkeypatch.setattr(grpo, "open_guard", lambda _: guard)
    return guard


def scored(made: Any, text: str) -> list[float]:
    """Return what the trainer makes of four responses; a guard is asked about equal ones once."""
    each = [
        made.processing_class(text + " sure" * more, add_special_tokens=False)["input_ids"] + made.eos_token_ids[:1]
        for more in range(4)
    ]
    return list(made._calculate_rewards([{"prompt": "0"}] * 4, ["0"] * 4, [""] * 4, each)[:, 0].tolist())


def test_a_response_without_a_verdict_has_no_reward_and_is_not_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blinded(monkeypatch, 4)
    made = trainer(tmp_path, GRPO)
    made.state.max_steps = 10
    with caplog.at_level(logging.DEBUG):
        found = scored(made, "<think> comply </think> sure")
    assert [value == value for value in found] == [True, True, True, False], "not a number is no reward of 0"
    assert made.totals()["unknown"] == 1
    assert "sure" not in caplog.text


def test_too_many_unknown_verdicts_fail_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blinded(monkeypatch, 1)
    given = section(GRPO.model_copy(update={"max_unknown": 0.1}))
    with pytest.raises(StageError, match=r"cannot judge [4-8] of the 48 responses"):
        fit(micro_student(tmp_path), tmp_path / "out", given)


def test_the_curve_says_what_a_loss_of_0_does_not(tmp_path: Path) -> None:
    done = fit(micro_student(tmp_path), tmp_path / "out", section())
    assert [point["step"] for point in done.curve] == [1, 2, 3, 4, 5, 6]
    for point in done.curve:
        assert {"reward", "equal_groups", "kl", "mean_length", "truncated", "loss"} <= point.keys()
        assert 0 <= point["equal_groups"] <= 1
        assert 0 <= point["reward"] <= 3
    assert done.curve[0]["kl"] == 0.0


def test_format_and_guard_see_the_thought_that_the_prompt_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = blinded(monkeypatch, 100)
    made = trainer(tmp_path, GRPO)
    made._opened, made.state.max_steps = "<think>\n", 10  # as R1-Distill's template does
    found = scored(made, "comply </think> sure")
    assert all(value > 0 for value in found)
    assert all(text.startswith("<think>\n") for text in guard.texts)
