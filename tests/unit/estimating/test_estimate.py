"""The estimate of a run: what it counts, where its numbers are from, and how near it is to what was measured."""

from __future__ import annotations

import math
from typing import Any

import pytest
from cluster_configs import cluster_document
from hypothesis import given
from hypothesis import strategies as st
from measured_runs import EXAMPLE, KEPT, LENGTHS, TOKEN_S, TRAINED_S, config_of, leave_run

from thinksafe.config.comparison import load_comparison
from thinksafe.config.load import load_config
from thinksafe.config.suite import SuiteConfig
from thinksafe.errors import ConfigError
from thinksafe.estimating.build import ARITHMETIC, LIMITS, Known, estimate
from thinksafe.estimating.known import known_here, known_in
from thinksafe.estimating.measured import Measured, find_measured
from thinksafe.estimating.model import Estimate, TaskEstimate
from thinksafe.estimating.words import lines, require_within_limit, told
from thinksafe.models.shapes import Shapes
from thinksafe.store.local import LocalStore

NOTHING = Known(Measured(), without_gpus=True)
QWEN = ("diagnose.prompts=8", "data.harmful.0.prompts.count=100", "data.benign.0.prompts.count=100")


def made(config: Any, known: Known = NOTHING) -> Estimate:
    return estimate(config, known, Shapes(hub=False))


def task(of: Estimate, name: str) -> TaskEstimate:
    return next(each for each in of.tasks if each.task == name)


def measured(store: LocalStore, config: Any, **rest: Any) -> Known:
    leave_run(store, config, **rest)
    return known_in(store, config, here=True)


def test_without_a_run_tokens_are_limits_and_hours_are_unknown() -> None:
    of = made(config_of())
    sampled = task(of, "sample-training")
    assert (sampled.prompts, sampled.samples.point) == (400, 400)
    assert sampled.tokens is not None
    assert (sampled.tokens.low, sampled.tokens.point, sampled.tokens.high) == (400, 400 * 48, 400 * 48)
    assert sampled.lengths == LIMITS
    assert sampled.hours is None
    assert of.unit == "hours of this machine"
    assert (of.hours.point, of.known, of.note) == (0, False, None)
    assert "hours unknown" in told(of)
    assert any("sample-training" in sentence for sentence in of.unknown)
    assert of.prompts == 2200


def test_a_pilot_that_searches_for_a_context_counts_every_one_of_them() -> None:
    def pilot(*overrides: str) -> tuple[int, float, int]:
        found = made(load_config("micro-self-distillation", list(overrides)))
        sampled, judged = task(found, "sample-pilot"), task(found, "judge-pilot")
        assert sampled.samples == judged.samples
        return sampled.prompts, sampled.samples.point, round(task(found, "train").samples.point)

    assert pilot() == (128, 64 * (2 + 13) + 64 * (1 + 13), 400)
    assert pilot("method.context=prefix") == (64, 128, 400)


def test_after_a_run_every_task_has_its_lengths_and_times(store: LocalStore) -> None:
    config = config_of()
    records = leave_run(store, config)
    of = made(config, known_in(store, config, here=True))
    assert of.known
    assert of.runs == ("run-1",)
    spent = sum(record.seconds for record in records.values()) / 3600
    assert math.isclose(of.hours.point, spent, rel_tol=1e-6)
    for name, length in LENGTHS.items():
        found = task(of, name)
        assert found.tokens is not None
        assert found.hours is not None
        assert found.lengths == found.speed == "run run-1"
        assert math.isclose(found.tokens.point, found.samples.point * length)
        assert math.isclose(found.hours.point, found.samples.point * length * TOKEN_S / 3600)
    trained = task(of, "train")
    assert trained.samples.point == 400 * KEPT
    assert trained.tokens is not None
    assert trained.tokens.point == 400 * KEPT * EXAMPLE * 3
    assert trained.hours is not None
    assert math.isclose(trained.hours.point, 400 * KEPT * EXAMPLE * 3 * TRAINED_S / 3600)


def test_the_estimate_follows_what_changes(store: LocalStore) -> None:
    known = measured(store, config_of())
    before, more = made(config_of(), known), made(config_of("micro", "training.epochs=6"), known)
    twice = made(config_of("micro", "evaluation.n_reasoning=2"), known)

    def hours(of: Estimate, name: str) -> float:
        found = task(of, name).hours
        assert found is not None
        return found.point

    assert math.isclose(hours(more, "train"), 2 * hours(before, "train"))
    assert math.isclose(hours(twice, "sample-base"), hours(before, "sample-base") * 3000 / 1800)
    assert hours(twice, "train") == hours(before, "train")


@given(st.integers(1, 200), st.integers(1, 200))
def test_more_prompts_never_take_less(first: int, second: int) -> None:
    few, many = sorted((first, second))
    known = _KNOWN
    one, other = (
        made(config_of("micro", f"data.harmful.0.prompts.count={count}", f"diagnose.prompts={count}"), known)
        for count in (few, many)
    )
    for name in ("hours", "tokens", "samples", "storage"):
        for limit in ("low", "point", "high"):
            assert getattr(getattr(one, name), limit) <= getattr(getattr(other, name), limit) * (1 + 1e-9)
    for of in (one, other):
        parts = [each.hours for each in of.tasks if each.hours is not None] + ([of.others] if of.others else [])
        assert math.isclose(of.hours.point, math.fsum(each.point for each in parts), rel_tol=1e-9)
        for each in (*parts, of.hours, of.tokens, of.samples, of.storage):
            assert each.low <= each.point <= each.high


@pytest.fixture(scope="module", autouse=True)
def _known_of_one_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _KNOWN
    _KNOWN = measured(LocalStore(tmp_path_factory.mktemp("store")), config_of())


_KNOWN = NOTHING


def test_a_pilot_gives_lengths_and_speed_for_what_it_did_not_do(store: LocalStore) -> None:
    config = config_of()
    of = made(config, measured(store, config, pilot_only=True))
    sampled = task(of, "sample-training")
    assert sampled.lengths == "pilot of run run-1"
    assert sampled.tokens is not None
    assert sampled.tokens.point == 200 * 28 + 200 * 32
    assert sampled.hours is not None
    assert math.isclose(sampled.hours.point, sampled.tokens.point * TOKEN_S / 3600)
    evaluated = task(of, "sample-base")
    assert evaluated.lengths == f"{LIMITS}, pilot of run run-1", "nobody has measured the problems"
    assert task(of, "train").hours is None
    assert not of.known


def test_reused_work_tells_no_time_so_an_older_run_does(store: LocalStore) -> None:
    config = config_of()
    leave_run(store, config, "old", started=1)
    leave_run(store, config, "new", started=1000, reused=True, pace=0.001)
    leave_run(store, config, "this", started=2000, pace=100)
    of = made(config, known_in(store, config, run_id="this", here=True))
    found = task(of, "sample-candidate")
    assert (found.lengths, found.speed) == ("run new", "run old")
    assert found.hours is not None
    assert math.isclose(found.hours.point, 1800 * LENGTHS["sample-candidate"] * TOKEN_S / 3600)
    assert task(of, "train").speed == "run old"


def test_other_students_settings_and_machines_are_not_compared(store: LocalStore) -> None:
    config = config_of()
    leave_run(store, config)
    assert not find_measured(store, config.student.model_copy(update={"model": "micro://teacher"})).runs
    full = made(config_of("micro-full"), known_in(store, config, here=True))
    assert task(full, "train").hours is None, "all weights take longer than an adapter"
    assert task(full, "sample-base").hours is not None
    wanted = load_config(cluster_document(stages={"sample": {"gpu": {"count": 2}}}))
    on_gpus = made(wanted, known_in(store, config))
    assert on_gpus.unit == "GPU-hours"
    assert task(on_gpus, "sample-base").speed == ARITHMETIC, "a laptop's time says nothing about a GPU's"
    assert task(on_gpus, "sample-base").lengths == "run run-1"


def test_gpu_hours_count_each_gpu(store: LocalStore) -> None:
    config = config_of()
    of = made(config, measured(store, config, gpus=4))
    assert of.unit == "GPU-hours"
    found = task(of, "sample-base")
    assert found.gpus == 4
    assert found.hours is not None
    assert math.isclose(found.hours.point, 4 * 1800 * LENGTHS["sample-base"] * TOKEN_S / 3600)
    assert of.others is None
    priced = made(
        config_of("micro", "cost.gpu_hour=2.5", "cost.currency=EUR"), known_in(store, config, here=True)
    )
    assert priced.money is not None
    assert math.isclose(priced.money.point, 2.5 * of.hours.point)
    assert "EUR" in told(priced)
    assert made(config_of("micro", "cost.gpu_hour=2.5")).money is None, "hours of a machine have no such price"


def test_before_any_run_gpu_hours_are_arithmetic_with_a_wide_range() -> None:
    of = made(config_of("qwen3-8b", *QWEN), Known(Measured()))
    found = task(of, "sample-base")
    assert found.speed == ARITHMETIC
    assert found.hours is not None
    assert found.tokens is not None
    assert found.hours.high / found.hours.point > 3
    seconds = 2 * 8e9 * found.tokens.high / 10e12
    assert math.isclose(found.hours.high, seconds / 3600)
    assert of.known


def test_a_limit_refuses_and_says_what_to_change(store: LocalStore) -> None:
    config = config_of("micro", "cost.limit_gpu_hours=0.1")
    of = made(config, measured(store, config, gpus=1))
    with pytest.raises(ConfigError) as refused:
        require_within_limit(of)
    said = str(refused.value)
    assert "cost.limit_gpu_hours is 0.1" in said
    assert f"{of.hours.point:.3g}" in said
    assert "the largest part is sample-candidate" in said
    assert "prompts.count" in said
    require_within_limit(made(config_of("micro", "cost.limit_gpu_hours=50"), known_in(store, config, here=True)))
    require_within_limit(made(config, NOTHING))  # no GPU, no GPU-hours


def test_a_limit_refuses_what_is_not_known() -> None:
    sets = ["data.harmful.0.prompts.count=1", "cost.limit_gpu_hours=1000000"]
    of = made(config_of("qwen3-8b", *sets), Known(Measured()))
    assert of.unknown[0].startswith("The number of prompts of safechain-benign is unknown")
    with pytest.raises(ConfigError, match="not known: The number of prompts of safechain-benign"):
        require_within_limit(of)


def test_a_champion_is_evaluated_too(store: LocalStore) -> None:
    config = config_of()
    known = measured(store, config)
    with_one = made(config, known._replace(champion=True))
    found = task(with_one, "sample-champion")
    assert found.tokens is not None
    assert found.tokens.point == 1800 * LENGTHS["sample-candidate"]
    assert not [each for each in made(config, known).tasks if each.task.endswith("-champion")]


def test_an_evaluation_and_a_comparison_have_their_tasks(store: LocalStore) -> None:
    known = measured(store, config_of())
    suite = made(SuiteConfig.of(config_of()), known)
    assert [each.task for each in suite.tasks] == ["sample-evaluated", "judge-evaluated", "grade-evaluated"]
    assert task(suite, "sample-evaluated").hours is not None
    compared = made(load_comparison("micro-compare"), known)
    names = [each.task for each in compared.tasks]
    assert len(names) == len(set(names))
    assert names.count("sample-base") == 1
    assert "sample-pilot.thinksafe" in names
    assert "sample-training.thinksafe-kl" not in names, "shared with thinksafe"
    assert {"train.thinksafe-kl", "sample-candidate.thinksafe-kl", "sample-training.rejection"} <= set(names)


@pytest.mark.parametrize(
    ("recipe", "samples", "trained"),
    [
        ("micro-rejection", 2000, 2000), ("micro-grpo", None, 3200), ("micro-teacher", 400, 400),
        ("micro-direct-refusal", None, 200), ("micro-retries", 500, 400),
    ],
)
def test_each_method_has_its_samples(recipe: str, samples: int | None, trained: int) -> None:
    of = made(config_of(recipe))
    names = {each.task for each in of.tasks}
    if samples is None:
        assert "sample-training" not in names
    else:
        assert task(of, "sample-training").samples.point >= samples
    assert task(of, "train").samples.high == trained


def test_each_round_samples_judges_and_trains() -> None:
    of = made(config_of("micro-rounds"))
    for name in ("sample-training", "judge-training", "train"):
        first, last = task(of, f"{name}-round1"), task(of, name)
        assert first.samples == last.samples
    compared = made(load_comparison(
        "extends: micro\ncompare: [{name: one}, {name: two, overrides: {sampling: {rounds: 2}}}]\n"
    ))
    names = [each.task for each in compared.tasks if each.stage == "sample" and "training" in each.task]
    assert names == ["sample-training.one", "sample-training-round1.two", "sample-training.two"]


def test_memory_is_from_the_models_files_or_unknown() -> None:
    of = made(config_of())
    sample, train = (next(each for each in of.memory if each.stage == stage) for stage in ("sample", "train"))
    assert sample.weights == pytest.approx(4 * 474_000, rel=0.01)
    assert sample.cache == 2 * 2 * 4 * 32 * 256 * 4
    assert train.optimizer == 163_840 * 16, "two matrices of rank 32 at each of seven layers, twice"
    nowhere = made(config_of("micro", "student.model=models/nowhere"))
    assert {each.weights for each in nowhere.memory} == {None}
    assert "weights unknown" in "\n".join(lines(nowhere))


def test_memory_is_held_against_the_gpus_asked_for() -> None:
    of = made(load_config(cluster_document(
        extends="qwen3-8b", stages={"sample": {"gpu": {"memory": "16Gi"}}, "train": {"gpu": {"memory": "80Gi"}}},
    ), list(QWEN)))
    found = {each.stage: each.fits for each in of.memory}
    assert found == {"sample": True, "judge": None, "train": True}
    small = made(load_config(cluster_document(
        extends="qwen3-8b", stages={"sample": {"gpu": {"memory": "8Gi"}}},
    ), list(QWEN)))
    assert "DOES NOT FIT" in "\n".join(lines(small))


def test_a_store_that_cannot_be_read_is_a_note(tmp_path: Any) -> None:
    assert "no store" in known_here(config_of(), "").measured.problem
    assert "no folder" in known_here(config_of(), str(tmp_path / "none")).measured.problem
    of = made(config_of(), known_here(config_of(), str(tmp_path / "none")))
    assert any("No earlier run was looked for" in note for note in of.notes)


def test_the_lines_name_every_task_and_the_total(store: LocalStore) -> None:
    config = config_of("micro", "cost.limit_gpu_hours=5")
    of = made(config, measured(store, config))
    text = "\n".join(lines(of))
    assert all(each.task in text for each in of.tasks)
    for word in ("total", "hours of this machine", "storage", "memory", "run run-1", "limit"):
        assert word in text
    assert told(of).startswith("estimate: ")
    assert "by run run-1" in told(of)
    assert Estimate.model_validate_json(of.model_dump_json()) == of
