"""sample: how likely the model finds responses behind the original prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thinksafe.config.sections import SampleSection
from thinksafe.records import Prompt, Sample
from thinksafe.run.manifests import read_rows
from thinksafe.sampling.engines import Batch, Generation
from thinksafe.store.local import LocalStore


class Scoring:
    """An engine that scores by length: the nats a token are the tokens."""

    def __init__(self) -> None:
        self.scored: list[tuple[str, int]] = []
        self.busy = False

    def generate(self, conversations: list[Any], *_: Any) -> list[Generation]:
        return [
            Generation("<think>a</think>b", "stop", tokens=place + 1, prompt_tokens=3, ids=(0,) * (place + 1))
            for place, _ in enumerate(conversations)
        ]

    def likelihoods(self, asked: list[Any]) -> list[float]:
        assert not self.busy
        self.scored += [(turns[-1]["content"], len(ids)) for turns, ids in asked]
        return [float(len(ids)) for _, ids in asked]


class Streaming(Scoring):
    def stream(self, batches: Iterator[Batch]) -> Iterator[tuple[int, list[Generation]]]:
        self.busy = True
        for place, batch in enumerate(batches):
            yield place, self.generate(batch.conversations)
        self.busy = False


@pytest.mark.parametrize("kind", [Scoring, Streaming])
def test_steered_responses_are_scored_behind_the_plain_prompt(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], store: LocalStore, prompts: list[Prompt],
    monkeypatch: pytest.MonkeyPatch, kind: type[Scoring],
) -> None:
    engine = kind()
    monkeypatch.setattr("thinksafe.stages.sample.open_engine", lambda *_: engine)
    arms = {"harmful": ("plain", "steered"), "benign": ()}
    _, manifest = ask(sample_section(arms=arms, likelihoods=True))
    rows = list(read_rows(store, manifest, Sample))
    assert {row.arm for row in rows} == {"plain", "steered"}
    assert all(row.nll == row.tokens for row in rows)
    texts = {row.prompt for row in prompts if row.label == "harmful"}
    assert {prompt for prompt, _ in engine.scored} == texts
    assert len(engine.scored) == len(rows)


def test_nothing_is_scored_unasked_or_by_an_engine_that_cannot(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], store: LocalStore, scripted_engine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, unable = ask(sample_section(likelihoods=True))
    engine = Scoring()
    monkeypatch.setattr("thinksafe.stages.sample.open_engine", lambda *_: engine)
    _, unasked = ask(sample_section())
    assert {row.nll for manifest in (unable, unasked) for row in read_rows(store, manifest, Sample)} == {None}
    assert not engine.scored
    assert "nll" not in next(iter(read_rows(store, unasked, Sample))).model_dump_json()
    assert "likelihoods" not in sample_section().model_dump(), "the keys of other samples stay"
