from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.model import TrainingSettings
from thinksafe.config.sections import TrainSection
from thinksafe.digests import digest_file, digest_folder
from thinksafe.errors import InputError, StageError, StoreError
from thinksafe.jsonl import read_record, write_json, write_records
from thinksafe.methods.contexts import Context, write_context
from thinksafe.methods.objectives import Kl, SelfDistillation, Sft
from thinksafe.models.loading import load_model, resolve_student
from thinksafe.models.references import ModelReference, read_reference
from thinksafe.models.trained import ADAPTER_FILES, fetch_trained
from thinksafe.records import Decision, Example
from thinksafe.run.formats import FORMATS
from thinksafe.run.record import StageContext, StageResult, list_records, silent
from thinksafe.settings import StudentSettings
from thinksafe.stages import train
from thinksafe.store.local import LocalStore
from thinksafe.training import launch

slow = pytest.mark.slow  # the import of TRL alone

EXAMPLES = [
    Example(
        id=f"prompt-{index}/steered/0", prompt=f"request number {index}", label="harmful",
        response=f"<think>\nThought {index}.\n</think>\n\nI cannot help." + " Sorry." * index,
    )
    for index in range(5)
]
SECTION = TrainSection(
    seed=3, reasoning="think", objective=Sft(),
    training=TrainingSettings(
        lora_rank=4, learning_rate=1e-2, batch_size=4, micro_batch_size=2, epochs=1, threads=1, max_length=400
    ),
)
FRESH = {"reused": 0, "resumed": 0}


@dataclass
class Stage:
    """A store, a student of its own, and the paths of one run."""

    folder: Path
    store: LocalStore

    @property
    def student(self) -> Path:
        return self.folder / "student"

    @property
    def base(self) -> ModelReference:
        settings = StudentSettings(model=str(self.student), dtype="float32")
        return ModelReference(role="base", student=settings, base_digest=resolve_student(settings).digest)

    def prepare(self, base: ModelReference | None = None, examples: list[Example] = EXAMPLES) -> None:
        write_json(self.folder / "base.json", base or self.base)
        write_records(self.folder / "examples.jsonl", examples)

    def run(
        self, name: str = "first", section: TrainSection = SECTION, safety_context: Path | None = None
    ) -> StageResult:
        out = self.folder / name
        return train.run(
            StageContext(self.store, name, "train", "train", silent), section, self.folder / "base.json",
            self.folder / "examples.jsonl", safety_context=safety_context, trained_out=out / "deep" / "adapter",
            candidate_out=out / "candidate.json", decision_out=out / "decision.json", passed_out=out / "passed",
        )

    def candidate(self, name: str = "first") -> ModelReference:
        return read_reference(self.folder / name / "candidate.json")


@pytest.fixture
def stage(student_folder: Callable[[str], Path], tmp_path: Path) -> Stage:
    shutil.copytree(student_folder("qwen"), tmp_path / "student")
    made = Stage(tmp_path, LocalStore(tmp_path / "store"))
    made.prepare()
    return made


@slow
def test_an_adapter_comes_out_whole_and_the_student_is_untouched(stage: Stage, tmp_path: Path) -> None:
    before = digest_folder(stage.student)
    result = stage.run()
    candidate, out = stage.candidate(), tmp_path / "first" / "deep" / "adapter"

    assert digest_folder(stage.student) == before
    assert sorted(path.name for path in out.iterdir()) == sorted(ADAPTER_FILES)
    assert candidate.role == "candidate"
    assert candidate.model_copy(update={"role": "base", "adapter": "", "adapter_digest": ""}) == stage.base
    assert digest_folder(out, ADAPTER_FILES) == candidate.adapter_digest == result.outputs["trained"]
    assert candidate.trained is not None
    assert fetch_trained(stage.store, candidate.trained, tmp_path / "fetched")
    manifest = str(Path(candidate.adapter).parent / "manifest.json")
    files = [f"{candidate.adapter}/{name}" for name in ADAPTER_FILES]
    assert stage.store.keys("adapters/") == sorted([*files, manifest])
    assert result.counts == {"examples": 5, "rows": 5, "tokens": result.counts["tokens"], "steps": 2, **FRESH}
    assert [point.step for point in result.details.curve] == [1, 2]
    assert result.details.dropped_too_long == 0
    record = list_records(stage.store, "first").found["train"]
    assert (record.status, record.details["adapter_digest"]) == ("succeeded", candidate.adapter_digest)
    assert not any(example.prompt in record.model_dump_json() for example in EXAMPLES)


def full(**changes: Any) -> TrainSection:
    settings = SECTION.training.model_copy(update={"parameters": "full", "learning_rate": 1e-3, **changes})
    return SECTION.model_copy(update={"training": settings})


@slow
def test_all_weights_come_out_whole_in_the_store_and_load_as_the_student_does(stage: Stage, tmp_path: Path) -> None:
    before = digest_folder(stage.student)
    result = stage.run(section=full())
    candidate, out = stage.candidate(), tmp_path / "first" / "deep" / "adapter"
    trained = candidate.trained
    assert trained is not None
    assert (trained.parameters, trained.digest) == ("full", result.outputs["trained"])
    assert digest_folder(stage.student) == before
    assert candidate.with_trained(trained) == candidate
    assert candidate.base_digest == stage.base.base_digest
    assert candidate.digest not in (stage.base.digest, candidate.base_digest)

    folder = fetch_trained(stage.store, trained, tmp_path / "fetched")
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in stage.student.iterdir())
    manifest = read_record(out / "manifest.json", train.TrainedManifest)
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
    assert manifest.size == sum(path.stat().st_size for path in folder.iterdir())
    assert not stage.store.keys("adapters/")
    ours, theirs = (load_model(of, stage.store).state_dict() for of in (candidate, stage.base))
    assert ours.keys() == theirs.keys()
    record = list_records(stage.store, "first").found["train"]
    assert (record.details["adapter_digest"], record.details["weights_digest"]) == ("", trained.digest)

    again = stage.run("second", full())
    assert (again.counts["reused"], again.outputs) == (1, result.outputs)
    stage.store.put(f"{trained.place}/model.safetensors", b"damaged")
    with pytest.raises(StoreError, match="not what was trained"):
        load_model(candidate, stage.store)
    assert stage.run("third", full()).counts["reused"] == 0


@slow
def test_weights_that_stay_as_they_were_are_a_verdict(stage: Stage) -> None:
    result = stage.run(section=full(learning_rate=1e-30))
    (check,) = read_record(stage.folder / "first" / "decision.json", Decision).checks
    assert (result.verdict, check.value) == ("unchanged", 0)
    assert "training.learning_rate" in check.reason


@slow
@pytest.mark.parametrize(
    ("batch", "ratio", "rate", "steps", "warmup", "changes"),
    [
        (8, 0.1, 1e-2, 1, 0, True), (8, 1.0, 1e-2, 1, 0, True), (4, 1.0, 1e-2, 2, 1, True),
        (4, 0.1, 1e-2, 2, 1, True), (1, 0.1, 1e-2, 5, 1, True), (8, 0.0, 1e-2, 1, 0, True),
        # so small that no weight moves off zero, or no distribution moves with it
        (8, 0.1, 1e-300, 1, 0, False), (8, 0.1, 1e-30, 1, 0, False),
    ],
)
def test_a_candidate_that_is_the_base_is_a_verdict(
    stage: Stage, batch: int, ratio: float, rate: float, steps: int, warmup: int, changes: bool
) -> None:
    settings = SECTION.training.model_copy(
        update={"batch_size": batch, "micro_batch_size": 1, "warmup_ratio": ratio, "learning_rate": rate}
    )
    result = stage.run(section=SECTION.model_copy(update={"training": settings}))
    decision = read_record(stage.folder / "first" / "decision.json", Decision)
    (check,) = decision.checks
    assert (result.counts["steps"], result.details.warmup_steps) == (steps, warmup)
    assert check.name == "candidate/changed"
    assert decision.passed == changes == (result.verdict == "passed")
    assert (stage.folder / "first" / "passed").read_text() == ("true" if changes else "false")
    assert decision.stopped_by == (None if changes else "train")
    assert ("training.learning_rate" in check.reason) == (not changes)
    again = stage.run("second", SECTION.model_copy(update={"training": settings}))
    assert (again.counts["reused"], again.details.decision) == (1, decision)


@slow
def test_a_finished_training_is_taken_up_and_an_unfinished_or_damaged_one_repeated(
    stage: Stage, tmp_path: Path
) -> None:
    first = stage.run()
    adapter = stage.candidate().adapter
    manifest = str(Path(adapter).parent / "manifest.json")

    shutil.move(stage.student, tmp_path / "elsewhere")  # whatever trains now has no student to train
    second = stage.run("second")
    assert second.counts == {**first.counts, "reused": 1}
    assert second.details == first.details
    assert second.outputs == first.outputs
    assert stage.candidate("second") == stage.candidate()
    shutil.move(tmp_path / "elsewhere", stage.student)

    stage.store.put(f"{adapter}/adapter_model.safetensors", b"damaged")
    repeated = stage.run("third")
    assert (repeated.counts["reused"], repeated.outputs) == (0, first.outputs)

    for damage in (None, b"{"):  # killed before the manifest was written; a manifest that is none
        if damage is None:
            Path(stage.store.uri(manifest)).unlink()
        else:
            stage.store.put(manifest, damage)
        assert stage.run("fourth").counts["reused"] == 0


@slow
def test_of_two_trainers_with_other_floats_the_first_wins_and_nothing_of_it_is_overwritten(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one, on another machine, ends between this training's last step and its manifest."""
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()

    def overtaken(context: StageContext, job: launch.Job, processes: int) -> launch.Outcome:
        done = launch.train(context, job, processes)
        for name in ADAPTER_FILES:
            shutil.copy(job.made / name, other / name)
        tensors = load_file(other / "adapter_model.safetensors")
        save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, other / "adapter_model.safetensors")
        digest = digest_folder(other, ADAPTER_FILES)
        for name in ADAPTER_FILES:
            context.store.put_file(f"adapters/{job.key}/{digest}/{name}", other / name)
        manifest = train.TrainedManifest(
            files={name: digest_file(other / name) for name in ADAPTER_FILES}, adapter_digest=digest,
            steps=done.steps, curve=done.curve, rows=done.rows, tokens=done.tokens, dropped=done.dropped,
        )
        context.store.create(f"adapters/{job.key}/manifest.json", manifest.model_dump_json().encode())
        return done

    monkeypatch.setattr("thinksafe.stages.train.train", overtaken)
    first = stage.run()
    assert stage.candidate().adapter_digest == first.outputs["trained"] == digest_folder(other, ADAPTER_FILES)
    assert digest_folder(tmp_path / "first" / "deep" / "adapter", ADAPTER_FILES) == first.outputs["trained"]
    monkeypatch.undo()
    assert stage.run("second").outputs == first.outputs


@slow
def test_over_long_examples_are_dropped_and_counted(stage: Stage) -> None:
    long = EXAMPLES[0].model_copy(update={"id": "long", "response": "<think>\n" + "word " * 200 + "</think> no"})
    stage.prepare(examples=[*EXAMPLES, long])
    result = stage.run()
    assert (result.counts["examples"], result.counts["rows"]) == (6, 5)
    assert result.details.dropped_too_long == 1

    # the student has 512 positions, whatever max_length says
    longer = TrainingSettings.model_validate(SECTION.training.model_dump() | {"max_length": 16384})
    result = stage.run("second", SECTION.model_copy(update={"training": longer}))
    assert result.details.dropped_too_long == 1


def failure(stage: Stage, section: TrainSection = SECTION) -> str:
    """Return what the record says of the failed stage."""
    record = list_records(stage.store, "first").found["train"]
    assert record.status == "failed"
    return record.error


def test_nothing_left_to_train_on_is_an_error(stage: Stage) -> None:
    short = SECTION.training.model_copy(update={"max_length": 5})
    with pytest.raises(StageError, match="0 examples are left"):
        stage.run(section=SECTION.model_copy(update={"training": short}))
    assert "5 too_long" in failure(stage)
    assert stage.store.keys("adapters/") == []
    assert not (stage.folder / "first").exists()


def test_only_a_plain_student_is_trained(stage: Stage) -> None:
    adapted = {"adapter": "adapters/x", "adapter_digest": "d"}
    for changes in (adapted, {"weights": "weights/x", "weights_digest": "d"}, {"absent": True}):
        stage.prepare(base=stage.base.model_copy(update=changes))
        with pytest.raises(InputError, match="not an untrained student"):
            stage.run()
        assert "base.json" in failure(stage)


def test_the_context_of_the_diagnosis_is_what_the_teacher_reads_and_is_in_the_key(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        """Instead of a training."""

    given: list[tuple[str, str]] = []

    def trained(context: StageContext, job: launch.Job, processes: int) -> None:
        given.append((job.section.objective.context, job.key))
        raise Stop

    monkeypatch.setattr(train, "train", trained)
    section = SECTION.model_copy(update={"objective": SelfDistillation(context="", max_tokens=8)})
    for name in ("calm", "kind"):
        write_context(tmp_path / "context.json", Context(name=name, template=f"{name}: {{prompt}}"))
        with pytest.raises(Stop):
            stage.run(name, section, tmp_path / "context.json")
    assert [text for text, _ in given] == ["calm: {prompt}", "kind: {prompt}"]
    assert given[0][1] != given[1][1]
    for absent in (None, tmp_path / "none.json"):
        write_context(tmp_path / "none.json", None)
        with pytest.raises(InputError, match="diagnosis chose no context"):
            stage.run("none", section, absent)


def test_a_missing_examples_file_is_named(stage: Stage) -> None:
    (stage.folder / "examples.jsonl").unlink()
    with pytest.raises(InputError, match=r"examples\.jsonl"):
        stage.run()


def test_a_student_that_does_not_think_is_refused_before_training(
    stage: Stage, student_folder: Callable[[str], Path]
) -> None:
    settings = StudentSettings(model=str(student_folder("llama")), dtype="float32")
    stage.prepare(
        base=ModelReference(role="base", student=settings, base_digest=resolve_student(settings).digest)
    )
    with pytest.raises(InputError) as caught:
        stage.run()
    assert "student.reasoning: none" in caught.value.action


@slow
def test_a_store_that_fails_leaves_nothing_that_looks_whole(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: LocalStore, key: str, path: Path) -> None:
        raise StoreError("The disk is full.", "Free space.")

    with monkeypatch.context() as broken:
        broken.setattr(LocalStore, "put_file", full)
        with pytest.raises(StoreError, match="full"):
            stage.run()
    assert not any(key.endswith("manifest.json") for key in stage.store.keys("adapters/"))
    assert stage.run().counts["reused"] == 0


def test_an_outage_is_no_missing_adapter(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwell(self: LocalStore, key: str) -> bytes:
        raise StoreError("Could not read.", "Wait.")

    monkeypatch.setattr(LocalStore, "exists", lambda self, key: True)
    monkeypatch.setattr(LocalStore, "get", unwell)
    monkeypatch.setattr(train, "_train", lambda *args: pytest.fail("trained again"))
    with pytest.raises(StoreError, match="Could not read"):
        stage.run()


def test_the_key_notices_all_that_determines_an_adapter(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    base = stage.base

    def key(
        of: ModelReference = base, examples: str = "e", section: TrainSection = SECTION, processes: int = 1
    ) -> str:
        return train.trained_key(of, examples, section, processes)

    def student(**changes: Any) -> ModelReference:
        return base.model_copy(update={"student": base.student.model_copy(update=changes)})

    def changed(**changes: Any) -> TrainSection:
        return SECTION.model_copy(update={"training": SECTION.training.model_copy(update=changes)})

    keys = [
        key(),
        key(examples="f"),
        key(section=SECTION.model_copy(update={"seed": 4})),
        key(section=changed(lora_alpha=1)),
        key(processes=2),
        key(section=SECTION.model_copy(update={"objective": Kl()})),
        key(student(revision="c" * 40)),
        key(student(model="team/student")),
        key(student(dtype="bfloat16")),
        key(section=full()),
        key(section=full(learning_rate=1e-2)),
    ]
    # an adapter's settings say nothing about all weights, and the other way round
    assert key(section=full(lora_rank=7)) == key(section=full())
    # what changes no number: checkpoints, how the number of processes came about
    for same in ({"checkpoint_steps": 5}, {"processes": 1}):
        assert key(section=changed(**same)) == keys[0]
    with (stage.student / "chat_template.jinja").open("a") as stream:
        stream.write(" ")
    keys.append(key(stage.base))
    monkeypatch.setitem(FORMATS, "train", replace(FORMATS["train"], number=99))
    keys.append(key())
    monkeypatch.setattr(train, "library_versions", lambda *names: dict.fromkeys(names, "9.9"))
    keys.append(key())

    assert len(set(keys)) == len(keys)
    assert key(base.model_copy(update={"role": "champion"})) == keys[-1]
