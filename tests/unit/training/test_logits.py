from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.errors import ConfigError
from thinksafe.training.data import IGNORED
from thinksafe.training.logits import (
    add_losses,
    as_reference,
    at_projection,
    check_projection,
    cross_entropy,
    forward_kl,
    reference_states,
)

pytestmark = pytest.mark.slow  # the import of torch and PEFT


@pytest.fixture(scope="module")
def plain(student_folder: Callable[[str], Path]) -> Any:
    """The tiny student in float64; not to be changed."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(student_folder("qwen"), dtype=torch.float64).eval()


@pytest.fixture
def student(plain: Any) -> Any:
    """The tiny student with an adapter that does something, and dropout in front of it."""
    import torch
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_dropout=0.2, target_modules=["q_proj", "down_proj"])
    model = get_peft_model(copy.deepcopy(plain), lora, autocast_adapter_dtype=False)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
    return model


def batch(benign: tuple[bool, ...] = (True, False, True)) -> dict[str, Any]:
    """Return right-padded rows of 6, 9, 12 ... tokens, the first 3 of which are prompt."""
    import torch

    width = 6 + 3 * (len(benign) - 1)
    ids, labels, mask = (torch.zeros((len(benign), width), dtype=torch.long) for _ in range(3))
    labels[:] = IGNORED
    for row in range(len(benign)):
        length = 6 + 3 * row
        ids[row, :length] = torch.arange(length) * (row + 3) % 250
        labels[row, 3:length] = ids[row, 3:length]
        mask[row, :length] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "benign": torch.tensor(benign)}


def gradients(model: Any) -> dict[str, Any]:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def naive(model: Any, inputs: dict[str, Any]) -> tuple[Any, Any]:
    """Return both sums from full logits, row by row and without padding."""
    import torch

    ce, kl = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for ids, mask, labels, benign in zip(*inputs.values(), strict=True):
        length = int(mask.sum())
        at = slice(2, length - 1)
        log_p = model(input_ids=ids[None, :length]).logits[0, at].log_softmax(-1)
        if benign:
            with torch.no_grad(), model.disable_adapter():
                log_q = model(input_ids=ids[None, :length]).logits[0, at].log_softmax(-1)
            kl = kl + torch.nn.functional.kl_div(log_p, log_q, log_target=True, reduction="sum")
        else:
            ce = ce + torch.nn.functional.nll_loss(log_p, labels[3:length], reduction="sum")
    return ce, kl


def ours(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = model(**inputs, reference=reference_states(model, inputs))
    return found


@pytest.mark.parametrize("chunk", [1, 4, 1000])
@pytest.mark.parametrize("benign", [(True, False, True), (True, True), (False, False)])
def test_losses_and_gradients_are_those_of_the_full_logits(
    student: Any, chunk: int, benign: tuple[bool, ...]
) -> None:
    import torch

    student.eval()  # both sides without dropout
    inputs = batch(benign)
    expected = naive(student, inputs)
    (expected[0] + expected[1]).backward()
    wanted = gradients(student)
    add_losses(student.get_base_model(), chunk)
    found = ours(student, inputs)
    (found["cross_entropy"] + found["kl"]).backward()
    got = gradients(student)

    assert float(found["cross_entropy"].detach()) == pytest.approx(float(expected[0].detach()), abs=1e-9)
    assert float(found["kl"].detach()) == pytest.approx(float(expected[1].detach()), abs=1e-9)
    assert float(found["kl"].detach()) > 0.1 or not any(benign)
    assert got.keys() == wanted.keys()
    assert sum(float(gradient.abs().sum()) for gradient in got.values()) > 1.0
    for name, gradient in got.items():
        assert torch.allclose(gradient, wanted[name], rtol=0, atol=1e-9), name


def test_in_float32_they_are_equal_to_a_hundred_thousandth(student: Any) -> None:
    import torch

    student.float().eval()
    inputs = batch()
    expected = naive(student, inputs)
    (expected[0] + expected[1]).backward()
    wanted = gradients(student)
    add_losses(student.get_base_model(), 2)
    found = ours(student, inputs)
    tokens = int((inputs["labels"] != IGNORED).sum())
    (found["cross_entropy"] + found["kl"]).backward()
    assert float(found["kl"].detach()) / tokens == pytest.approx(float(expected[1].detach()) / tokens, abs=1e-5)
    for name, gradient in gradients(student).items():
        assert torch.allclose(gradient / tokens, wanted[name] / tokens, rtol=0, atol=1e-5), name


def test_the_projection_is_never_given_more_tokens_than_a_chunk() -> None:
    import torch

    sizes: list[int] = []
    head = torch.nn.Linear(8, 30)

    def project(hidden: Any) -> Any:
        sizes.append(len(hidden))
        return head(hidden)

    states = torch.randn(11, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    forward_kl(project, states, states.detach() + 1, 4).sum().backward()
    cross_entropy(project, states, torch.arange(11), 4).sum().backward()
    assert max(sizes) == 4
    # student and reference, forward and again backward; then the student alone
    assert sum(sizes) == 11 * 4 + 11 * 2


def test_the_kl_is_forward_and_not_reverse() -> None:
    import torch

    reference, student = torch.tensor([[0.0, 3.0]]), torch.tensor([[1.0, 0.0]])
    found = float(forward_kl(lambda hidden: hidden, student, reference, 1))
    q, p = reference.softmax(-1), student.softmax(-1)
    assert found == pytest.approx(float((q * (q / p).log()).sum()), abs=1e-6)
    assert found != pytest.approx(float((p * (p / q).log()).sum()), abs=1e-2)


def test_a_fresh_adapter_has_no_kl_and_no_gradient_from_benign_rows(plain: Any) -> None:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_dropout=0.5, target_modules=["q_proj", "down_proj"])
    model = get_peft_model(copy.deepcopy(plain), lora, autocast_adapter_dtype=False).train()
    add_losses(model.get_base_model(), 3)
    found = ours(model, batch((True, True)))
    found["kl"].backward()
    assert float(found["kl"].detach()) == pytest.approx(0.0, abs=1e-12)
    assert float(found["cross_entropy"].detach()) == 0.0
    assert all(float(gradient.abs().max()) < 1e-9 for gradient in gradients(model).values())


def test_activation_checkpointing_of_the_layers_changes_no_gradient(student: Any) -> None:
    """As on GPUs, where layers run again in the backward pass: with the adapter on, as in the first one."""
    import torch

    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    student.train()
    add_losses(student.get_base_model(), 4)
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            student.gradient_checkpointing_enable()
            student.enable_input_require_grads()
        losses = ours(student, batch())
        (losses["cross_entropy"] + losses["kl"]).backward()
        found.append(gradients(student))
    assert student.get_base_model().is_gradient_checkpointing
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], rtol=0, atol=1e-9), name


def test_a_fresh_adapter_has_no_kl_in_bfloat16_either(plain: Any) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "down_proj"])
    model = get_peft_model(copy.deepcopy(plain).bfloat16(), lora).train()
    add_losses(model.get_base_model(), 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(model, batch((True, True)))
    assert found["kl"].dtype == torch.float32
    assert float(found["kl"].detach()) == 0.0


def test_benign_rows_get_no_cross_entropy_and_harmful_ones_no_kl(student: Any) -> None:
    import torch

    student.eval()
    add_losses(student.get_base_model(), 4)
    inputs = batch((True, False))
    whole = ours(student, inputs)
    changed = {name: value.clone() for name, value in inputs.items()}
    # other tokens to predict at the benign row: its distributions stay, so the loss must not change
    changed["labels"][0, 5] = 17
    same = ours(student, changed)
    assert torch.equal(whole["cross_entropy"], same["cross_entropy"])
    assert torch.equal(whole["kl"], same["kl"])
    changed["labels"][1, 5] = 17
    assert not torch.equal(whole["cross_entropy"], ours(student, changed)["cross_entropy"])


def test_the_reference_runs_on_benign_rows_only(student: Any) -> None:
    seen: list[int] = []
    add_losses(student.get_base_model(), 4)
    backbone = student.get_base_model().base_model
    backbone.register_forward_hook(lambda *given: seen.append(len(given[2].last_hidden_state)))
    assert reference_states(student, batch((False, False))) is None
    assert seen == []
    assert reference_states(student, batch((True, False, True))) is not None
    assert seen == [2]
    # processes that share the weights gather them together, whatever their rows are
    assert reference_states(student, batch((False, False)), always=True) is None
    assert seen == [2, 1]


def test_the_head_computes_within_its_own_forward_and_is_put_back_also_after_an_error(plain: Any) -> None:
    """FSDP gathers the weights of a module in front of its forward and lets them go behind it."""
    import torch

    head, hidden = plain.get_output_embeddings(), torch.ones(2, 32, dtype=torch.float64)
    told: list[str] = []
    hooks = [
        head.register_forward_pre_hook(lambda *_: told.append("gathered")),
        head.register_forward_hook(lambda *_: told.append("let go")),
    ]
    try:
        at_projection(plain, hidden, lambda project, given: [project(row) for row in given] and told.append("read"))
        assert told == ["gathered", "read", "let go"]
        with pytest.raises(ZeroDivisionError):
            at_projection(plain, hidden, lambda project, given: 1 / 0)
        assert torch.equal(head(hidden), hidden @ head.weight.T)
        assert "forward" not in vars(head)
    finally:
        for hook in hooks:
            hook.remove()


def test_a_batch_without_any_loss_still_has_a_backward_pass(student: Any) -> None:
    add_losses(student.get_base_model(), 4)
    inputs = batch((False,))
    inputs["labels"][:] = IGNORED
    found = ours(student, inputs)
    (found["cross_entropy"] + found["kl"]).backward()
    assert all(float(gradient.abs().max()) == 0.0 for gradient in gradients(student).values())


@pytest.mark.parametrize("fail", [False, True])
def test_adapter_and_modes_are_put_back_also_after_an_error(student: Any, fail: bool) -> None:
    import torch

    student.train()
    student.get_base_model().model.layers[0].eval()  # a mode of its own must not be lost
    inputs = batch()
    add_losses(student.get_base_model(), 4)

    def state() -> Any:
        modes = {name: module.training for name, module in student.named_modules()}
        return modes, {name: weight.requires_grad for name, weight in student.named_parameters()}

    def logits() -> Any:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(1)
            return student(input_ids=inputs["input_ids"]).logits

    before, expected = state(), logits()
    try:
        with as_reference(student):
            assert not any(module.training for module in student.modules())
            assert not torch.is_grad_enabled()
            # FSDP settles which weights are trained, and in which dtype, in its first forward: this one
            assert state()[1] == before[1]
            assert not torch.equal(logits(), expected)
            if fail:
                raise RuntimeError("out of memory, say")
    except RuntimeError:
        assert fail
    assert state() == before
    assert torch.equal(logits(), expected)
    assert torch.is_grad_enabled()


def test_the_reference_is_the_student_before_training_without_dropout(plain: Any, student: Any) -> None:
    import torch

    student.train()
    inputs = batch((True, True))
    add_losses(student.get_base_model(), 4)
    states = reference_states(student, inputs)
    assert states is not None
    response = inputs["labels"][:, 1:] != IGNORED
    with torch.no_grad():
        wanted = plain.model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state[:, :-1]
    assert torch.allclose(states, wanted[response], atol=1e-12)


def test_other_calls_of_the_model_stay_as_they_were(plain: Any) -> None:
    import torch

    model, inputs = copy.deepcopy(plain), batch()
    add_losses(model, 4)
    del inputs["benign"]
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, plain(**inputs).logits)
        assert torch.equal(model(**inputs).loss, plain(**inputs).loss)


def test_a_soft_cap_is_computed_and_anything_else_refused() -> None:
    import torch
    from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM

    size: dict[str, Any] = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "initializer_range": 1.0, "pad_token_id": 0,
    }
    with torch.random.fork_rng():
        torch.manual_seed(3)
        gemma = Gemma2ForCausalLM(Gemma2Config(**size, head_dim=16, final_logit_softcapping=2.0)).eval()
        cohere = CohereForCausalLM(CohereConfig(**size, logit_scale=0.25)).eval()
    check_projection(gemma)
    assert gemma(input_ids=torch.tensor([[1, 2]])).logits.abs().max() <= 2.0
    gemma.config.final_logit_softcapping = None
    uncapped = at_projection(gemma, torch.ones(1, 32), lambda project, hidden: project(hidden))
    assert uncapped.abs().max() > 2.0
    with pytest.raises(ConfigError, match="CohereForCausalLM"):
        check_projection(cohere)
