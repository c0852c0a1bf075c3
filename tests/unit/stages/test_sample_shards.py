"""sample: shards that work at the same time share the chunks, and hand on what they would have made alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.sections import SampleSection
from thinksafe.records import Prompt
from thinksafe.run.manifests import Manifest, merge_manifests, read_manifest
from thinksafe.run.record import StageContext, StageResult
from thinksafe.sampling import claims
from thinksafe.sampling.engines import Batch, Generation
from thinksafe.stages import sample
from thinksafe.store.local import LocalStore

CHUNKS = 12


@pytest.fixture
def shard(
    tmp_path: Path, make_context: Callable[..., StageContext], base_file: Path, make_prompt: Callable[..., Prompt],
    write_prompts: Callable[..., Path], sample_section: Callable[..., SampleSection],
) -> Callable[..., tuple[StageResult, Manifest]]:
    prompts = write_prompts([make_prompt(f"b-{number:02}") for number in range(CHUNKS)])

    def run(number: int, of: int, **changes: Any) -> tuple[StageResult, Manifest]:
        out = tmp_path / f"samples-{number}.json"
        context = make_context("sample", task=f"sample-{number}", **changes)
        result = sample.run(context, sample_section(chunk_size=1), base_file, prompts, number, of, samples_out=out)
        return result, read_manifest(out)

    return run


def together(shard: Callable[..., Any], numbers: list[int], of: int) -> list[tuple[StageResult, Manifest]]:
    found: dict[int, tuple[StageResult, Manifest]] = {}

    def run(number: int) -> None:
        found[number] = shard(number, of)

    threads = [threading.Thread(target=run, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [found[number] for number in numbers]


def test_a_fast_shard_helps_a_slow_one(
    shard: Callable[..., Any], scripted_engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, whole = shard(0, 1, store=LocalStore(tmp_path / "alone"))
    scripted_engine.calls.clear()
    answer = scripted_engine.generate

    def generate(*given: Any) -> list[Generation]:
        time.sleep(0.3 if threading.current_thread().name == "slow" else 0.01)
        return answer(*given)

    monkeypatch.setattr(scripted_engine, "generate", generate)
    monkeypatch.setattr(sample, "POLL_SECONDS", 0.05)
    found: dict[int, tuple[StageResult, Manifest]] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: shard(n, 2)}), name=name)  # type: ignore[misc]
        for n, name in enumerate(["slow", "quick"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(scripted_engine.calls) == CHUNKS, "no chunk is made twice"
    assert merge_manifests([manifest for _, manifest in found.values()]) == whole
    (slow_result, slow_manifest), (quick_result, _) = found[0], found[1]
    assert [chunk.index for chunk in slow_manifest.chunks] == list(range(0, CHUNKS, 2)), "its own, whoever made them"
    assert slow_result.counts["tokens_new"] < slow_result.counts["tokens"] == quick_result.counts["tokens"]
    assert quick_result.counts["tokens_new"] + slow_result.counts["tokens_new"] == whole.rows * 7
    assert slow_result.counts["chunks_reused"] == quick_result.counts["chunks_reused"] == 0


def test_shards_that_race_make_every_chunk_once(
    shard: Callable[..., Any], scripted_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "POLL_SECONDS", 0.01)
    results = together(shard, [0, 1, 2, 3, 4], 5)
    assert len(scripted_engine.calls) == CHUNKS
    assert [chunk.index for chunk in merge_manifests([m for _, m in results]).chunks] == list(range(CHUNKS))


def test_an_owner_makes_what_a_dead_helper_had_claimed(
    shard: Callable[..., Any], scripted_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_engine.fail_at = 8
    with pytest.raises(KeyboardInterrupt):
        shard(1, 2)  # made its own six and two of the other's, and died at the third
    scripted_engine.fail_at = None
    result, manifest = shard(0, 2)
    assert [chunk.index for chunk in manifest.chunks] == list(range(0, CHUNKS, 2))
    assert result.counts["chunks_reused"] == 2
    assert len(scripted_engine.calls) == CHUNKS
    again, _ = shard(1, 2)
    assert again.counts["chunks_reused"] == 6
    assert len(scripted_engine.calls) == CHUNKS


def test_an_owner_waits_for_a_helper_that_is_alive_and_not_for_a_silent_one(
    shard: Callable[..., Any], scripted_engine: Any, monkeypatch: pytest.MonkeyPatch, store: LocalStore
) -> None:
    """Shard 1 is killed outright: it cannot say that it gives up."""
    monkeypatch.setattr(sample, "POLL_SECONDS", 0.01)
    sign = claims.Claims._sign
    monkeypatch.setattr(claims.Claims, "_sign", lambda self, moment: sign(self, moment) if moment else None)
    scripted_engine.fail_at = 8
    with pytest.raises(KeyboardInterrupt):
        shard(1, 2)
    scripted_engine.fail_at = None
    thread = threading.Thread(target=shard, args=(0, 2))
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive(), "it waits for the claimed chunk"
    assert len(scripted_engine.calls) == CHUNKS - 1
    now = time.time()
    monkeypatch.setattr(claims.time, "time", lambda: now + claims.LEASE + 1)
    thread.join(30)
    assert not thread.is_alive()
    assert len(scripted_engine.calls) == CHUNKS


class Streaming:
    """An engine that ends the batches it has under way in reverse order."""

    window = 4

    def __init__(self) -> None:
        self.most = 0

    def generate(self, *given: Any) -> list[Generation]:
        raise AssertionError("a streaming engine is asked to stream")

    def stream(self, batches: Any) -> Any:
        waiting: list[tuple[int, Batch]] = []
        for place, batch in enumerate(batches):
            waiting.append((place, batch))
            self.most = max(self.most, len(waiting))
            if len(waiting) == self.window:
                yield self._answer(waiting.pop())
        while waiting:
            yield self._answer(waiting.pop())

    def _answer(self, asked: tuple[int, Batch]) -> tuple[int, list[Generation]]:
        place, batch = asked
        batch.advance(len(batch.conversations))
        return place, [
            Generation(f"<think>{row} of seed {batch.seed}</think>Sure.", "stop", tokens=7, prompt_tokens=3)
            for row, _ in enumerate(batch.conversations)
        ]


def test_an_engine_with_several_chunks_under_way_gives_the_same_samples(
    shard: Callable[..., Any], scripted_engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, whole = shard(0, 1)
    engine = Streaming()
    monkeypatch.setattr(sample, "open_engine", lambda *_: engine)
    parts = [shard(number, 2, store=LocalStore(tmp_path / "streamed"))[1] for number in range(2)]
    assert merge_manifests(parts) == whole
    assert engine.most == engine.window
