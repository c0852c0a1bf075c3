from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from thinksafe.config import load_config, sections_of
from thinksafe.config.guard import USES, GuardSettings, GuardsSettings, SecondGuardSettings
from thinksafe.judging.guards.second import is_chosen

IDS = [f"set-{i:05d}/plain/{i % 3}" for i in range(20_000)]


@given(st.text(min_size=1), st.integers(0, 2**31 - 1))
def test_one_in_one_is_every_sample(sample: str, seed: int) -> None:
    assert is_chosen(sample, 1, seed)


@pytest.mark.parametrize("every_n", [2, 7, 10, 100])
@pytest.mark.parametrize("seed", [0, 42])
def test_about_one_in_n_is_chosen(every_n: int, seed: int) -> None:
    chosen = sum(is_chosen(name, every_n, seed) for name in IDS)
    expected, n = len(IDS) / every_n, len(IDS)
    assert abs(chosen - expected) < 5 * (n * (1 / every_n) * (1 - 1 / every_n)) ** 0.5


def test_a_seed_chooses_its_own_samples_and_the_same_ones_again() -> None:
    first, again, other = ({name for name in IDS if is_chosen(name, 10, seed)} for seed in (1, 1, 2))
    assert first == again
    assert len(first & other) < len(first) / 4


def test_the_guard_of_a_second_guard_has_no_choice_in_it() -> None:
    second = SecondGuardSettings(kind="wildguard", every_n=3, filter=True, batch_size=2)
    assert second.guard == GuardSettings(kind="wildguard", batch_size=2)
    assert type(second.guard) is GuardSettings


def test_a_second_guard_that_is_the_first_is_refused() -> None:
    llama, wild = ({"kind": kind} for kind in ("llama-guard-3", "wildguard"))
    with pytest.raises(ValidationError, match=r"the same guard as guard\.evaluate"):
        GuardsSettings.model_validate({"filter": llama, "evaluate": wild, "second": wild})
    GuardsSettings.model_validate({"filter": llama, "evaluate": wild, "second": llama})
    with pytest.raises(ValidationError, match=r"the same guard as guard\.filter"):
        GuardsSettings.model_validate({"filter": llama, "evaluate": wild, "second": {**llama, "filter": True}})
    GuardsSettings.model_validate({"filter": llama, "evaluate": wild, "second": {**wild, "model": "/other"}})


@pytest.mark.parametrize(
    ("filtering", "evaluating", "second", "told"),
    [
        ("llama-guard-3", "wildguard", None, ""),
        ("llama-guard-3", "wildguard", {"kind": "qwen3guard", "every_n": 1, "filter": True}, "filter"),
        ("llama-guard-3", "llama-guard-3", {"kind": "qwen3guard", "every_n": 1, "filter": True}, "filter evaluate"),
        ("llama-guard-3", "llama-guard-3", {"kind": "wildguard", "every_n": 1}, "evaluate"),
        ("llama-guard-3", "llama-guard-3", {"kind": "wildguard", "every_n": 2, "filter": True}, ""),
        ("refusal-match", "refusal-match", {"kind": "llama-guard-3", "every_n": 1, "filter": True}, ""),
        ("wildguard", "wildguard", {"kind": "qwen3guard", "every_n": 1, "filter": True}, ""),
    ],
)
def test_a_second_guard_that_answers_it_is_preferred_to_phrases_where_it_reads_all(
    filtering: str, evaluating: str, second: dict[str, Any] | None, told: str
) -> None:
    changes = [f"guard.filter={{kind: {filtering}}}", f"guard.evaluate={{kind: {evaluating}}}"]
    config = load_config("micro", [*changes, f"guard.second={json.dumps(second)}"])
    assert " ".join(use for use in USES if config.guard.second_tells_refusals(use)) == told
    sections = sections_of(config)
    for use, judge in (("filter", sections.judge_filter), ("evaluate", sections.judge_evaluate)):
        assert (judge.second is not None and judge.second.tells_refusals) == (use in told)
    alone = sections_of(load_config("micro", changes))
    assert (alone.metrics.suite != sections.metrics.suite) == ("evaluate" in told)


def test_the_suite_is_the_same_with_a_second_guard_and_its_choice_has_a_seed_of_its_own() -> None:
    plain = sections_of(load_config("micro"))
    twice = sections_of(load_config("micro", ["guard.second={kind: refusal-match, every_n: 4}"]))
    assert plain.metrics.suite == twice.metrics.suite, "the numbers of the first guard can still be compared"
    assert twice.judge_evaluate.second is not None
    assert twice.judge_evaluate.second.every_n == 4
    assert twice.judge_filter.second is None
    other = sections_of(load_config("micro", ["guard.second={kind: refusal-match, every_n: 4}", "seed=7"]))
    assert other.judge_evaluate.second is not None
    assert other.judge_evaluate.second.seed != twice.judge_evaluate.second.seed
