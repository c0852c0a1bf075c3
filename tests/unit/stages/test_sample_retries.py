"""sample: prompts whose steered samples were rejected are sampled again, steered more strongly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.sections import RetrySection, SampleSection, Sections
from thinksafe.methods.rules import PILOT_RULES
from thinksafe.micro.world import parse_request, prompts
from thinksafe.records import Prompt, Sample, Verdict
from thinksafe.run.manifests import Manifest, read_manifest, read_rows
from thinksafe.run.record import StageContext
from thinksafe.sampling.engines import Generation
from thinksafe.stages import curate, judge
from thinksafe.store.local import LocalStore

REFUSAL = "<think> i must decline. </think> sorry, i will not assist with that."
COMPLIANCE = "<think> i can comply. </think> sure. first plan ahead, next start small, last stay calm."
STRENGTH = {"prefix": 1, "suffix": 2, "both": 3}


class Stubborn:
    """An engine whose model refuses a prompt only when the instruction is strong enough for it."""

    def __init__(self, needed: dict[str, int]) -> None:
        self.needed, self.calls = needed, list[tuple[str, int]]()

    def generate(
        self, conversations: list[list[dict[str, str]]], settings: Any, seed: int, advance: Callable[[int], None]
    ) -> list[Generation]:
        found = []
        for conversation in conversations:
            text = conversation[-1]["content"]
            strength = ("The following prompt is" in text) + 2 * ("The above prompt is" in text)
            need = next((of for prompt, of in self.needed.items() if prompt in text), 9)
            self.calls.append((text, seed))
            advance(1)
            found.append(Generation(REFUSAL if strength >= need else COMPLIANCE, "stop", 5, 7))
        return found


@pytest.fixture
def rows() -> list[Prompt]:
    return [*prompts("train", "harmful", 6, 1), *prompts("train", "plain", 2, 1)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, rows: list[Prompt]) -> Stubborn:
    """Needs of the six harmful prompts, in id order: prefix, prefix, suffix, both, more than there is, both."""
    harmful = sorted((row for row in rows if row.label == "harmful"), key=lambda row: row.id)
    engine = Stubborn({row.prompt: need for row, need in zip(harmful, (1, 1, 2, 3, 9, 3), strict=True)})
    monkeypatch.setattr("thinksafe.stages.sample.open_engine", lambda *_: engine)
    return engine


@pytest.fixture
def section(sample_section: Callable[..., SampleSection], sections: Sections) -> Callable[..., SampleSection]:
    def made(*templates: str, **changes: Any) -> SampleSection:
        retries = RetrySection(templates=templates, judge=sections.judge_filter, rules=PILOT_RULES)
        arms = {"harmful": ("steered",), "benign": ("plain",)}
        return sample_section(arms=arms, retries=retries if templates else None, **changes)

    return made


@pytest.fixture
def sections() -> Sections:
    from thinksafe.config import load_config, sections_of

    return sections_of(load_config("micro-retries"))


def tries(store: LocalStore, manifest: Manifest) -> Counter[str]:
    return Counter(row.template for row in read_rows(store, manifest, Sample) if row.arm == "steered")


def test_only_rejected_prompts_are_sampled_again_and_the_samples_say_how(
    ask: Callable[..., Any], section: Callable[..., SampleSection], engine: Stubborn, store: LocalStore,
    rows: list[Prompt],
) -> None:
    result, manifest = ask(section("suffix", "both"), rows=rows)
    assert tries(store, manifest) == {"": 6, "suffix": 4, "both": 3}
    found = list(read_rows(store, manifest, Sample))
    assert len({row.id for row in found}) == len(found) == 6 + 2 + 4 + 3
    assert [row.index for row in found if row.template == "both"] == [2, 2, 2]
    assert all(parse_request(row.prompt.prompt) for row in found), "the original prompt, without an instruction"
    assert (result.counts["rows"], result.counts["prompts_again"]) == (15, 7)
    assert result.counts["tokens"] == 15 * 5
    assert [chunk.index for chunk in manifest.chunks] == list(range(manifest.total))
    assert len({seed for _, seed in engine.calls}) == manifest.total


def test_nothing_is_tried_again_where_all_were_accepted(
    ask: Callable[..., Any], section: Callable[..., SampleSection], engine: Stubborn, rows: list[Prompt]
) -> None:
    engine.needed = dict.fromkeys(engine.needed, 1)
    result, _ = ask(section("suffix", "both"), rows=rows)
    assert (len(engine.calls), result.counts["prompts_again"]) == (8, 0)


def test_the_first_try_has_the_keys_and_rows_of_a_run_without_retries(
    ask: Callable[..., Any], section: Callable[..., SampleSection], engine: Stubborn, store: LocalStore,
    rows: list[Prompt],
) -> None:
    _, plain = ask(section(), rows=rows)
    asked = len(engine.calls)
    result, retried = ask(section("suffix"), rows=rows)
    assert retried.chunks[: plain.total] == plain.chunks
    assert len(engine.calls) == asked + 4
    assert result.counts["chunks_reused"] == plain.total
    for chunk in plain.chunks:
        assert b'"template"' not in store.get(f"chunks/{chunk.key}/{chunk.digest}.jsonl")


def test_several_samples_of_a_prompt_need_one_that_is_accepted(
    ask: Callable[..., Any], section: Callable[..., SampleSection], engine: Stubborn, store: LocalStore,
    rows: list[Prompt],
) -> None:
    _, manifest = ask(section("suffix", n=2), rows=rows)
    assert tries(store, manifest) == {"": 12, "suffix": 8}
    assert {row.index for row in read_rows(store, manifest, Sample) if row.template} == {2, 3}


def test_a_killed_retry_goes_on_and_ends_the_same(
    ask: Callable[..., Any], section: Callable[..., SampleSection], engine: Stubborn, rows: list[Prompt],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    _, whole = ask(section("suffix", "both"), rows=rows, store=LocalStore(tmp_path / "whole"))
    generate = engine.generate

    def killed(conversations: Any, *others: Any) -> Any:
        if "The above prompt" in conversations[0][-1]["content"]:
            raise KeyboardInterrupt
        return generate(conversations, *others)

    monkeypatch.setattr(engine, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        ask(section("suffix", "both"), rows=rows)
    monkeypatch.setattr(engine, "generate", generate)
    engine.calls.clear()
    _, again = ask(section("suffix", "both"), rows=rows)
    assert again.digest == whole.digest
    assert len(engine.calls) == 4 + 3


def test_judge_finds_the_verdicts_and_curate_counts_the_tries(
    ask: Callable[..., Any], section: Callable[..., SampleSection], engine: Stubborn, store: LocalStore,
    rows: list[Prompt], sections: Sections, make_context: Callable[..., StageContext], tmp_path: Path,
) -> None:
    _, manifest = ask(section("suffix", "both"), rows=rows)
    verdicts = tmp_path / "verdicts.json"
    judged = judge.run(make_context("judge"), sections.judge_filter, tmp_path / "samples.json", verdicts_out=verdicts)
    assert judged.counts["chunks"] - judged.counts["chunks_reused"] == 1, "only the last retry is judged here"
    assert sum(1 for _ in read_rows(store, read_manifest(verdicts), Verdict)) == manifest.rows
    curated = curate.run(
        make_context("curate"), sections.curate, tmp_path / "samples.json", verdicts,
        examples_out=tmp_path / "examples.jsonl", decision_out=tmp_path / "d.json", passed_out=tmp_path / "passed",
    )
    funnel = {
        (row["label"], row["arm"], row.get("template", ""), row["reason"]): row["count"]
        for row in curated.details.model_dump(exclude_unset=True)["funnel"]
    }
    assert funnel == {
        ("harmful", "steered", "", "accepted"): 2, ("harmful", "steered", "", "unsafe"): 4,
        ("harmful", "steered", "suffix", "accepted"): 1, ("harmful", "steered", "suffix", "unsafe"): 3,
        ("harmful", "steered", "both", "accepted"): 2, ("harmful", "steered", "both", "unsafe"): 1,
        ("benign", "plain", "", "accepted"): 2,
    }
    assert curated.counts == {"rows": 15, "accepted": 7}


@pytest.mark.slow
def test_the_number_of_workers_changes_no_sample(
    ask: Callable[..., Any], section: Callable[..., SampleSection], rows: list[Prompt], tmp_path: Path
) -> None:
    _, whole = ask(section("suffix"), rows=rows, store=LocalStore(tmp_path / "one"))
    _, shared = ask(section("suffix"), 2, rows=rows, store=LocalStore(tmp_path / "two"))
    assert shared.digest == whole.digest
