from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from training_runs import Student, rows, section

from thinksafe.errors import ConfigError
from thinksafe.methods.objectives import Kl, Sft
from thinksafe.training.data import IGNORED

pytestmark = pytest.mark.slow  # the import of TRL alone


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def furthest(left: Path, right: Path) -> float:
    """Return the largest difference between two adapters' weights."""
    ours, theirs = weights(left), weights(right)
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def test_the_first_loss_is_the_cross_entropy_of_harmful_rows_over_all_response_tokens(
    student: Student, tmp_path: Path
) -> None:
    import torch

    model, _ = student.load()
    data, total = rows(4), 0.0
    for row in data:
        if row.label == "harmful":
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([row.input_ids])).logits[0, 3:-1]
            targets = torch.tensor(row.input_ids[4:])
            total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
    tokens = {"harmful": 0, "benign": 0}
    for row in data:
        tokens[row.label] += len(row.input_ids) - 4

    done = student.train(tmp_path / "adapter", section(objective=Kl(), epochs=3), data)
    first, last = done.curve[0], done.curve[-1]
    assert first["loss"] == pytest.approx(total / sum(tokens.values()), abs=1e-5)
    assert first["cross_entropy"] == pytest.approx(total / tokens["harmful"], abs=1e-5)
    assert first["kl"] == pytest.approx(0.0, abs=1e-9)  # the adapter does nothing yet
    assert last["kl"] > 1e-4
    parts = last["cross_entropy"] * tokens["harmful"] + last["kl"] * tokens["benign"]
    assert last["loss"] == pytest.approx(parts / sum(tokens.values()), abs=1e-5)


def test_neither_chunks_nor_accumulation_change_the_adapter(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rows(4)  # all in one step, as rows are put together in other ways where a pass has fewer
    variants = {"a": (4, 128), "b": (1, 128), "c": (2, 3)}
    for name, (micro, chunk) in variants.items():
        given = section(objective=Kl(), micro_batch_size=micro, epochs=3)
        monkeypatch.setattr("thinksafe.training.objectives.sft.CHUNK", chunk)
        student.train(tmp_path / name, given, data)
    student.train(tmp_path / "ce", section(epochs=3), data)
    assert furthest(tmp_path / "a", tmp_path / "b") < 1e-4
    assert furthest(tmp_path / "a", tmp_path / "c") < 1e-4
    assert furthest(tmp_path / "a", tmp_path / "ce") > 1e-3


def test_without_benign_rows_it_is_the_plain_training(student: Student, tmp_path: Path) -> None:
    harmful = [row for row in rows(8) if row.label == "harmful"]
    kl = student.train(tmp_path / "kl", section(objective=Kl()), harmful)
    ce = student.train(tmp_path / "ce", section(), harmful)
    assert [point["loss"] for point in kl.curve] == pytest.approx([point["loss"] for point in ce.curve], abs=1e-4)
    assert furthest(tmp_path / "kl", tmp_path / "ce") < 1e-3


def test_it_keeps_benign_behaviour_closer_than_cross_entropy_on_benign_rows(student: Student, tmp_path: Path) -> None:
    """The point of it: the harmful rows are learnt, with less drift on the benign ones."""
    import torch

    data = rows(6)

    def drift(folder: Path) -> float:
        from peft import PeftModel

        base, _ = student.load()
        model = PeftModel.from_pretrained(student.load()[0], folder)
        found = 0.0
        for row in data:
            if row.label == "benign":
                ids = torch.tensor([row.input_ids])
                with torch.no_grad():
                    log_q, log_p = (of(input_ids=ids).logits[0, 3:-1].log_softmax(-1) for of in (base, model))
                found += float((log_q.exp() * (log_q - log_p)).sum())
        return found

    matched = student.train(tmp_path / "kl", section(objective=Kl(), epochs=8), data)
    student.train(tmp_path / "ce", section(epochs=8), data)
    assert matched.curve[-1]["cross_entropy"] < matched.curve[0]["cross_entropy"] - 0.5
    assert drift(tmp_path / "kl") < drift(tmp_path / "ce") / 2


def test_a_row_without_loss_changes_nothing(student: Student, tmp_path: Path) -> None:
    """Several processes share a short last batch out with such rows."""
    from thinksafe.training.data import Row

    empty = Row("empty", [3, 4, 5], [IGNORED] * 3, "benign")
    for loss, objective in (("ce", Sft()), ("kl", Kl())):
        given = section(objective=objective, batch_size=8, micro_batch_size=8, epochs=1)
        student.train(tmp_path / f"{loss}-a", given, rows(5))
        student.train(tmp_path / f"{loss}-b", given, [*rows(5), empty])
        assert furthest(tmp_path / f"{loss}-a", tmp_path / f"{loss}-b") < 1e-4


def test_a_model_whose_logits_are_not_known_is_refused(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Student.load

    def scaled(self: Student) -> Any:
        model, tokenizer = load(self)
        original = model.forward

        def forward(*given: Any, **named: Any) -> Any:
            found = original(*given, **named)
            found.logits = found.logits * 0.5
            return found

        model.forward = forward
        return model, tokenizer

    monkeypatch.setattr(Student, "load", scaled)
    with pytest.raises(ConfigError, match="unknown how Qwen3ForCausalLM computes its logits"):
        student.train(tmp_path / "adapter", section(objective=Kl()))
