"""The train stage as a process: killed and started again, and in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from node_training import EXAMPLES
from plans import write_plan

from thinksafe.config.model import TrainingSettings
from thinksafe.config.sections import TrainSection
from thinksafe.jsonl import write_json, write_records
from thinksafe.methods.objectives import Kl, SafeKey, Sft
from thinksafe.models.loading import resolve_student
from thinksafe.models.references import ModelReference, read_reference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.run.record import StageRecord, list_records
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

pytestmark = pytest.mark.slow


def section(objective: Sft | Kl | SafeKey | None = None, **changes: Any) -> TrainSection:
    settings: dict[str, Any] = {
        "lora_rank": 4, "lora_dropout": 0.0, "learning_rate": 1e-2, "batch_size": 4, "micro_batch_size": 4, "epochs": 2,
        "threads": 1, "max_length": 400,
    }
    return TrainSection(
        seed=3, reasoning="think", objective=objective or Sft(), training=TrainingSettings(**settings | changes)
    )


class Stage:
    """A train stage that runs as the containers run it; ``name`` has a store of its own."""

    def __init__(self, folder: Path, student: Path) -> None:
        self.folder = folder
        settings = StudentSettings(model=str(student), dtype="float32")
        base = ModelReference(role="base", student=settings, base_digest=resolve_student(settings).digest)
        write_json(folder / "base.json", base)
        write_records(folder / "examples.jsonl", EXAMPLES)

    def store(self, name: str) -> LocalStore:
        return LocalStore(self.folder / name / "store")

    def start(self, name: str, given: TrainSection) -> subprocess.Popen[str]:
        out = self.folder / name
        out.mkdir(exist_ok=True)
        paths = {
            "base": self.folder / "base.json", "examples": self.folder / "examples.jsonl", "artifacts": out / "store",
            "trained-out": out / "adapter", "candidate-out": out / "candidate.json",
            "decision-out": out / "decision.json", "passed-out": out / "passed",
        }
        return subprocess.Popen(
            [
                sys.executable, "-m", "thinksafe", "train", "--run-id", "run", "--plan",
                str(write_plan(out / "plan.json", train=given)),
                *(part for option, path in paths.items() for part in (f"--{option}", str(path))),
            ],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )

    def finish(self, name: str, given: TrainSection) -> StageRecord:
        process = self.start(name, given)
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said
        return self.record(name)

    def record(self, name: str) -> StageRecord:
        return list_records(self.store(name), "run").found["train"]

    def made(self, name: str) -> dict[str, bytes]:
        """Return the files of what was trained, by name."""
        store = self.store(name)
        place = read_reference(self.folder / name / "candidate.json").trained
        assert place is not None
        return {key.rpartition("/")[2]: store.get(key) for key in store.keys(f"{place.place}/")}

    def weights(self, name: str) -> dict[str, Any]:
        from safetensors.torch import load

        files = self.made(name)
        return load(next(files[name] for name in (ADAPTER_FILES[1], "model.safetensors") if name in files))

    def furthest(self, left: str, right: str) -> float:
        ours, theirs = self.weights(left), self.weights(right)
        assert ours.keys() == theirs.keys()
        return max(float((ours[key] - theirs[key]).abs().max()) for key in ours)


@pytest.fixture
def stage(tmp_path: Path, student_folder: Callable[[str], Path]) -> Stage:
    return Stage(tmp_path, student_folder("qwen"))


def wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.002)


def children(pid: int) -> set[int]:
    """Return the processes that descend from one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("processes", "strategy", "parameters"),
    [(1, "ddp", "lora"), (2, "ddp", "lora"), (2, "fsdp", "lora"), (1, "ddp", "full"), (2, "fsdp", "full")],
)
def test_a_killed_training_goes_on_and_ends_in_the_same_bytes(
    stage: Stage, processes: int, strategy: str, parameters: str
) -> None:
    given = {
        "epochs": 20, "lora_dropout": 0.1, "processes": processes, "strategy": strategy, "parameters": parameters,
        "objective": Sft() if (strategy, parameters) == ("fsdp", "full") else Kl(),
    }
    whole = stage.finish("whole", section(**given))
    assert (whole.counts["steps"], whole.counts["resumed"]) == (40, 0)

    kept, store = section(**given, checkpoint_steps=3), stage.store("killed")
    first = stage.start("killed", kept)
    wait(lambda: any("00000009/manifest.json" in key for key in store.keys("checkpoints/")), first)
    started = children(first.pid)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert len(started) >= (processes if processes > 1 else 0)
    end = time.monotonic() + 20
    while any(map(alive, started)):
        assert time.monotonic() < end, "the killed stage left processes that train on"
        time.sleep(0.01)
    assert store.keys("adapters/") == store.keys("weights/") == []
    assert store.keys("runs/") == []

    resumed = stage.finish("killed", kept)
    assert 9 <= resumed.counts["resumed"] < 40
    assert stage.made("killed") == stage.made("whole")
    assert resumed.outputs == whole.outputs  # the key as well: checkpoints are none of its business
    assert resumed.details["curve"] == whole.details["curve"]
    assert resumed.details["drift"] == whole.details["drift"]
    assert store.keys("checkpoints/") == []


@pytest.mark.parametrize("objective", [Sft(), Kl()])
def test_two_processes_learn_what_one_does(stage: Stage, objective: Sft | Kl) -> None:
    """Five rows, four a step: the last step leaves the second process nothing but rows without loss."""
    one = stage.finish("one", section(objective=objective))
    two = stage.finish("two", section(objective=objective, processes=2))
    assert (one.details["processes"], two.details["processes"]) == (1, 2)
    assert one.counts == two.counts
    assert one.outputs != two.outputs
    for name in ("loss", "grad_norm", "learning_rate", "kl", "cross_entropy"):
        curves = [[point[name] for point in of.details["curve"] if name in point] for of in (one, two)]
        assert curves[0] == pytest.approx(curves[1], abs=1e-4)
        assert bool(curves[0]) == (objective == Kl() or name not in ("kl", "cross_entropy"))
    assert stage.furthest("one", "two") < 1e-4
    learnt = [weight for name, weight in stage.weights("one").items() if "lora_B" in name]  # 0 before the training
    assert max(float(weight.abs().max()) for weight in learnt) > 1e-2


def test_two_processes_learn_key_sentences_as_one_does(stage: Stage) -> None:
    """Two of five thoughts have a second sentence, so a process may have a batch without any."""
    longer = [
        row.model_copy(update={"response": row.response.replace("\n</think>", f"{' I see.' * (index % 2)}\n</think>")})
        for index, row in enumerate(EXAMPLES)
    ]
    write_records(stage.folder / "examples.jsonl", longer)
    objective = SafeKey(sentence=2, key_weight=0.5, head_weight=0.5, theta=0.5, last_epochs=2)
    one = stage.finish("one", section(objective=objective, epochs=3))
    two = stage.finish("two", section(objective=objective, epochs=3, processes=2))
    for name in ("loss", "cross_entropy", "key_sentence", "safety_head"):
        curves = [[point.get(name) for point in of.details["curve"]] for of in (one, two)]
        assert curves[0] == pytest.approx(curves[1], abs=1e-4)
        assert curves[0][-2] is not None
    assert stage.furthest("one", "two") < 1e-4


@pytest.mark.parametrize("objective", [Sft(), Kl()])
def test_a_sharded_student_learns_what_a_whole_one_does(stage: Stage, objective: Sft | Kl) -> None:
    """With dropout, which the layers must draw alike when they are computed again in the backward pass."""
    given = {"objective": objective, "processes": 2, "lora_dropout": 0.3}
    whole = stage.finish("whole", section(**given))
    shared = stage.finish("shared", section(**given, strategy="fsdp"))
    assert whole.details["share"] == 1.0
    assert 0.5 <= shared.details["share"] < 0.55
    assert whole.counts == shared.counts
    for name in ("loss", "grad_norm", "learning_rate", "kl", "cross_entropy"):
        curves = [[point[name] for point in of.details["curve"] if name in point] for of in (whole, shared)]
        assert curves[0] == pytest.approx(curves[1], abs=1e-4)
    assert stage.furthest("whole", "shared") < 1e-4
    drifts = [[found["value"] for found in of.details["drift"]] for of in (whole, shared)]
    assert len(drifts[0]) == 6
    assert drifts[0] == pytest.approx(drifts[1], abs=1e-3)


def test_sharded_weights_learn_what_whole_ones_do(stage: Stage) -> None:
    given = {"processes": 2, "parameters": "full", "learning_rate": 1e-3}
    whole = stage.finish("whole", section(**given))
    shared = stage.finish("shared", section(**given, strategy="fsdp"))
    assert 0.5 <= shared.details["share"] < 0.55
    assert whole.counts == shared.counts
    curves = [[point["loss"] for point in of.details["curve"]] for of in (whole, shared)]
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)
    assert stage.furthest("whole", "shared") < 1e-3
    assert sorted(stage.made("whole")) == sorted(stage.made("shared"))
    drifts = [[found["value"] for found in of.details["drift"]] for of in (whole, shared)]
    assert len(drifts[0]) == 6
    assert drifts[0] == pytest.approx(drifts[1], abs=1e-3)


def test_one_process_has_nothing_to_share_the_student_among(stage: Stage) -> None:
    process = stage.start("alone", section(strategy="fsdp"))
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    assert "strategy is fsdp" in stage.record("alone").error


def test_what_goes_wrong_in_one_of_several_processes_is_said_as_in_one(stage: Stage) -> None:
    texts = []
    for processes in (1, 2):
        name = f"bad-{processes}"
        process = stage.start(name, section(target_modules=("q_proj", "query"), processes=processes))
        _, said = process.communicate(timeout=300)
        assert process.returncode == 2, said
        texts.append((stage.record(name).error, stage.record(name).action))
    assert texts[0] == texts[1]
    assert "no linear layer query" in texts[0][0]


def test_a_process_that_dies_without_a_word_fails_the_stage(stage: Stage) -> None:
    process = stage.start("dies", section(epochs=4000, processes=2, checkpoint_steps=1))
    store = stage.store("dies")
    wait(lambda: bool(store.keys("checkpoints/")), process)
    victim = max(pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(victim, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "of 2 ended with SIGKILL" in stage.record("dies").error
