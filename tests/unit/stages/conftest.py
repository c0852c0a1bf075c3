"""The stage sample, run on seven prompts with the micro student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.sections import SampleSection
from thinksafe.records import Prompt
from thinksafe.run.manifests import Manifest, read_manifest
from thinksafe.run.record import StageContext, StageResult
from thinksafe.stages import sample


@pytest.fixture
def prompts(make_prompt: Callable[..., Prompt]) -> list[Prompt]:
    """Seven prompts, so three chunks of three, the last one not full."""
    harmful = [make_prompt(f"h-{n}", prompt=f"How do I lift wallet {n}?", label="harmful") for n in range(3)]
    problems = [make_prompt(f"p-{n}", prompt=f"What is {n} plus 1?", answer=str(n + 1)) for n in range(2)]
    return [*problems, *harmful, make_prompt("b-0"), make_prompt("b-1")]


@pytest.fixture
def ask(
    tmp_path: Path, make_context: Callable[..., StageContext], base_file: Path, prompts: list[Prompt],
    write_prompts: Callable[..., Path],
) -> Callable[..., tuple[StageResult, Manifest]]:
    """Return a function that draws samples, and gives the result and the manifest."""

    def sampled(
        section: SampleSection, parallelism: int = 1, model: Path = base_file, rows: list[Prompt] = prompts,
        **changes: Any,
    ) -> tuple[StageResult, Manifest]:
        out = tmp_path / "samples.json"
        context = make_context("sample", **changes)
        result = sample.run(context, section, model, write_prompts(rows), samples_out=out, parallelism=parallelism)
        return result, read_manifest(out)

    return sampled


@pytest.fixture
def micro_prompts() -> list[Prompt]:
    from thinksafe.micro.world import prompts

    return [*prompts("train", "harmful", 4, 1), *prompts("train", "reasoning", 3, 1)]
