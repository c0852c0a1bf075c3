"""Self-distillation: what the teacher reads, and the divergence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rollout_runs import SELF_DISTILLATION, fit, micro_student, rows, section, trainer

from thinksafe.errors import InputError
from thinksafe.methods.steering import steer
from thinksafe.models.templates import render_prompt
from thinksafe.training.logits import symmetric_kl

pytestmark = pytest.mark.slow  # the import of TRL alone


def batch(made: Any, label: str) -> dict[str, Any]:
    """Return inputs of a step: the prompts of one label, padded on the left, with responses of different lengths."""
    chosen = [row for row in made._given.rows if row.label == label]
    width, pad = max(len(row.input_ids) for row in chosen) + 2, made.processing_class.pad_token_id
    answers = [[7] * (4 + place) for place in range(len(chosen))]
    longest = max(map(len, answers))
    return {
        "prompt_ids": torch.tensor([[pad] * (width - len(row.input_ids)) + row.input_ids for row in chosen]),
        "prompt_mask": torch.tensor([[0] * (width - len(row.input_ids)) + [1] * len(row.input_ids) for row in chosen]),
        "completion_ids": torch.tensor([each + [pad] * (longest - len(each)) for each in answers]),
        "completion_mask": torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in answers]),
    }


def log_probabilities(model: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    return logits.double().log_softmax(-1)


def test_the_loss_is_half_of_both_divergences_from_the_student_in_the_context(tmp_path: Path) -> None:
    made = trainer(tmp_path, SELF_DISTILLATION)
    model = made.model.eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # so that student and original differ
            torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(1))
    for label in ("harmful", "benign"):
        inputs = batch(made, label)
        loss, _, tokens = made._compute_loss(model, inputs, torch.tensor(1.0))
        expected, count = 0.0, 0
        for place, row in enumerate(row for row in made._given.rows if row.label == label):
            response = [7] * (4 + place)
            read = row.input_ids
            if label == "harmful":
                text = render_prompt(made.processing_class, steer(row.prompt, SELF_DISTILLATION.context))
                read = made.processing_class(text, add_special_tokens=False)["input_ids"]
                assert len(read) > len(row.input_ids)
            own = log_probabilities(model, row.input_ids, response)
            with model.disable_adapter():
                teacher = log_probabilities(model, read, response)
            forward = (teacher.exp() * (teacher - own)).sum()
            backward = (own.exp() * (own - teacher)).sum()
            expected, count = expected + float(0.5 * forward + 0.5 * backward), count + len(response)
        assert loss.item() == pytest.approx(expected, rel=1e-3)
        assert int(tokens) == count
        assert loss.requires_grad


def test_benign_rows_of_an_unmoved_student_cost_nothing(tmp_path: Path) -> None:
    made = trainer(tmp_path, SELF_DISTILLATION)
    made.model.eval()
    benign, harmful = (
        made._compute_loss(made.model, batch(made, label), torch.tensor(1.0))[0].item()
        for label in ("benign", "harmful")
    )
    assert benign == pytest.approx(0, abs=1e-6)
    assert harmful > 1e-2


def test_the_adapter_is_on_again_after_the_teacher_read(tmp_path: Path) -> None:
    made = trainer(tmp_path, SELF_DISTILLATION)
    made.model.train()
    loss, *_ = made._compute_loss(made.model, batch(made, "harmful"), torch.tensor(1.0))
    loss.backward()
    assert made.model.training
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in made.model.parameters())


def test_with_all_weights_the_teacher_is_a_copy_that_stays(tmp_path: Path) -> None:
    made = trainer(tmp_path, SELF_DISTILLATION, parameters="full")
    model = made.model.eval()
    benign = batch(made, "benign")
    assert made._compute_loss(model, benign, torch.tensor(1.0))[0].item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.05)
    assert made._compute_loss(model, benign, torch.tensor(1.0))[0].item() > 1e-4


def test_training_falls_towards_the_teacher(tmp_path: Path) -> None:
    given = section(SELF_DISTILLATION, lora_dropout=0.0, epochs=8)
    curve = fit(micro_student(tmp_path), tmp_path / "out", given).curve
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert {"mean_length", "truncated"} <= set(curve[0])


def test_a_prompt_that_does_not_fit_with_its_context_is_named(tmp_path: Path) -> None:
    long = SELF_DISTILLATION.model_copy(update={"context": "word " * 3000 + "{prompt}"})
    first = next(row.id for row in rows(micro_student(tmp_path)) if row.label == "harmful")
    with pytest.raises(InputError, match=first):
        trainer(tmp_path, long)


def test_the_divergence_does_not_depend_on_chunks() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(8, 30, generator=generator)
    student, teacher = (torch.randn(10, 8, generator=generator) for _ in range(2))
    found = [symmetric_kl(lambda some: some @ weight, student, teacher, chunk) for chunk in (3, 64)]
    assert torch.allclose(*found)
    assert bool((found[0] > 0).all())
    assert torch.allclose(found[0], symmetric_kl(lambda some: some @ weight, teacher, student, 64), rtol=1e-4)
