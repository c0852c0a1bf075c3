"""The GPU recipes: what they say, that they compile, and that they run with tiny models of the same families."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from micro_runs import execute
from tiny_guards import settings_for, write_guard
from tiny_students import BENIGN, HARMFUL, PROBLEMS, teach, write_student

from thinksafe.config import RealignmentConfig, load_config, sections_of
from thinksafe.config.guard_kinds import KINDS
from thinksafe.config.load import load_suite, recipe_names
from thinksafe.deciding.feasibility import gate_feasibility
from thinksafe.methods.thinksafe import ThinkSafe
from thinksafe.store import open_store

# recipe: hub id, GPUs of a sampling task, top_k of the training samples
RECIPES = {
    "qwen3-0.6b": ("Qwen/Qwen3-0.6B", 1, 20),
    "qwen3-1.7b": ("Qwen/Qwen3-1.7B", 1, 20),
    "qwen3-4b": ("Qwen/Qwen3-4B", 1, 20),
    "qwen3-8b": ("Qwen/Qwen3-8B", 1, 20),
    "qwen3-14b": ("Qwen/Qwen3-14B", 2, 20),
    "qwen3-32b": ("Qwen/Qwen3-32B", 4, 20),
    "r1-distill-1.5b": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1, 0),
    "r1-distill-7b": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 1, 0),
    "r1-distill-8b": ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", 1, 0),
}
RIVALS = ("qwen3-0.6b-star-1", "qwen3-0.6b-full", "qwen3-0.6b-safechain", "qwen3-0.6b-safekey", "qwen3-8b-safekey")
"""Recipes that train a student on the data of other papers."""
ON_POLICY = tuple(
    f"{student}-{kind}" for student in ("qwen3-0.6b", "qwen3-8b")
    for kind in ("grpo", "on-policy-distillation", "self-distillation")
)
"""Recipes whose training samples the responses itself."""
COMMIT = re.compile(r"[0-9a-f]{40}")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_the_published_one(recipe: str) -> None:
    """METHOD.md section 2, number by number."""
    config = load_config(recipe)
    model, gpus, top_k = RECIPES[recipe]
    assert (config.name, config.registry.model, config.student.model) == (recipe, recipe, model)
    assert (config.method.kind, config.student.reasoning, config.student.dtype) == ("thinksafe", "think", "bfloat16")
    assert config.method == ThinkSafe()
    assert (config.engine.kind, config.engine.tensor_parallel_size) == ("vllm", gpus)
    assert config.engine.options["max_model_len"] - 32768 >= 4096, "room for the longest prompt"
    sampling = {"temperature": 0.6, "top_p": 0.95, "top_k": top_k, "max_tokens": 16384}
    assert config.sampling.settings.model_dump() == sampling
    assert sections_of(config).sample_training.n == 1
    evaluation = config.evaluation
    assert evaluation.settings.model_dump() == sampling | {"top_k": 0}
    assert evaluation.settings_reasoning is not None
    assert evaluation.settings_reasoning.model_dump() == sampling | {"top_k": 0, "max_tokens": 32768}
    assert (evaluation.n, evaluation.n_reasoning) == (1, 8)
    training = config.training
    assert (training.lora_rank, training.lora_alpha, training.lora_dropout) == (32, 16, 0.05)
    assert training.target_modules == ("q_proj", "v_proj")
    assert (training.learning_rate, training.warmup_ratio, training.batch_size, training.epochs) == (1e-5, 0.1, 8, 3)
    assert (training.max_length, training.max_grad_norm, config.seed) == (16384, 1.0, 42)
    assert training.strategy == ("fsdp" if recipe == "qwen3-32b" else "ddp"), "its 66 GB leave no room on one GPU"
    assert (config.guard.filter.kind, config.guard.evaluate.kind) == ("granite-guardian-3.3", "qwen3guard")
    guards = [KINDS[guard.kind] for guard in (config.guard.filter, config.guard.evaluate)]
    assert not any(about.gated for about in guards)


NAMES = {
    "ibm-granite/granite-guardian-3.3-8b": "Granite Guardian 3.3 8B", "Qwen/Qwen3Guard-Gen-4B": "Qwen3Guard-Gen 4B",
    "meta-llama/Llama-Guard-3-8B": "Llama-Guard-3 8B",
}
WORDS = {"micro-exact": "its grammar", "refusal-match": "refusal phrases"}
"""How docs/recipes.md names guards with weights and those without."""


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_page_says_which_guards_judge(recipe: str) -> None:
    guards = load_suite(recipe).guard if recipe == "paper" else load_config(recipe).guard
    first, second = (NAMES[of.model] if of.model else WORDS[of.kind] for of in (guards.filter, guards.evaluate))
    if recipe == "paper":
        first = "none"
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    name = "micro" if recipe.startswith("micro") else recipe
    [row] = [line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
    assert f"| {first}, {second} |" in row


def test_the_pair_with_terms_is_one_line_away() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    [line] = re.findall(r"--set '(guard=.*?)'`", page, re.DOTALL)
    guard = load_config("qwen3-4b", [" ".join(line.split())]).guard
    assert [(one.kind, one.backend) for one in (guard.filter, guard.evaluate)] == [
        ("llama-guard-3", "vllm"), ("wildguard", "vllm"),
    ]
    assert all(COMMIT.fullmatch(one.revision) for one in (guard.filter, guard.evaluate))


@pytest.mark.parametrize("recipe", RIVALS)
def test_rivals_are_measured_as_the_recipe_is(recipe: str) -> None:
    config, own = load_config(recipe), load_config(recipe[: recipe.index("b-") + 1])
    assert (config.student, config.evaluation, config.guard, config.gate) == (
        own.student, own.evaluation, own.guard, own.gate
    )
    assert sections_of(config).sample_training.arms["harmful"] == ("given",)


@pytest.mark.parametrize("recipe", ON_POLICY)
def test_training_that_samples_is_measured_as_the_recipe_is(recipe: str) -> None:
    config, own = load_config(recipe), load_config(recipe[: recipe.index("b-") + 1])
    assert (config.student, config.evaluation, config.gate) == (own.student, own.evaluation, own.gate)
    assert (config.guard.filter, config.guard.evaluate) == (own.guard.filter, own.guard.evaluate)
    assert config.method.kind == recipe.removeprefix(f"{own.name}-")
    training = config.training
    epochs = 3 if config.method.kind == "self-distillation" else 1
    assert (training.learning_rate, training.batch_size, training.epochs) == (1e-5, 64, epochs)
    assert training.target_modules == ("q_proj", "v_proj")
    teacher = config.method.other()
    reward = sections_of(config).train.guard
    assert all(COMMIT.fullmatch(of.revision) for of in (teacher, reward) if of is not None)


def test_the_suite_of_the_paper() -> None:
    suite = load_suite("paper")
    assert suite.guard.evaluate.kind == "llama-guard-3"
    wordings = {of.name: of.wording for of in suite.evaluation.benchmarks if of.metric == "reasoning"}
    assert wordings == dict.fromkeys(("aime-2024", "gsm8k", "math-500", "gpqa-diamond"), "paper")
    assert {of.name for of in suite.evaluation.benchmarks} == {
        of.name for of in load_config("qwen3-0.6b").evaluation.benchmarks
    }
    reasoning = suite.evaluation.settings_reasoning
    assert reasoning is not None
    assert (reasoning.top_k, reasoning.max_tokens, suite.evaluation.n_reasoning) == (20, 32768, 8)


@pytest.mark.parametrize("recipe", RECIPES)
def test_models_are_pinned(recipe: str) -> None:
    config = load_config(recipe)
    for pinned in (config.student, config.guard.filter, config.guard.evaluate):
        assert COMMIT.fullmatch(pinned.revision), pinned


def sets(config: RealignmentConfig) -> dict[str, Any]:
    return {item.name: item for item in (*config.data.harmful, *config.data.benign, *config.evaluation.benchmarks)}


def test_prompt_sets() -> None:
    config = load_config("qwen3-0.6b")
    metrics: dict[str, list[str]] = {}
    for benchmark in config.evaluation.benchmarks:
        metrics.setdefault(benchmark.metric, []).append(benchmark.name)
    assert metrics == {
        "harm": ["harmbench", "strongreject", "wildjailbreak"], "over_refusal": ["xstest"],
        "reasoning": ["aime-2024", "gsm8k", "math-500", "gpqa-diamond"],
    }
    found = sets(config)
    assert found["safechain-harmful"].prompts.contains == {"label": "harmful"}
    sizes = [benchmark.size for benchmark in config.evaluation.benchmarks]
    assert sizes == [200, 313, 2000, 250, 30, 1319, 500, 198]
    unpinned = {name for name, item in found.items() if not COMMIT.fullmatch(item.prompts.revision)}
    assert unpinned == {"safechain-harmful", "safechain-benign"}, "no commit of SafeChain could be learnt"


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_differ_in_nothing_but_the_model(recipe: str) -> None:
    base, other = (load_config(name).model_dump() for name in ("qwen3-0.6b", recipe))
    for document in (base, other):
        for section, key in (("student", "model"), ("student", "revision"), ("engine", "tensor_parallel_size")):
            del document[section][key]
        del document["training"]["strategy"]
        del document["name"], document["registry"]["model"], document["sampling"]["settings"]["top_k"]
    assert base == other


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_gate_of_a_recipe_can_pass(recipe: str) -> None:
    findings = gate_feasibility(load_config(recipe))
    assert [finding for finding in findings if finding.level == "error"] == []
    assert not [finding for finding in findings if "not known" in finding.message], "every benchmark has its count"


@pytest.mark.parametrize("recipe", [*RECIPES, *RIVALS, *ON_POLICY, "paper"])
def test_a_recipe_compiles(recipe: str, tmp_path: Path, cli: Any) -> None:
    from kfp import components

    path = tmp_path / "pipeline.yaml"
    ended = cli("compile", recipe, "-o", path)
    assert ended.code == 0, ended.err
    pipeline = components.load_component_from_file(str(path))
    document = str(pipeline.component_spec.inputs["config"].default)
    assert load_config(document) == load_config(recipe), "the compiled default is the recipe"


def test_every_gpu_recipe_is_listed_here() -> None:
    assert set(RECIPES) == {name for name in recipe_names() if load_config(name).engine.kind == "vllm"} - {
        "smollm2", "paper", *RIVALS, *ON_POLICY
    }


def test_a_tuned_model_extends_the_recipe_of_its_family(tmp_path: Path) -> None:
    text = f"extends: r1-distill-7b\nname: ours\nstudent: {{model: {tmp_path}, revision: ''}}\n"
    ours, recipe = load_config(text), load_config("r1-distill-7b")
    assert (ours.student.model, ours.sampling, ours.training) == (str(tmp_path), recipe.sampling, recipe.training)


def rows(path: Path, prefix: str, texts: list[str], **fields: str) -> dict[str, str]:
    """Write a JSON Lines file and return it as a source."""
    lines = [{"id": f"{prefix}-{place}", "prompt": text, **fields} for place, text in enumerate(texts)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return {"source": "jsonl", "path": str(path)}


def small(folder: Path, student: Path) -> list[str]:
    """Return the overrides that put a tiny student, local prompts and small numbers into a recipe."""
    harmful, benign = rows(folder / "h", "h", HARMFUL[:8]), rows(folder / "b", "b", BENIGN[:8])
    benchmarks = [
        {"name": "harm", "metric": "harm", "prompts": rows(folder / "eh", "eh", HARMFUL[8:])},
        {"name": "refusal", "metric": "over_refusal", "prompts": rows(folder / "eb", "eb", BENIGN[8:])},
        {"name": "sums", "metric": "reasoning", "prompts": rows(folder / "ep", "ep", PROBLEMS, answer="7")},
        {"use": "mild-conversations", "name": "held", "prompts": {"count": 3}},
        {
            "use": "mild-requests", "name": "asked", "prompts": {"count": 3}, "transforms": ["escalation"],
            "thinking": ["no-thought", "short-thought"],
        },
    ]
    values = {
        "student": {"model": str(student), "dtype": "float32"},
        "data.harmful": [{"name": "harmful", "prompts": harmful}],
        "data.benign": [{"name": "benign", "prompts": benign}],
        "engine": {"kind": "transformers", "batch_size": 16, "threads": 1},
        "sampling.settings.max_tokens": 40,
        "guard": {"filter": {"kind": "refusal-match"}, "evaluate": {"kind": "refusal-match"}},
        "diagnose": {"prompts": 8, "on_failure": "warn"},
        "training.threads": 1,
        "evaluation.benchmarks": benchmarks,
        "evaluation.settings.max_tokens": 40,
        "evaluation.settings_reasoning.max_tokens": 44,
        "evaluation.n_reasoning": 2,
        "gate.min_prompts": 1, "gate.harm.max": 1.0, "gate.over_refusal.max": 1.0, "gate.reasoning.margin": 1.0,
    }
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ON_POLICY[:3])
def test_training_that_samples_runs_with_a_tiny_student(recipe: str, tmp_path: Path) -> None:
    student = teach(write_student("qwen3", tmp_path / "student"))
    granite = "granite-guardian-3.3"
    reward = settings_for(granite, write_guard(granite, tmp_path / "guard", "safe"))
    guards = {
        "filter": {"kind": "refusal-match"}, "evaluate": {"kind": "refusal-match"},
        "reward": reward.model_dump(mode="json", exclude_defaults=True),
    }
    values: dict[str, Any] = {"method.max_tokens": 40, "training.batch_size": 8, "training.checkpoint_steps": 2}
    if recipe.endswith("grpo"):
        values["guard"] = guards
    elif recipe.endswith("on-policy-distillation"):
        values["method.teacher"] = {"model": str(student), "dtype": "float32"}
    else:  # this student refuses benign prompts in every context, so that a search would find none
        values["method.context"] = "risk"
    overrides = [*small(tmp_path, student), *(f"{key}={json.dumps(value)}" for key, value in values.items())]
    run = execute(tmp_path / "run", recipe, *(word for override in overrides for word in ("--set", override)))
    assert run.code in (0, 3), run.text
    train = run.records["train"]
    assert train["counts"]["rows"] == 16, "every prompt"
    assert train["counts"]["responses"] == 8 * train["counts"]["steps"] > 0
    assert train["counts"]["response_tokens"] > 0
    assert all("mean_length" in point for point in train["details"]["curve"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "family"),
    [("qwen3-0.6b", "qwen3"), ("r1-distill-1.5b", "r1-distill-qwen"), ("r1-distill-8b", "r1-distill-llama")],
)
def test_a_recipe_runs_with_a_tiny_student_of_its_family(recipe: str, family: str, tmp_path: Path) -> None:
    student = teach(write_student(family, tmp_path / "student"))
    before = (student / "tokenizer_config.json").read_bytes()
    options = [word for override in small(tmp_path, student) for word in ("--set", override)]
    run = execute(tmp_path / "run", recipe, *options)
    assert run.code in (0, 3), run.text
    decision = run.read("decision.json")
    assert decision["stopped_by"] in (None, "gate")
    checks = {check["name"] for check in decision["checks"]}
    assert {"harm/harm", "over_refusal/refusal", "reasoning/margin"} <= checks
    records = run.records
    funnel = {(row["label"], row["reason"]): row["count"] for row in records["curate"]["details"]["funnel"]}
    assert funnel["harmful", "accepted"] > 0
    assert funnel["benign", "accepted"] > 0
    assert records["train"]["counts"]["rows"] == sum(
        count for (_, reason), count in funnel.items() if reason == "accepted"
    ), "every accepted example is trained on, thought and all"
    metrics = run.read("metrics.json")["base"]["metrics"]
    settings = {metric["name"]: metric["settings"]["max_tokens"] for metric in metrics}
    attacks = ["held", "asked-escalation-no-thought", "asked-escalation-short-thought"]
    assert settings == {
        "harm/harm": 40, "over_refusal/refusal": 40, "reasoning/sums": 44, **{f"harm/{name}": 40 for name in attacks}
    }
    assert {metric["benchmark"]: metric["n"] for metric in metrics if metric["n"] == 3} == dict.fromkeys(attacks, 3)
    store = open_store(str(tmp_path / "run" / "store"))
    samples = [
        json.loads(line) for key in store.keys("chunks/") if key.endswith(".jsonl")
        for line in store.get(key).splitlines() if b'"replies":[' in line
    ]
    held = [sample for sample in samples if sample["prompt"]["source"] == "held"]
    assert held
    assert all(len(sample["replies"]) == len(sample["prompt"]["turns"]) - 1 >= 2 for sample in held)
    asked = [sample for sample in samples if sample["prompt"]["source"] == attacks[1]]
    assert asked
    assert all(sample["response"].startswith("<think>\n\n</think>\n\n") for sample in asked)
    assert all(sample["response"].count("<think>") == 1 for sample in asked if sample["finish"] == "stop")
    assert run.metric("base", "reasoning/sums") > 0.5, "thoughts are closed and answers are read"
    assert (student / "tokenizer_config.json").read_bytes() == before
