"""Training all weights: what is written, what it is compared with, and what it is measured against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from training_runs import Student, rows, section

from thinksafe.errors import ConfigError
from thinksafe.methods.objectives import Kl, Sft
from thinksafe.models.loading import load_model, model_files, placement
from thinksafe.training.fit import Training
from thinksafe.training.weights import marks_of, weights_state

slow = pytest.mark.slow  # the import of TRL alone


def full(objective: Sft | Kl | None = None, **changes: Any) -> Any:
    return section(objective=objective, parameters="full", **{"learning_rate": 1e-3, **changes})


def loaded(student: Student, folder: Path) -> Any:
    """Return the model of a folder that stands by itself."""
    of = student.base.student.model_copy(update={"model": str(folder)})
    from thinksafe.models.loading import resolve_student

    base = student.base.model_copy(update={"student": of, "base_digest": resolve_student(of).digest})
    return load_model(base, student.store)


@slow
def test_the_folder_loads_by_itself_and_differs_from_the_student_in_its_weights_alone(
    student: Student, tmp_path: Path
) -> None:
    import torch

    done = student.train(tmp_path / "made", full())
    source = Path(student.base.student.model)
    for name in model_files(source):
        same = (tmp_path / "made" / name).read_bytes() == (source / name).read_bytes()
        assert same == (name != "model.safetensors"), name
    trained, base = loaded(student, tmp_path / "made"), load_model(student.base, student.store)
    ids = torch.tensor([rows()[3].input_ids])
    with torch.no_grad():
        assert not torch.allclose(trained(input_ids=ids).logits, base(input_ids=ids).logits, atol=1e-3)
    tensors = len(dict(base.named_parameters()))
    assert done.changed == (tensors, tensors)
    assert done.curve[-1]["loss"] < done.curve[0]["loss"]


@slow
def test_equal_seeds_give_equal_bytes(student: Student, tmp_path: Path) -> None:
    runs = [student.train(tmp_path / name, full(Kl())) for name in ("a", "b")]
    assert runs[0] == runs[1]
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@slow
@pytest.mark.parametrize("objective", [Sft(), Kl()])
def test_drift_is_measured_against_the_student_as_it_was(
    student: Student, tmp_path: Path, objective: Sft | Kl
) -> None:
    """The numbers, computed from both models as they are loaded afterwards."""
    import torch

    data = rows(4)
    done = student.train(tmp_path / "made", full(objective), data)
    trained, base = loaded(student, tmp_path / "made"), load_model(student.base, student.store)
    found = {(drift.measure, drift.label): drift.value for drift in done.drift}
    assert len(found) == 6
    for label in ("harmful", "benign"):
        sums = dict.fromkeys(("kl", "nll_student", "nll_candidate"), 0.0)
        tokens = 0
        for row in (row for row in data if row.label == label):
            with torch.no_grad():
                logs = [
                    model(input_ids=torch.tensor([row.input_ids])).logits[0, 3:-1].log_softmax(-1)
                    for model in (base, trained)
                ]
            targets = torch.tensor(row.input_ids[4:])
            for name, log in zip(("nll_student", "nll_candidate"), logs, strict=True):
                sums[name] -= float(log.gather(-1, targets[:, None]).sum())
            sums["kl"] += float((logs[0].exp() * (logs[0] - logs[1])).sum())
            tokens += len(targets)
        for name, total in sums.items():
            assert found[name, label] == pytest.approx(total / tokens, rel=1e-3, abs=1e-5), (name, label)
    assert found["kl", "harmful"] > 1e-3


@slow
def test_the_frozen_copy_holds_benign_rows_back(student: Student, tmp_path: Path) -> None:
    runs: dict[str, Training] = {
        of.kind: student.train(tmp_path / of.kind, full(of, epochs=6)) for of in (Sft(), Kl())
    }
    moved = {
        kind: next(drift.value for drift in done.drift if (drift.measure, drift.label) == ("kl", "benign"))
        for kind, done in runs.items()
    }
    assert moved["kl"] < moved["sft"] / 2
    assert runs["kl"].curve[0]["kl"] == pytest.approx(0, abs=1e-6)  # nothing has moved yet
    assert runs["kl"].curve[-1]["kl"] > 0


@slow
def test_weights_that_do_not_move_are_counted(student: Student, tmp_path: Path) -> None:
    done = student.train(tmp_path / "made", full(learning_rate=1e-300))
    assert done.changed is not None
    assert done.changed[0] == 0
    assert all(drift.value < 1e-9 for drift in done.drift if drift.measure == "kl")


@slow
def test_what_bfloat16_rounds_away_has_not_changed(student: Student) -> None:
    import torch

    model = load_model(student.base, student.store)
    before = marks_of(weights_state(model, sharded=False, dtype=torch.bfloat16))
    rounded = {name: weight.to(torch.bfloat16).float() for name, weight in model.state_dict().items()}
    model.load_state_dict(rounded)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + 1e-4)
    assert marks_of(weights_state(model, sharded=False, dtype=torch.bfloat16)) == before
    assert marks_of(weights_state(model, sharded=False)) != before


def test_a_quantised_student_is_refused(student: Student, tmp_path: Path) -> None:
    from thinksafe.training.weights import check_trainable

    model, _ = student.load()
    check_trainable(model)
    model.config.quantization_config = {"quant_method": "awq"}
    with pytest.raises(ConfigError, match="quantised") as caught:
        check_trainable(model)
    assert "training.parameters: lora" in caught.value.action


def test_weights_are_loaded_in_float32_to_be_trained(student: Student) -> None:
    import torch

    base = student.base.model_copy(update={"student": student.base.student.model_copy(update={"dtype": "bfloat16"})})
    assert load_model(base, student.store, precise=True).dtype == torch.float32
    assert placement(base.student)[1] in (torch.float32, torch.bfloat16)


@slow
def test_large_weights_are_cut_into_files_with_an_index(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thinksafe.training.weights.SHARD", "100KB")
    student.train(tmp_path / "made", full(epochs=1))
    shards = sorted(path.name for path in (tmp_path / "made").glob("model-*.safetensors"))
    index = json.loads((tmp_path / "made" / "model.safetensors.index.json").read_text())
    assert len(shards) > 1
    assert set(index["weight_map"].values()) == set(shards)
    loaded(student, tmp_path / "made")
