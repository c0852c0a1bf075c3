"""Generation with vLLM's offline batch engine: GPUs, and its CPU build."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from thinksafe.config.model import EngineSettings
from thinksafe.digests import derived_seed
from thinksafe.models.loading import source_of
from thinksafe.models.ranks import max_lora_rank
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import fetch_trained
from thinksafe.models.vllm import on_cpu, start
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines.base import Batch, Generation, Turn, opening_of
from thinksafe.sampling.engines.tokens import Codec
from thinksafe.store import Store


class VllmEngine:
    """One ``vllm.LLM``, kept full: as one batch runs out, rows of the next ones join.

    Every conversation is sampled with its own seed, derived from the call's seed and its place, so a row does not
    depend on what else is in the batch (up to floating-point effects of batching, which vLLM does not rule out).
    """

    def __init__(self, settings: EngineSettings, model: ModelReference, store: Store) -> None:
        cpu = on_cpu("engine.kind")
        self._codec = Codec(model)
        own: dict[str, Any] = {
            "trust_remote_code": model.student.trust_remote_code,
            "tensor_parallel_size": settings.tensor_parallel_size,
        }
        if cpu:
            # a prompt cut over two steps makes vLLM rewind the row's generator, which a CPU generator cannot do
            own["enable_chunked_prefill"] = False
        self._adapter: Any = None
        self._folder = tempfile.TemporaryDirectory()
        source, revision = source_of(model, store)
        if revision:
            own |= {"revision": revision, "tokenizer_revision": revision}
        trained = model.trained
        if trained is not None and trained.parameters == "lora" and settings.merge_adapter:
            own |= {"tokenizer": source}
            source = _merged(model, store, self._folder.name)
            own.pop("revision", None)
        elif trained is not None and trained.parameters == "lora":
            folder = fetch_trained(store, trained, Path(self._folder.name))
            from vllm.lora.request import LoRARequest

            # vLLM's default allows rank 16 only; the recipe's is 32
            rank = json.loads((folder / "adapter_config.json").read_text("utf-8"))["r"]
            own |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": max_lora_rank(rank)}
            self._adapter = LoRARequest("candidate", 1, str(folder))
        self._llm = start(source, "engine.kind", model.student.dtype, settings.options, own)
        defaults = self._llm.llm_engine.model_config.try_get_generation_config()
        self._codec.positions = int(self._llm.llm_engine.model_config.max_model_len)
        self._codec.bind(SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=defaults.get("eos_token_id"))))

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
        [(_, found)] = self.stream(iter([Batch(conversations, settings, seed, advance)]))
        return found

    def stream(self, batches: Iterator[Batch]) -> Iterator[tuple[int, list[Generation]]]:
        engine = self._llm.llm_engine
        room = engine.vllm_config.scheduler_config.max_num_seqs
        waiting = enumerate(batches)
        under_way: dict[int, _UnderWay] = {}
        more = True
        while more or under_way:
            # as many rows as vLLM runs at once: with one batch at a time it would idle during each batch's longest row
            while more and sum(batch.missing for batch in under_way.values()) < room:
                if more := (taken := next(waiting, None)) is not None:
                    under_way[taken[0]] = self._submit(*taken)
            for output in engine.step() if under_way else ():
                if not output.finished:
                    continue
                place, row = map(int, output.request_id.split("-"))
                batch = under_way[place]
                batch.found[row] = self._codec.read(
                    list(output.outputs[0].token_ids), len(output.prompt_token_ids), batch.openings[row]
                )
                batch.missing -= 1
                batch.advance(1)
            for place in [place for place, batch in under_way.items() if not batch.missing]:
                yield place, [found for found in under_way.pop(place).found if found is not None]

    def likelihoods(self, asked: list[tuple[list[Turn], tuple[int, ...]]]) -> list[float | None]:
        from vllm import SamplingParams

        rows = [(self._codec.ids(turns), list(response)) for turns, response in asked]
        # vLLM scores what it is prompted with, and then has to write one token
        places = [place for place, (prompt, response) in enumerate(rows)
                  if response and len(prompt) + len(response) < self.positions]
        outputs = self._llm.generate(
            [{"prompt_token_ids": rows[place][0] + rows[place][1]} for place in places],
            SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False),
            use_tqdm=False, lora_request=self._adapter,
        )
        found: list[float | None] = [None] * len(rows)
        for place, output in zip(places, outputs, strict=True):
            response = rows[place][1]
            scored = output.prompt_logprobs[-len(response) :]
            total = math.fsum(scores[token].logprob for token, scores in zip(response, scored, strict=True))
            found[place] = -total / len(response)
        return found

    def _submit(self, place: int, batch: Batch) -> _UnderWay:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        settings = batch.settings
        for row, turns in enumerate(batch.conversations):
            sampling = SamplingParams(
                temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k or -1,
                max_tokens=settings.max_tokens, seed=derived_seed(batch.seed, "row", row),
                stop_token_ids=sorted(self._codec.ends), detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY,
            )
            self._llm.llm_engine.add_request(
                f"{place}-{row}", {"prompt_token_ids": self._codec.encode(turns)}, sampling, lora_request=self._adapter
            )
        openings = [opening_of(turns) for turns in batch.conversations]
        return _UnderWay([None] * len(openings), len(openings), openings, batch.advance)


@dataclass
class _UnderWay:
    """A batch that vLLM works on."""

    found: list[Generation | None]
    missing: int
    openings: list[str]
    advance: Callable[[int], None]


def _merged(model: ModelReference, store: Store, folder: str) -> str:
    """Write the student with its adapter merged in to a folder and return it."""
    from thinksafe.models.loading import load_model

    merged = load_model(model, store).merge_and_unload()
    merged.save_pretrained(folder)
    return folder
