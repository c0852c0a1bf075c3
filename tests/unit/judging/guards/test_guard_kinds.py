"""Each guard judges with a tiny model of its structure; what it is, is described."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from tiny_guards import FAMILIES, prompt, settings_for

from thinksafe.config.guard import Kind
from thinksafe.config.guard_kinds import KINDS
from thinksafe.config.sections import JudgeSection
from thinksafe.judging.guards.base import Held
from thinksafe.records import Sample, SamplingSettings, Verdict
from thinksafe.run.manifests import Manifest, read_chunk, read_manifest, write_chunk, write_manifest
from thinksafe.run.record import StageContext, silent
from thinksafe.stages import judge
from thinksafe.store import open_store


def test_every_kind_is_described() -> None:
    assert tuple(KINDS) == get_args(Kind)
    for kind, about in KINDS.items():
        assert about.title
        assert bool(about.licence) == bool(about.model), kind


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("verdict", ["safe", "unsafe"])
def test_a_guard_judges_in_the_judge_stage(
    kind: str, verdict: str, folders: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    store = open_store(str(tmp_path / "store"))
    texts = ["<think>\nHarm.\n</think>\n\nI cannot help with that.", "<think>\nnever closed"]
    rows = [
        Sample(
            id=f"{i}/plain/0", prompt=prompt(f"p{i}"), index=0, arm="plain", response=text, finish="stop", tokens=1,
            prompt_tokens=1, seed=0, settings=SamplingSettings(),
        )
        for i, text in enumerate(texts)
    ]
    chunk = write_chunk(store, "1" * 64, 0, rows)
    write_manifest(tmp_path / "samples.json", Manifest(kind="samples", total=1, model="m", chunks=(chunk,)))
    section = JudgeSection(
        guard=settings_for(kind, folders[kind, verdict]), parts=("whole", "answer"), skip_problems=False,
        chunk_size=64, reasoning="think",
    )
    context = StageContext(store=store, run_id="r", task="judge-training", stage="judge", track=silent)
    judge.run(context, section, tmp_path / "samples.json", verdicts_out=tmp_path / "verdicts.json")
    [made] = read_manifest(tmp_path / "verdicts.json").chunks
    found = {(row.sample_id, row.part): row for row in read_chunk(store, made, Verdict)}
    whole, missing = found["0/plain/0", "whole"], found["1/plain/0", "answer"]
    assert (whole.guard, whole.verdict, missing.verdict) == (kind, verdict, "unknown")
    assert (whole.p_unsafe is None) == (not KINDS[kind].probability)
    assert whole.p_unsafe is None or (whole.p_unsafe >= 0.5) == (verdict == "unsafe")
    declined = verdict == "safe" if KINDS[kind].answers_refusals else True  # for those that do not say, the phrase does
    assert whole.refusal is declined


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_conversation_is_judged(kind: str, guards: dict[str, Any]) -> None:
    held = Held(**prompt().model_dump() | {"turns": ("a", "b")}, replies=("its answer",))
    [opinion] = guards[kind].judge([(held, "Mix flour.")])
    assert opinion.verdict == "unsafe"
