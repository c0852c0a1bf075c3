"""Generation with transformers: for small models, CPUs and machines without vLLM."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from thinksafe.config.model import EngineSettings
from thinksafe.models.references import ModelReference
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines.base import Generation, Turn, opening_of
from thinksafe.sampling.engines.tokens import Codec
from thinksafe.store import Store

CHUNK = 256
"""Tokens whose logits are in float32 at once."""


class TransformersEngine:
    """``generate`` over left-padded batches of ``settings.batch_size`` conversations, in the order given."""

    def __init__(self, settings: EngineSettings, model: ModelReference, store: Store) -> None:
        import torch
        from transformers import GenerationConfig

        from thinksafe.models.loading import load_model, positions_of

        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._batch_size = settings.batch_size
        self._codec = Codec(model)
        self._model = load_model(model, store)
        self._codec.bind(self._model)
        self._codec.positions = positions_of(self._model.config)
        # the publisher's settings there (a repetition penalty, beams) would change samples without being recorded
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]

    @property
    def positions(self) -> int:
        return self._codec.positions

    def length(self, turns: list[Turn]) -> int:
        return len(self._codec.ids(turns))

    def generate(
        self,
        conversations: list[list[Turn]],
        settings: SamplingSettings,
        seed: int,
        advance: Callable[[int], None],
    ) -> list[Generation]:
        import torch

        torch.manual_seed(seed)
        found: list[Generation] = []
        with torch.inference_mode():
            for start in range(0, len(conversations), self._batch_size):
                batch = conversations[start : start + self._batch_size]
                found += self._batch(batch, settings)
                advance(len(batch))
        return found

    def likelihoods(self, asked: list[tuple[list[Turn], tuple[int, ...]]]) -> list[float | None]:
        import torch

        with torch.inference_mode():
            return [self._nll(self._codec.ids(turns), list(response)) for turns, response in asked]

    def _nll(self, prompt: list[int], response: list[int]) -> float | None:
        import torch

        if not response or 0 < self.positions < len(prompt) + len(response):
            return None
        ids = torch.tensor([prompt + response], device=self._model.device)
        # the last position predicts what would follow; the one before the response predicts its first token
        logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=len(response) + 1).logits[0, :-1]
        targets = ids[0, len(prompt) :]
        total = math.fsum(
            float(torch.nn.functional.cross_entropy(part.float(), wanted, reduction="sum"))
            for part, wanted in zip(torch.split(logits, CHUNK), torch.split(targets, CHUNK), strict=True)
        )
        return total / len(response)

    def _batch(self, conversations: list[list[Turn]], settings: SamplingSettings) -> list[Generation]:
        encoded = [self._codec.encode(turns) for turns in conversations]
        tokenizer = self._codec.tokenizer
        batch = tokenizer.pad({"input_ids": encoded}, padding_side="left", return_tensors="pt")
        batch = batch.to(self._model.device)
        width = batch["input_ids"].shape[1]
        sampling: dict[str, Any] = {"do_sample": False}
        if settings.temperature > 0:
            sampling = {
                "do_sample": True,
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                # 0 is "off" for transformers too; None would fall back to the model's own generation config
                "top_k": settings.top_k,
            }
        output = self._model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=settings.max_tokens,
            eos_token_id=sorted(self._codec.ends),
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
        )
        return [
            self._codec.read(ids, len(prompt), opening_of(turns))
            for ids, prompt, turns in zip(output[:, width:].tolist(), encoded, conversations, strict=True)
        ]
