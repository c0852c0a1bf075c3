"""On rows whose key sentence is set by hand, so that each loss can be computed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from training_runs import Student, rows, section

from thinksafe.errors import StageError
from thinksafe.methods.objectives import SafeKey
from thinksafe.training.checkpoints import HEAD, Checkpoints
from thinksafe.training.data import Row
from thinksafe.training.key_sentences import Spans

pytestmark = pytest.mark.slow  # the import of TRL alone

SPANS = Spans(4, 6, 8)


def objective(**changes: Any) -> SafeKey:
    settings = {"sentence": 2, "key_weight": 0.2, "head_weight": 0.2, "theta": 0.5, "last_epochs": 2}
    return SafeKey.model_validate(settings | changes)


@pytest.fixture(autouse=True)
def known_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row has a key sentence, but the longest one of six, and that without loss."""

    def spans(row: Row, *_: Any) -> Spans | None:
        return SPANS if 9 <= len(row.input_ids) < 24 else None

    monkeypatch.setattr("thinksafe.training.objectives.safekey.spans_of", spans)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def furthest(left: Path, right: Path) -> float:
    ours, theirs = weights(left), weights(right)
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def test_the_first_losses_are_those_of_the_paper(student: Student, tmp_path: Path) -> None:
    import torch

    from thinksafe.training.objectives.safekey import SafetyHead

    model, _ = student.load()
    data = rows(4)
    head = SafetyHead(model.config.hidden_size, seed=1)
    plain = key = told = 0.0
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    with torch.no_grad():
        for row in data:
            ids = torch.tensor([row.input_ids])
            found = model(input_ids=ids, output_hidden_states=True)
            ce = torch.nn.functional.cross_entropy(found.logits[0, 3:-1], ids[0, 4:], reduction="sum")
            plain += float(ce)
            # the attention mask of the published code: the whole row, its prompt out of sight
            mask = torch.ones_like(ids)
            mask[:, :4] = 0
            positions = torch.arange(ids.shape[1])[None]
            blind = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
            key += float(torch.nn.functional.cross_entropy(blind[0, 5:7], ids[0, 6:8], reduction="sum"))
            states = found.hidden_states[-1][0]
            logits = head(states[None, 4:6].mean(1), states[None, :6].mean(1))
            target = torch.tensor([float(row.label == "harmful")])
            told += float(0.3 * bce(logits[0], target) + 0.7 * bce(logits[1], target))
    tokens = sum(len(row.input_ids) - 4 for row in data)
    done = student.train(tmp_path / "adapter", section(objective=objective(theta=0.3), epochs=2), data)
    first = done.curve[0]
    assert first["cross_entropy"] == pytest.approx(plain / tokens, abs=1e-5)
    assert first["key_sentence"] == pytest.approx(key / 8, abs=1e-5)
    assert first["safety_head"] == pytest.approx(told / 4, abs=1e-5)
    total = plain / tokens + 0.2 * key / 8 + 0.2 * told / 4
    assert first["loss"] == pytest.approx(total, abs=1e-5)


def test_only_the_last_epochs_have_them(student: Student, tmp_path: Path) -> None:
    done = student.train(tmp_path / "adapter", section(objective=objective(last_epochs=2), epochs=5), rows(4))
    assert ["key_sentence" in point for point in done.curve] == [False, False, False, True, True]
    assert ["safety_head" in point for point in done.curve] == [False, False, False, True, True]


def test_without_the_last_epochs_it_is_the_plain_training(student: Student, tmp_path: Path) -> None:
    student.train(tmp_path / "key", section(objective=objective(last_epochs=0)), rows(6))
    student.train(tmp_path / "plain", section(), rows(6))
    assert furthest(tmp_path / "key", tmp_path / "plain") < 1e-3
    student.train(tmp_path / "all", section(objective=objective()), rows(6))
    assert furthest(tmp_path / "all", tmp_path / "plain") > 1e-3


def test_each_loss_moves_the_adapter_and_accumulation_does_not(student: Student, tmp_path: Path) -> None:
    given = {"key": {"head_weight": 0.0}, "head": {"key_weight": 0.0}, "both": {}, "none": {"last_epochs": 0}}
    for name, changes in given.items():
        student.train(tmp_path / name, section(objective=objective(**changes), epochs=3), rows(4))
    student.train(tmp_path / "one", section(objective=objective(), epochs=3, micro_batch_size=1), rows(4))
    assert furthest(tmp_path / "one", tmp_path / "both") < 1e-4
    for name in ("key", "head"):
        assert furthest(tmp_path / name, tmp_path / "none") > 1e-4
        assert furthest(tmp_path / name, tmp_path / "both") > 1e-4


def test_the_file_of_all_weights_holds_nothing_but_the_students(student: Student, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    given = section(objective=objective(), parameters="full", learning_rate=1e-3)
    done = student.train(tmp_path / "made", given, rows(4))
    ours, theirs = (load_file(of / "model.safetensors") for of in (tmp_path / "made", Path(student.base.student.model)))
    assert ours.keys() == theirs.keys()
    assert done.changed == (len(theirs), len(theirs))


def test_the_file_holds_the_adapter_alone(student: Student, tmp_path: Path) -> None:
    student.train(tmp_path / "key", section(objective=objective()), rows(4))
    student.train(tmp_path / "plain", section(), rows(4))
    assert weights(tmp_path / "key").keys() == weights(tmp_path / "plain").keys()
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("key", "plain")]
    assert files[0] == files[1]


@pytest.mark.parametrize(("parameters", "step"), [("lora", 2), ("lora", 5), ("full", 5)])
def test_a_resumed_training_ends_in_the_same_bytes(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: str, step: int
) -> None:
    """Killed in the plain epochs and in the last ones, in which the head has learnt something."""
    from thinksafe.run.record import StageContext, silent
    from thinksafe.training.fit import train_student

    given = section(objective=objective(), epochs=6, checkpoint_steps=1, lora_dropout=0.1, parameters=parameters)
    context = StageContext(student.store, "run", "train", "train", silent)

    def train(name: str, checkpoints: Checkpoints) -> Any:
        model, tokenizer = student.load()
        folder = tmp_path / name
        folder.mkdir()
        done = train_student(context, model, tokenizer, rows(4), given, student.base.student, folder, checkpoints)
        return done, {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}

    whole = train("whole", Checkpoints(student.store, "whole", tmp_path / "w"))
    write = Checkpoints.write

    def killed(self: Checkpoints, folder: Path, at: int) -> None:
        write(self, folder, at)
        if at == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        train("killed", Checkpoints(student.store, "killed", tmp_path / "k"))
    monkeypatch.setattr(Checkpoints, "write", write)
    assert any(key.endswith(f"{step:08d}/{HEAD}") for key in student.store.keys("checkpoints/killed/"))
    again = Checkpoints(student.store, "killed", tmp_path / "again")
    assert again.restore() == step
    resumed = train("resumed", again)
    assert resumed[1] == whole[1] != {}
    assert resumed[0].curve == whole[0].curve


def test_rows_without_any_key_sentence_are_refused(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thinksafe.training.objectives.safekey.spans_of", lambda *_: None)
    with pytest.raises(StageError, match=r"No thought of the 4 examples has a sentence 2.*method\.sentence"):
        student.train(tmp_path / "adapter", section(objective=objective()), rows(4))
