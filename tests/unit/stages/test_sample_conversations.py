"""sample: conversations of several turns, and who answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.sections import SampleSection, TeacherSection
from thinksafe.models.references import ModelReference
from thinksafe.records import Prompt, Sample
from thinksafe.run.manifests import read_rows
from thinksafe.store.local import LocalStore


def test_conversations_keep_their_replies(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore,
    make_prompt: Callable[..., Prompt],
) -> None:
    rows = [make_prompt("c", turns=("One?", "Two?", "Three?")), make_prompt("d", prompt="Plain?")]
    _, manifest = ask(sample_section(chunk_size=2), rows=rows)
    held, plain = read_rows(store, manifest, Sample)
    assert [turns for turns, _, _ in scripted_engine.calls] == [["One?"], ["Two?"], ["Three?", "Plain?"]]
    assert (len(held.replies), held.tokens, held.finish, held.seed) == (2, 21, "stop", plain.seed)
    assert (plain.replies, plain.tokens) == ((), 7)
    assert len({seed for _, _, seed in scripted_engine.calls}) == 3


def test_a_cut_reply_counts_as_truncated(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore,
    make_prompt: Callable[..., Prompt], monkeypatch: pytest.MonkeyPatch,
) -> None:
    generate = scripted_engine.generate

    def cut_first(conversations: Any, *others: Any) -> Any:
        made = generate(conversations, *others)
        return [replace(one, finish="length") for one in made] if len(conversations[0]) == 1 else made

    monkeypatch.setattr(scripted_engine, "generate", cut_first)
    result, manifest = ask(sample_section(), rows=[make_prompt("c", turns=("One?", "Two?"))])
    (row,) = read_rows(store, manifest, Sample)
    assert row.finish == "length"
    assert result.counts["truncated"] == 1


def test_real_conversations_do_not_depend_on_the_number_of_workers(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], tmp_path: Path, micro_prompts: list[Prompt]
) -> None:
    texts = [row.prompt for row in micro_prompts]
    rows = [row.model_copy(update={"turns": tuple(texts[n : n + 3])}) for n, row in enumerate(micro_prompts)]
    _, whole = ask(sample_section(), rows=rows, store=LocalStore(tmp_path / "one"))
    store = LocalStore(tmp_path / "two")
    _, shared = ask(sample_section(), 2, rows=rows, store=store)
    assert shared.digest == whole.digest
    held = [row for row in read_rows(store, shared, Sample) if row.arm == "plain"]
    assert {len(row.replies) for row in held} == {0, 1, 2}
    assert all(reply.startswith("<think>") for row in held for reply in row.replies)


def test_a_teacher_is_sampled_in_place_of_the_model(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any,
    micro_reference: ModelReference,
) -> None:
    _, own = ask(sample_section())
    teacher = TeacherSection(student=micro_reference.student, digest="another")
    result, manifest = ask(sample_section(teacher=teacher))
    reference = micro_reference.model_copy(update={"base_digest": "another"})
    assert manifest.model == result.inputs["model"] == reference.digest != own.model
    assert not {chunk.key for chunk in manifest.chunks} & {chunk.key for chunk in own.chunks}
