"""Trainings that sample: what all of them share here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rollout_runs import (
    DISTILLATION,
    GRPO,
    SELF_DISTILLATION,
    Stopped,
    fit,
    micro_student,
    rows,
    section,
    trainer,
)

from thinksafe.errors import ConfigError
from thinksafe.methods.objectives import Distillation, Grpo, OnPolicy
from thinksafe.training.fit import step_count, warmup_steps
from thinksafe.training.replies import replies

pytestmark = pytest.mark.slow  # the import of TRL alone


each = pytest.mark.parametrize(
    "objective", [GRPO, DISTILLATION, SELF_DISTILLATION], ids=lambda objective: objective.kind
)


@pytest.mark.parametrize(
    ("objective", "parameters"),
    [
        (GRPO, "lora"), (DISTILLATION, "lora"), (SELF_DISTILLATION, "lora"), (GRPO, "full"),
        (SELF_DISTILLATION, "full"),
    ],
    ids=lambda of: of if isinstance(of, str) else of.kind,
)
def test_a_killed_training_goes_on_and_ends_in_the_same_bytes(
    objective: OnPolicy, parameters: str, tmp_path: Path
) -> None:
    student = micro_student(tmp_path)
    given = {"parameters": parameters, "learning_rate": 2e-3 if parameters == "lora" else 3e-4}
    whole = fit(student, tmp_path / "whole", section(objective, **given))
    # before all weights are trained, six rows are read for the drift
    stop = 3 if parameters == "lora" else 9
    with pytest.raises(Stopped):
        fit(student, tmp_path / "killed", section(objective, **given, checkpoint_steps=2), key="k", stop=stop)
    resumed = fit(student, tmp_path / "resumed", section(objective, **given, checkpoint_steps=2), key="k")
    assert resumed.resumed == 2
    files = [path.name for path in (tmp_path / "whole").glob("*") if path.is_file()]
    assert any(name.endswith(".safetensors") for name in files)
    for name in files:
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert resumed.curve == whole.curve
    assert (resumed.responses, resumed.response_tokens) == (whole.responses, whole.response_tokens)
    assert resumed.drift == whole.drift
    assert whole.responses == whole.steps * 8
    assert 0 < whole.response_tokens <= whole.responses * 32
    assert {found.label for found in whole.drift if found.measure == "kl"} == {"harmful", "benign"}


@each
def test_no_default_of_the_library_decides(objective: OnPolicy, tmp_path: Path) -> None:
    made = trainer(tmp_path, objective)
    arguments = made.args
    assert not arguments.bf16, "on by default, on CPUs as well"
    assert not arguments.gradient_checkpointing, "on by default; needless on CPUs"
    assert (arguments.learning_rate, arguments.report_to, arguments.log_completions) == (2e-3, [], False)
    assert (arguments.temperature, arguments.top_p, arguments.top_k) == (1.0, 1.0, 0)
    assert (arguments.max_completion_length, arguments.use_vllm) == (32, False)
    assert not [module for module in made.model.modules() if type(module).__name__ == "Dropout" and module.p > 0], (
        "the student is sampled in training mode"
    )
    if isinstance(objective, Grpo):
        assert (arguments.beta, arguments.epsilon, arguments.loss_type, arguments.num_iterations) == (
            0.04, 0.2, "grpo", 1
        )
    elif isinstance(objective, Distillation):
        assert arguments.beta == 1.0, "the reverse KL"
    assert made.args.warmup_steps == warmup_steps(6, section(objective).training) < 6


@each
def test_nothing_is_sent(objective: OnPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trl.trainer.base_trainer as base

    monkeypatch.delenv("CI", raising=False)
    sent: list[Any] = []
    monkeypatch.setattr(base, "send_telemetry", lambda *given, **named: sent.append((given, named)))
    trainer(tmp_path, objective)
    assert sent == []


def test_a_gpu_without_vllm_is_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from thinksafe.training.objectives import rollouts

    assert not rollouts.sampling_arguments(GRPO, 128)["use_vllm"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(rollouts, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="vLLM is not installed"):
        rollouts.sampling_arguments(GRPO, 128)
    monkeypatch.setattr(rollouts, "find_spec", lambda _: object())
    found = rollouts.sampling_arguments(GRPO, 128)
    assert (found["use_vllm"], found["vllm_mode"], found["vllm_max_model_length"]) == (True, "colocate", 128)


def test_every_prompt_is_in_each_epoch_and_steps_are_whole() -> None:
    from thinksafe.training.objectives.rollouts import PromptOrder

    epoch = [0]
    order = PromptOrder(5, prompts=2, rollouts=3, reads=2, seed=1, epoch=lambda: epoch[0])
    first = list(order)
    assert len(first) == len(order) == 3 * 2 * 3 * 2
    steps = [first[at : at + 12] for at in range(0, len(first), 12)]
    for step in steps:
        assert step[:6] == step[6:], "a step is read once for each of its passes"
        assert step[:3] == [step[0]] * 3
        assert len(set(step)) == 2
    counts = Counter(prompt for step in steps for prompt in step[:6:3])
    assert set(counts) == set(range(5))
    assert sum(counts.values()) == 6, "the last step is filled up from the first"
    assert list(order) == first
    epoch[0] = 1
    assert list(order) != first


def test_steps_count_responses() -> None:
    assert step_count(6, section(GRPO)) == 2 * 3
    assert step_count(5, section(GRPO)) == 2 * 3
    assert step_count(6, section(DISTILLATION)) == 2 * 1


def test_drift_is_read_on_what_the_student_wrote_before(tmp_path: Path) -> None:
    made = trainer(tmp_path, GRPO)
    given = rows(micro_student(tmp_path))
    found = replies(made.model, made.processing_class, given, seed=1, tokens=8)
    assert [row.id for row in found] == sorted(row.id for row in given)
    for row in found:
        prompt = next(of for of in given if of.id == row.id)
        assert row.input_ids[: len(prompt.input_ids)] == prompt.input_ids
        assert row.labels[len(prompt.input_ids) :] == row.input_ids[len(prompt.input_ids) :]
        assert 0 < len(row.input_ids) - len(prompt.input_ids) <= 8
    assert replies(made.model, made.processing_class, given, seed=1, tokens=8) == found
