"""Rounds: names of their tasks, and which methods can have several."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.config import load_config, sections_of
from thinksafe.config.rounds import MOST, round_of, round_suffix, tasks_of_rounds, without_round
from thinksafe.errors import ConfigError
from thinksafe.run.record import numbered_task
from thinksafe.stages.due import run_inputs
from thinksafe.store.local import LocalStore


@given(rounds=st.integers(1, MOST), method=st.sampled_from(["", ".thinksafe-2"]), task=st.sampled_from(
    ["train", "sample-training"]
))
def test_every_round_has_names_of_its_own_and_the_last_one_those_of_an_only_one(
    rounds: int, method: str, task: str
) -> None:
    names = [f"{task}{round_suffix(number, rounds)}{method}" for number in range(1, rounds + 1)]
    assert len(set(names)) == rounds
    assert names[-1] == f"{task}{method}"
    assert {without_round(name) for name in names} == {f"{task}{method}"}
    assert sorted(names, key=round_of) == names
    assert {name.removesuffix(method) for name in names} <= set(tasks_of_rounds(task))


def test_no_name_is_taken_for_that_of_an_earlier_version(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for task in tasks_of_rounds("sample-training"):
        store.put(f"runs/run/{task}.json", b"{}")
    assert numbered_task(store, "run") == ""
    assert run_inputs(store, "run") is None


@pytest.mark.parametrize("recipe", ["micro", "micro-rejection", "micro-retries", "micro-no-reasoning", "micro-full"])
def test_a_student_that_writes_its_samples_can_be_sampled_again(recipe: str) -> None:
    one, two = (sections_of(load_config(recipe, [f"sampling.rounds={rounds}"])) for rounds in (1, 2))
    assert one.rounds is None
    assert two.rounds is not None
    assert two.rounds.rounds == 2
    assert one == two.model_copy(update={"rounds": None}), "rounds have the settings, and so the keys, of an only one"


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("micro-grpo", "samples while it trains"), ("micro-self-distillation", "samples while it trains"),
        ("micro-given", "not the student's"), ("micro-teacher", "not the student's"),
        ("micro-safekey", "not the student's"),
    ],
)
def test_others_have_nothing_to_sample_again(recipe: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"sampling\.rounds is 2") as error:
        load_config(recipe, ["sampling.rounds=2"])
    assert why in str(error.value)


@pytest.mark.parametrize("rounds", [0, MOST + 1, 1.5])
def test_the_number_is_small(rounds: float) -> None:
    with pytest.raises(ConfigError, match=r"sampling\.rounds"):
        load_config("micro", [f"sampling.rounds={rounds}"])
