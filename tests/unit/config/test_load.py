"""Configurations: complaints name the key, the line and the nearest known key; overrides reach every place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from config_texts import MICRO, complaint

from thinksafe.config import RealignmentConfig, load_config, recipe_names
from thinksafe.config.load import canonical, config_schema, find_document
from thinksafe.config.moved import REMOVED
from thinksafe.errors import ConfigError

LINES = MICRO.splitlines()


def line_of(start: str) -> int:
    return next(number for number, line in enumerate(LINES, start=1) if line.strip().startswith(start))


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid_and_named_after_their_file(name: str) -> None:
    assert load_config(name).name == name


def test_a_recipe_a_path_and_a_text_are_one_config(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(MICRO)
    assert load_config("micro") == load_config(str(tmp_path / "c.yaml")) == load_config(MICRO)
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + MICRO.encode())
    assert load_config(str(tmp_path / "bom.yaml")) == load_config("micro")


def test_unknown_recipe_names_the_nearest() -> None:
    assert "Did you mean 'micro'?" in complaint("mirco")
    assert "Shipped recipes: micro" in complaint("something/else.yaml")
    assert "Shipped recipes: micro" in complaint("")
    assert "neither a file" in complaint("/")
    assert "name too long" in complaint("x" * 5000)
    assert "neither a file" in complaint("a\0b")


def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"name: \xff\n")
    assert "not UTF-8" in complaint(str(tmp_path / "c.yaml"))
    (tmp_path / "big.yaml").write_text("#" * (3 << 20))
    assert "too many" in complaint(str(tmp_path / "big.yaml"))
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    assert "not a mapping of settings" in complaint(str(tmp_path / "list.yaml"))
    (tmp_path / "empty.yaml").write_text("")
    assert "not a mapping of settings" in complaint(str(tmp_path / "empty.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seed: 42", "sede: 42", "sede (line {}): unknown key; did you mean 'seed'?"),
        ("  parallelism: 2\n  chunk_size: 128\nguard", "  paralelism: 2\n  chunk_size: 128\nguard",
         "sampling.paralelism (line {}): unknown key; did you mean 'parallelism'?"),
        ("split: train, count: 200}\n  benign", "spilt: train, count: 200}\n  benign",
         "data.harmful.0.prompts.spilt (line {}): unknown key; did you mean 'split'?"),
        ("metric: harm", "metrics: harm",
         "evaluation.benchmarks.0.metrics (line {}): unknown key; did you mean 'metric'?"),
        ("filter: {kind: micro-exact}", "filter: {kind: micro-exact, qqqqq: 1}",
         "guard.filter.qqqqq (line {}): unknown key; known keys: "),
        ("settings: {temperature: 0.6, top_p: 0.95, max_tokens: 48}\n  parallelism",
         "settings: {temprature: 0.6}\n  parallelism",
         "sampling.settings.temprature (line {}): unknown key; did you mean 'temperature'?"),
    ],
)
def test_unknown_key(old: str, new: str, expected: str) -> None:
    assert MICRO.count(old) == 1
    text = MICRO.replace(old, new)
    wrong = new.strip().splitlines()[0]
    line = next(number for number, found in enumerate(text.splitlines(), start=1) if wrong in found)
    assert expected.format(line) in complaint(text)


@pytest.mark.parametrize("pattern", REMOVED)
def test_a_key_of_an_earlier_version_is_told_what_became_of_it(pattern: str) -> None:
    path = pattern.replace("*.prompts.*", "data.harmful.0.prompts.answer").replace("guard.*", "guard.filter")
    found = complaint("micro", f"{path.replace('*', 'train')}=1")
    assert f": there is no such key any more; {REMOVED[pattern]}" in found


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=three", "seed: Input should be a valid integer, not 'three'"),
        ("seed=-1", "seed: Input should be greater than or equal to 0, not -1"),
        ("seed=yes", "seed: Input should be a valid integer, not True"),
        ("training.epochs=true", "training.epochs: Input should be a valid integer, not True"),
        ("training.epochs=1.5", "training.epochs: Input should be a valid integer"),
        ("evaluation.parallelism='2'", "evaluation.parallelism: Input should be a valid integer"),
        ("evaluation.parallelism=2000", "evaluation.parallelism: Input should be less than or equal to 1000, not 2000"),
        ("sampling.parallelism=0", "sampling.parallelism: Input should be greater than 0, not 0"),
        ("gate.harm.max=1.5", "gate.harm.max: Input should be less than or equal to 1"),
        ("gate.alpha=.nan", "gate.alpha: Input should be "),
        ("training.learning_rate=.inf", "training.learning_rate: Input should be a finite number"),
        ("training.max_grad_norm=.inf", "training.max_grad_norm: Input should be a finite number"),
        ("training=5", "training: Input should be a mapping, not 5"),
        ("training.target_modules=q_proj", "training.target_modules: Input should be a list, not 'q_proj'"),
        ("data.harmful={}", "data.harmful: Input should be a list"),
        ("data.harmful=[]", "data.harmful: List should have at least 1 item, not 0"),
        ("name=Bad Name", "name: String should match pattern"),
        ("name=2024-01-01", "name: Input should be a valid string"),
        ("method.kind=magic", "Input tag 'magic' found using 'kind'"),
        ("student.dtype=float16", "student.dtype: Input should be 'float32' or 'bfloat16', not 'float16'"),
        ("data.harmful.0.prompts.source=jsnol", "Input tag 'jsnol' found using 'source'"),
        ("data.harmful.0.prompts.count=0", "data.harmful.0.prompts.count: Input should be greater than 0"),
        ("data.harmful.0.prompts={count: 5}", "Unable to extract tag using discriminator 'source'"),
        ("guard.filter.kind=llama", "guard.filter.kind: Input should be 'qwen3guard'"),
        ("registry=~", "registry: Input should be a mapping"),
        ("registry={}", "registry.model: required key is missing"),
        ("method.steering=x", "method.steering: There is no steering template 'x'. Use one of: both, intent"),
        ("training.batch_size=12", "batch_size 12 is not a multiple of 16"),
        ("evaluation.parts=[answer]", "parts must include 'whole'"),
        ("evaluation.parts=[whole, whole]", "parts must include 'whole', and none twice"),
        ("evaluation.parts=[hole]", "evaluation.parts.0: Input should be 'whole', 'thought' or 'answer', not 'hole'"),
        ("gate.harm.part=prompt", "gate.harm.part: Input should be"),
        ("student.reasoning=none", "student.reasoning is none: there is nothing to score"),
        ("evaluation.benchmarks.2.metric=over_refusal", "evaluation.benchmarks has no gated benchmark for reasoning"),
        ("evaluation.benchmarks.1.name=micro-harm", "two benchmarks have the name"),
        ("on=1", "on: "),
        ("1=1", "1: unknown key"),
        (".=1", ": unknown key"),
    ],
)
def test_wrong_value(override: str, expected: str) -> None:
    found = complaint("micro", override)
    assert expected in found
    assert "pydantic" not in found
    assert "validation error" not in found
    assert f"{override.partition('=')[0]} (line" not in found, "what an override set has no line in the file"


def test_gate_part_that_is_not_scored() -> None:
    found = complaint("micro", "gate.harm.part=answer", "evaluation.parts=[whole]")
    assert "gate.harm.part is 'answer', which evaluation.parts does not score" in found


def test_wrong_value_in_a_file_names_its_line() -> None:
    found = complaint(MICRO.replace("  dtype: float32", "  dtype: float99"))
    assert f"student.dtype (line {line_of('dtype')}): Input should be 'float32' or 'bfloat16', not 'float99'" in found


def test_several_complaints_come_at_once() -> None:
    found = complaint("micro", "seed=x", "gate.harm.max=2", "nothing=1")
    assert len([line for line in found.splitlines() if line.startswith("  ")]) == 3


def test_long_values_are_not_repeated_whole() -> None:
    assert len(complaint("micro", "seed=" + "x" * 10_000)) < 500


def test_missing_keys_are_named() -> None:
    document = yaml.safe_load(MICRO)
    del document["evaluation"], document["student"]["model"]
    found = complaint(yaml.safe_dump(document))
    assert "evaluation: required key is missing" in found
    assert "student.model" in found


def test_keys_that_are_no_text() -> None:
    assert "on" in complaint(MICRO + "on: 1\n").lower() or "true" in complaint(MICRO + "on: 1\n").lower()
    assert "not a valid configuration" in complaint(MICRO + "1: x\n")


@pytest.mark.parametrize(
    "date", ["2026-02-30", "'2026-02-30'", "2026-13-01", "tomorrow", "2026-1-5", "1.5", "20260101", "2026-02-28 10:00"]
)
def test_a_date_that_is_none(date: str) -> None:
    problem = complaint("micro", f"gate.waivers=[{{check: a, person: b, reason: c, expires: {date}}}]")
    assert "gate.waivers.0.expires" in problem
    assert "YYYY-MM-DD" in problem


def test_extends() -> None:
    text = "extends: micro\nname: mine\nstudent: {dtype: bfloat16}\nevaluation: {parts: [whole]}\n"
    config, micro = load_config(text), load_config("micro")
    assert (config.name, config.student.dtype, config.student.model) == ("mine", "bfloat16", micro.student.model)
    assert config.evaluation.parts == ("whole",), "lists are replaced, not joined"
    assert config.evaluation.benchmarks == micro.evaluation.benchmarks
    assert "did you mean 'seed'" in complaint(text + "sede: 1\n")
    assert "sede (line 5)" in complaint(text + "sede: 1\n")


def test_micro_kl_is_micro_but_for_the_loss_of_benign_rows() -> None:
    changes = {"name": "micro-kl", "registry.model": "micro-kl", "method.benign_loss": "kl"}
    assert load_config("micro-kl") == load_config("micro", [f"{key}={value}" for key, value in changes.items()])


def test_batches_are_shared_out_among_processes() -> None:
    assert load_config("micro", ["training.processes=4"]).training.processes == 4
    assert "batch_size 16 is not a multiple of processes, 3" in complaint("micro", "training.processes=3")


def test_extends_a_recipe_that_extends_another() -> None:
    mine = load_config("extends: micro-rejection\nname: mine\nseed: 7\n")
    assert (mine.name, mine.method.kind, mine.seed) == ("mine", "rejection", 7)
    assert mine.data == load_config("micro").data


@pytest.mark.parametrize("name", ["nothing", "/etc/passwd", "[micro]", "3"])
def test_extends_shipped_recipes_only(name: str) -> None:
    assert "not a shipped recipe" in complaint(f"extends: {name}\nname: mine\n")


def test_a_file_of_the_recipes_name_is_not_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "micro").write_text("extends: micro\nname: mine\n")
    monkeypatch.chdir(tmp_path)
    assert load_config("micro").data == load_config(MICRO).data


def test_canonical_form_is_a_config_of_its_own() -> None:
    config = load_config("micro")
    assert RealignmentConfig.model_validate(canonical(config)) == config
    assert load_config(yaml.safe_dump(canonical(config))) == config
    assert find_document("micro").text == MICRO


def test_schema_describes_every_key() -> None:
    schema = config_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    undescribed = []
    for name, definition in {"RealignmentConfig": schema, **schema["$defs"]}.items():
        if not definition.get("description"):
            undescribed.append(name)
        for key, item in definition.get("properties", {}).items():
            target = schema["$defs"].get(item.get("$ref", "").rpartition("/")[2], {})
            if not (item.get("description") or target.get("description")):
                undescribed.append(f"{name}.{key}")
        assert definition.get("additionalProperties") is False or "properties" not in definition, name
    assert undescribed == []


def test_defaults_are_the_published_recipe() -> None:
    """METHOD.md section 2."""
    document = yaml.safe_load(MICRO)
    del document["training"], document["sampling"]
    config = RealignmentConfig.model_validate(document)
    training = config.training
    assert (training.lora_rank, training.lora_alpha, training.lora_dropout) == (32, 16, 0.05)
    assert (training.learning_rate, training.warmup_ratio, training.batch_size, training.epochs) == (1e-5, 0.1, 8, 3)
    assert (training.max_length, training.max_grad_norm, config.seed) == (16384, 1.0, 42)
    sampling = config.sampling.settings
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens, config.sampling.n) == (0.6, 0.95, 16384, None)


@pytest.mark.parametrize("text", ['{"extends": "micro", "seed": 3}', "{extends: micro, seed: 3}"])
def test_a_document_may_be_one_line(text: str) -> None:
    assert load_config(text).seed == 3


def test_a_file_of_one_line_without_an_end_is_a_document_in_the_pipeline_too(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("extends: micro")
    assert load_config(find_document(str(tmp_path / "c.yaml")).text).name == "micro"


def test_an_old_configuration_is_told_what_to_write() -> None:
    old = "name: old\nextends: micro\nmethod: thinksafe\nsteering: {template: x}\ntraining: {benign_loss: ce}\n"
    with pytest.raises(ConfigError) as caught:
        load_config(old)
    for line, key, now in (
        (3, "method", "method.kind"), (4, "steering.template", "method.steering"),
        (5, "training.benign_loss", "method.benign_loss"),
    ):
        assert f"  {key} (line {line}): is now {now}" in caught.value.problem
    assert "`method: {kind: thinksafe, steering: x, benign_loss: cross-entropy}`" in caught.value.action
    for override in ("method=rejection", "steering.enabled=false"):
        with pytest.raises(ConfigError) as caught:
            load_config("micro", [override])
        assert "`method: {kind: rejection}`" in caught.value.action
