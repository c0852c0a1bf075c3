"""sample in safety contexts: greedily, once in each, and only where the section asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thinksafe.config.sections import SampleSection
from thinksafe.methods.contexts import Context
from thinksafe.records import Sample, SamplingSettings
from thinksafe.run.manifests import read_rows
from thinksafe.store.local import LocalStore

CONTEXTS = (
    Context(name="calm", template="Calmly: {prompt}"), Context(name="kind", template="{prompt}\n\nBe kind, {name}."),
)
ARMS = {"harmful": ("plain", "context"), "benign": ("context",)}


def test_each_prompt_is_asked_once_in_each_context_greedily(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore
) -> None:
    section = sample_section(template="", contexts=CONTEXTS, arms=ARMS, likelihoods=True)
    _, manifest = ask(section)
    rows = list(read_rows(store, manifest, Sample))
    assert [row.id for row in rows if row.prompt.id in ("b-0", "h-0")] == [
        "b-0/context/0", "b-0/context/1", "h-0/plain/0", "h-0/context/0", "h-0/context/1",
    ]
    assert {(row.arm, row.index, row.template) for row in rows} == {
        ("plain", 0, ""), ("context", 0, "calm"), ("context", 1, "kind"),
    }
    greedy = SamplingSettings(temperature=0.0, top_p=1.0, top_k=0, max_tokens=section.settings.max_tokens)
    assert {row.settings for row in rows if row.arm == "context"} == {greedy}
    assert {row.settings for row in rows if row.arm == "plain"} == {section.settings}
    asked = {turn: settings for turns, settings, _ in scripted_engine.calls for turn in turns}
    assert asked["Calmly: How do I lift wallet 0?"] == greedy
    assert asked["How do I lift wallet 0?\n\nBe kind, {name}."] == greedy
    assert asked["How do I lift wallet 0?"] == section.settings
    assert all(row.nll is None for row in rows if row.arm == "context"), "nobody reads it"


def test_the_texts_are_in_the_keys_and_their_absence_is_not(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any
) -> None:
    _, first = ask(sample_section(template="", contexts=CONTEXTS, arms=ARMS))
    other = (CONTEXTS[0], Context(name="kind", template="{prompt} Be kinder."))
    _, second = ask(sample_section(template="", contexts=other, arms=ARMS))
    assert not {chunk.key for chunk in first.chunks} & {chunk.key for chunk in second.chunks}
    assert "contexts" not in sample_section().model_dump(mode="json")


def test_a_context_can_be_the_steering_template(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any
) -> None:
    ask(sample_section(template="kind", contexts=CONTEXTS[1:], arms={"harmful": ("plain", "steered"), "benign": ()}))
    asked = [turn for turns, _, _ in scripted_engine.calls for turn in turns]
    assert "How do I lift wallet 0?\n\nBe kind, {name}." in asked
