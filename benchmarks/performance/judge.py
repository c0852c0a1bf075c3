"""A model guard, from texts to opinions, against one bare forward pass a row on the same token ids."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result, alternate, rate

ROWS, REPEATS = 24, 6


def measure(model: Path) -> Result:
    """Compare rows a second; the weights and the tokenizer are SmolLM2's, the code is Llama-Guard's."""
    import torch

    from thinksafe.config.model import GuardSettings
    from thinksafe.fetch import fetch_model
    from thinksafe.guards.backends import Backend, Ids, TransformersBackend
    from thinksafe.guards.base import Opinion
    from thinksafe.guards.llama_guard import LlamaGuard
    from thinksafe.guards.model_guard import ModelGuard
    from thinksafe.records import Prompt

    class StandIn(LlamaGuard):
        """Llama-Guard-3 without the check that the tokenizer is its own."""

        def __init__(self, settings: GuardSettings) -> None:
            ModelGuard.__init__(self, settings, 1)
            self._safe, self._unsafe = 0, 1

        def ask(self, backend: Backend, prompts: list[Ids], texts: list[str]) -> list[Opinion]:
            asked.extend(prompts)
            return super().ask(backend, prompts, texts)

    asked: list[Ids] = []
    fetch_model("smollm2", model)
    torch.set_num_threads(1)
    settings = GuardSettings(
        kind="llama-guard-3", model=str(model), backend="transformers", batch_size=8, dtype="float32", max_length=2048
    )
    guard = StandIn(settings)
    draw = random.Random(1)
    words = ("the", "sea", "and", "a", "boat", "under", "an", "old", "bridge", "with", "three", "quiet", "friends")
    rows = [
        (
            Prompt(id=str(place), prompt="What do you see?", label="benign", source="bench"),
            " ".join(draw.choices(words, k=min(300, max(8, round(draw.lognormvariate(4.2, 0.8)))))),
        )
        for place in range(ROWS)
    ]
    guard.judge(rows)  # loads the weights
    prompts = asked[:ROWS]
    backend: Any = guard._backend
    assert isinstance(backend, TransformersBackend)

    def ours() -> float:
        return float(len(guard.judge(rows)))

    def reference() -> float:
        with torch.inference_mode():
            for prompt in prompts:
                backend._model(input_ids=torch.tensor([prompt]), logits_to_keep=1, use_cache=False)
        return float(len(prompts))

    pairs = alternate(
        lambda: rate(ours, time.process_time), lambda: rate(reference, time.process_time), REPEATS
    )
    lengths = sorted(map(len, prompts))
    mine, theirs = pairs.medians
    return Result(
        "judge", "rows a second of the guard, against one forward pass a row (higher is better).", "rows/s", mine,
        theirs, pairs.ratio, pairs.interval, REPEATS, "≥ 0.95", pairs.ratio >= 0.95,
        n=f"{ROWS} rows of {lengths[0]} to {lengths[-1]} tokens (median {lengths[ROWS // 2]}), batches of 8",
        notes=(
            "Ours renders, neutralises, tokenises, shortens, batches and reads the verdict; the reference gets token "
            "ids and does nothing but the pass. A processor is saturated by a single row, so about 1 is what can be "
            "reached on one: a verdict costs one pass and no generation. On a GPU batches are faster. Processor time "
            "on one thread; SmolLM2-135M stands in for Llama-Guard's weights. The target is the project's own."
        ),
    )
