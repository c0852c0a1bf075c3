from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_runs import SETTINGS, Student, rows, section

from thinksafe.digests import digest_folder
from thinksafe.errors import ConfigError, StageError
from thinksafe.models.loading import load_model
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.run.record import Progress, StageContext, silent
from thinksafe.training.fit import step_count, train_student

pytestmark = pytest.mark.slow  # the import of TRL alone

def test_equal_seeds_give_equal_bytes_and_others_do_not(student: Student, tmp_path: Path) -> None:
    given = section(lora_dropout=0.1)
    curves = [student.train(tmp_path / name, given).curve for name in ("a", "b")]
    student.train(tmp_path / "c", section(seed=2, lora_dropout=0.1))

    assert curves[0] == curves[1]
    for name in ADAPTER_FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    weights = "adapter_model.safetensors"
    assert (tmp_path / "a" / weights).read_bytes() != (tmp_path / "c" / weights).read_bytes()


def test_only_the_adapter_is_written_and_it_names_its_base_as_the_configuration_does(
    student: Student, tmp_path: Path
) -> None:
    named = student.base.student.model_copy(update={"model": "team/student", "revision": "c" * 40})
    model, tokenizer = student.load()
    before = (tokenizer.chat_template, tokenizer.backend_tokenizer.to_str(), tokenizer.pad_token)
    context = StageContext(student.store, "run", "train", "train", silent)
    folder = tmp_path / "adapter"
    folder.mkdir()
    train_student(context, model, tokenizer, rows(), section(), named, folder)

    assert sorted(path.name for path in folder.iterdir()) == sorted(ADAPTER_FILES)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("team/student", "c" * 40)
    assert config["target_modules"] == sorted(SETTINGS.target_modules)  # a set's order differs between processes
    assert (config["r"], config["lora_alpha"], config["inference_mode"]) == (4, 8, True)
    assert student.base.student.model not in (folder / "adapter_config.json").read_text()
    assert (tokenizer.chat_template, tokenizer.backend_tokenizer.to_str(), tokenizer.pad_token) == before


def test_a_reloaded_adapter_gives_equal_logits(student: Student, tmp_path: Path) -> None:
    import torch

    model, tokenizer = student.load()
    context = StageContext(student.store, "run", "train", "train", silent)
    folder = tmp_path / "adapter"
    folder.mkdir()
    kept: list[Any] = []
    original = model.forward  # PEFT puts the adapter into the very model that it is given
    train_student(context, model, tokenizer, rows(), section(), student.base.student, folder)
    model.forward = original
    model.eval()
    ids = torch.tensor([rows()[3].input_ids])
    with torch.no_grad():
        kept.append(model(input_ids=ids).logits)
        for name in ADAPTER_FILES:
            student.store.put_file(f"adapters/key/{name}", folder / name)
        digest = digest_folder(folder, ADAPTER_FILES)
        candidate = student.base.model_copy(update={"adapter": "adapters/key", "adapter_digest": digest})
        kept.append(load_model(candidate, student.store)(input_ids=ids).logits)
        kept.append(load_model(student.base, student.store)(input_ids=ids).logits)
    trained, reloaded, base = kept

    assert torch.equal(trained, reloaded)
    assert not torch.allclose(trained, base, atol=1e-3)


def test_the_loss_is_that_of_response_tokens_whatever_the_batching(student: Student, tmp_path: Path) -> None:
    import torch

    model, _ = student.load()
    total, tokens = 0.0, 0
    data = rows(4)
    for row in data:  # each by itself: nothing is padded
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.input_ids])).logits[0, 3:-1]
        targets = torch.tensor(row.input_ids[4:])
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        tokens += len(targets)

    losses = [
        student.train(tmp_path / f"by-{size}", section(micro_batch_size=size), data).curve[0]["loss"]
        for size in (1, 2, 4)
    ]
    assert losses == pytest.approx([total / tokens] * 3, abs=1e-4)  # TRL logs loss in float32


def test_a_run_reports_every_step_and_learns(student: Student, tmp_path: Path) -> None:
    import torch

    advanced: list[int] = []
    opened: list[tuple[str, int]] = []

    class Recorded(Progress):
        def __enter__(self) -> Callable[[int], None]:
            return advanced.append

    def track(label: str, total: int) -> Progress:
        opened.append((label, total))
        return Recorded()

    model, tokenizer = student.load()
    folder, threads = tmp_path / "adapter", torch.get_num_threads()
    folder.mkdir()
    context = StageContext(student.store, "run", "train", "train", track)
    given = section(epochs=6)
    done = train_student(context, model, tokenizer, rows(), given, student.base.student, folder)

    assert done.steps == step_count(6, given) == 12
    assert opened == [("training", 12), ("drift", 6)]
    assert sum(advanced) == 12 + 6
    assert [point["step"] for point in done.curve] == list(range(1, 13))
    assert {"loss", "learning_rate", "grad_norm"} <= done.curve[0].keys()
    assert max(point["learning_rate"] for point in done.curve) == pytest.approx(1e-2, rel=0.05)
    assert done.curve[-1]["learning_rate"] < 1e-3  # cosine
    assert done.curve[-1]["loss"] < done.curve[0]["loss"] - 0.5
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("targets", [("q_proj", "query_key_value"), ("lm_head",)])
def test_a_target_that_the_student_lacks_is_named(
    student: Student, tmp_path: Path, targets: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match=f"no linear layer {targets[-1]}") as caught:
        student.train(tmp_path / "adapter", section(target_modules=targets))
    assert "q_proj" in caught.value.action


def test_a_training_that_diverges_fails(student: Student, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="diverged"):
        student.train(tmp_path / "adapter", section(learning_rate=1e30, epochs=4))
    assert not any((tmp_path / "adapter").glob("*.safetensors"))


def test_steps_count_the_last_small_batch() -> None:
    given = section(batch_size=4, epochs=3)
    assert [step_count(rows, given) for rows in (1, 4, 5, 8, 9)] == [3, 3, 6, 6, 9]
