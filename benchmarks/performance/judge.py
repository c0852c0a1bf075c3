"""A model guard, from texts to opinions, against one bare forward pass per row on the same token ids."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result, alternate, rate
from thinksafe.models.fetch import fetch_model

ROWS, LAYERS, REPEATS = 48, 4, 4


def measure(model: Path) -> Result:
    """Compare rows per second; the model has SmolLM2's tokenizer and shape, the code is Llama-Guard's."""
    with tempfile.TemporaryDirectory() as folder:
        fetch_model("smollm2", model)
        shallow(model, Path(folder))
        return compare(Path(folder))


def shallow(model: Path, folder: Path) -> None:
    """Write a model of SmolLM2's width with fewer layers and random weights, and SmolLM2's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig.from_pretrained(model, num_hidden_layers=LAYERS)
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)


def compare(folder: Path) -> Result:
    """Measure with the model in a folder."""
    import torch

    from thinksafe.config.model import GuardSettings
    from thinksafe.judging.guards.backends import Backend, Ids, TransformersBackend
    from thinksafe.judging.guards.base import Opinion
    from thinksafe.judging.guards.llama_guard import LlamaGuard
    from thinksafe.judging.guards.rendering import Encoder, load_format
    from thinksafe.judging.guards.weights import GuardModel
    from thinksafe.records import Prompt

    class StandIn(LlamaGuard):
        """Llama-Guard-3 without the check that the tokenizer is Llama-Guard's."""

        def __init__(self, settings: GuardSettings) -> None:
            self.settings, self.model, self.format = settings, GuardModel(settings), load_format(self.name)
            self.model.tokenizer.bos_token = None  # SmolLM2's is not in Llama-Guard's frame
            self.encoder = Encoder(self.format, self.model.tokenizer, settings.max_length - 1)
            self._backend = None
            self._safe, self._unsafe = 0, 1

        def ask(self, backend: Backend, prompts: list[Ids], texts: list[str]) -> list[Opinion]:
            asked.extend(prompts)
            return super().ask(backend, prompts, texts)

    asked: list[Ids] = []
    torch.set_num_threads(1)
    settings = GuardSettings(
        kind="llama-guard-3", model=str(folder), backend="transformers", batch_size=8, dtype="float32", max_length=2048
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
        "judge", "rows per second of the guard, against one forward pass per row (higher is better).", "rows/s", mine,
        theirs, pairs.ratio, pairs.interval, REPEATS, "≥ 0.95", pairs.ratio >= 0.95,
        n=f"{ROWS} rows of {lengths[0]} to {lengths[-1]} tokens (median {lengths[ROWS // 2]}), batches of 8",
        notes=(
            "Ours renders, neutralises, tokenises, shortens, batches and reads the verdict; the reference gets token "
            "ids and does nothing but the pass. A processor is saturated by a single row, so a ratio of about 1 is the "
            "best possible on one: a verdict costs one pass and no generation. On a GPU batches are faster. Processor "
            f"time on one thread; {LAYERS} layers of SmolLM2's width stand in for Llama-Guard's weights. The target is "
            "the project's own."
        ),
    )
