"""The stage sample with a choice of prompts: seeded, and of single turns only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.sections import SampleSection
from thinksafe.errors import InputError
from thinksafe.records import Prompt, Sample
from thinksafe.run.manifests import read_manifest, read_rows
from thinksafe.run.record import StageContext
from thinksafe.stages import sample
from thinksafe.store.local import LocalStore


@pytest.fixture
def chosen(
    tmp_path: Path, make_context: Callable[..., StageContext], base_file: Path, write_prompts: Callable[..., Path],
    sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore,
) -> Callable[..., list[str]]:
    def choose(rows: list[Prompt], **changed: Any) -> list[str]:
        section = sample_section().model_copy(update=changed)
        out = tmp_path / "samples.json"
        sample.run(make_context("sample"), section, base_file, write_prompts(rows), samples_out=out)
        return sorted({row.prompt.id for row in read_rows(store, read_manifest(out), Sample)})

    return choose


def test_a_seeded_choice(chosen: Callable[..., list[str]], make_prompt: Callable[..., Prompt]) -> None:
    rows = [make_prompt(f"b-{n:02d}") for n in range(20)]
    first = chosen(rows, prompts=5, seed=1)
    assert len(first) == 5
    assert chosen(rows[::-1], prompts=5, seed=1) == first
    assert chosen(rows, prompts=5, seed=2) != first
    assert len(chosen(rows, prompts=50)) == len(chosen(rows, prompts=0)) == 20


def test_single_turns_only(chosen: Callable[..., list[str]], make_prompt: Callable[..., Prompt]) -> None:
    others = [make_prompt("t", turns=("a", "b")), make_prompt("o", opening="<think>\nI")]
    assert chosen([*others, make_prompt("b-0")], prompts=5) == ["b-0"]
    with pytest.raises(InputError, match="no single-turn prompt"):
        chosen(others, prompts=5)
