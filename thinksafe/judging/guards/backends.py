"""What runs a guard's model: token ids in, log-probabilities or text out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal, Protocol

from thinksafe.config.model import GuardSettings
from thinksafe.digests import derived_seed
from thinksafe.judging.guards.weights import GuardModel
from thinksafe.models.vllm import start

Ids = tuple[int, ...]

TOP = 20
"""Log-probabilities asked for: the most that vLLM gives by default."""


class Backend(Protocol):
    """A loaded guard model. It takes token ids as given and adds none."""

    def next_token_logprobs(self, prompts: list[Ids], k: int) -> list[dict[int, float]]:
        """Return, for each prompt, the natural log-probabilities of at least its k most likely next tokens."""
        ...

    def complete(self, prompts: list[Ids], max_tokens: int) -> list[str]:
        """Return each prompt's greedy continuation, up to the end-of-sequence token or ``max_tokens`` tokens."""
        ...

    def sample(self, prompts: list[Ids], max_tokens: int, n: int) -> list[list[str]]:
        """Return ``n`` sampled continuations of each prompt, at temperature 1, seeded by the prompt itself."""
        ...


def open_backend(settings: GuardSettings, model: GuardModel) -> Backend:
    """Load a guard's weights. Raises ConfigError, InputError or StageError."""
    if settings.backend == "vllm":
        return VllmBackend(settings, model)
    if settings.backend == "endpoint":
        from thinksafe.judging.guards.endpoint import EndpointBackend

        return EndpointBackend(settings)
    return TransformersBackend(settings, model)


class TransformersBackend:
    """Padded batches of ``settings.batch_size`` prompts of similar length, longest first."""

    def __init__(self, settings: GuardSettings, model: GuardModel) -> None:
        from thinksafe.models.loading import end_tokens

        self._batch_size = settings.batch_size
        self._tokenizer = model.tokenizer
        self._model = model.load()
        self._ends = end_tokens(self._model, model.tokenizer, model.name)

    def next_token_logprobs(self, prompts: list[Ids], k: int) -> list[dict[int, float]]:
        import torch

        found: dict[int, dict[int, float]] = {}
        with torch.inference_mode():
            for places in self._batches(prompts):
                # padded on the right, which no real token attends to: no mask is needed, and attention is twice as fast
                ids, mask = self._pad([prompts[place] for place in places], "right")
                ends = mask.sum(-1) - 1
                last, which = ends.unique(return_inverse=True)
                found_logits = self._model(input_ids=ids, logits_to_keep=last, use_cache=False).logits
                logits = found_logits[torch.arange(len(places), device=ids.device), which]
                top = logits.float().log_softmax(-1).topk(min(k, logits.shape[-1]))
                for place, tokens, values in zip(places, top.indices.tolist(), top.values.tolist(), strict=True):
                    found[place] = dict(zip(tokens, values, strict=True))
        return [found[place] for place in range(len(prompts))]

    def complete(self, prompts: list[Ids], max_tokens: int) -> list[str]:
        import torch

        found: dict[int, str] = {}
        with torch.inference_mode():
            for places in self._batches(prompts):
                ids, mask = self._pad([prompts[place] for place in places], "left")
                output = self._model.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, do_sample=False,
                    eos_token_id=sorted(self._ends), pad_token_id=min(self._ends),
                )
                for place, new in zip(places, output[:, ids.shape[1] :].tolist(), strict=True):
                    found[place] = _read(self._tokenizer, new, self._ends)
        return [found[place] for place in range(len(prompts))]

    def sample(self, prompts: list[Ids], max_tokens: int, n: int) -> list[list[str]]:
        import torch

        found = []
        with torch.inference_mode(), torch.random.fork_rng():
            for prompt in prompts:
                # one prompt at a time: what it gets must not depend on those beside it
                torch.manual_seed(seed_of(prompt))
                output = self._model.generate(
                    input_ids=torch.tensor([prompt], device=self._model.device), max_new_tokens=max_tokens,
                    do_sample=True, temperature=1.0, top_p=1.0, top_k=0, num_return_sequences=n,
                    eos_token_id=sorted(self._ends), pad_token_id=min(self._ends),
                )
                found.append([_read(self._tokenizer, new, self._ends) for new in output[:, len(prompt) :].tolist()])
        return found

    def _batches(self, prompts: list[Ids]) -> list[list[int]]:
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        return [order[start : start + self._batch_size] for start in range(0, len(order), self._batch_size)]

    def _pad(self, prompts: list[Ids], side: Literal["left", "right"]) -> tuple[Any, Any]:
        import torch

        width, pad = max(map(len, prompts)), min(self._ends)
        ids, mask = [], []
        for prompt in prompts:
            row, real, gap = list(prompt), [1] * len(prompt), width - len(prompt)
            ids.append([pad] * gap + row if side == "left" else row + [pad] * gap)
            mask.append([0] * gap + real if side == "left" else real + [0] * gap)
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


class VllmBackend:
    """vLLM's offline engine: GPUs, and its CPU build."""

    def __init__(self, settings: GuardSettings, model: GuardModel) -> None:
        from thinksafe.models.loading import end_tokens

        student = model.reference.student
        own: dict[str, Any] = {"max_model_len": settings.max_length, "max_logprobs": TOP}
        if student.revision:
            own |= {"revision": student.revision, "tokenizer_revision": student.revision}
        self._tokenizer = model.tokenizer
        self._llm: Any = start(student.model, "guard.backend", student.dtype, settings.options, own)
        defaults = self._llm.llm_engine.model_config.try_get_generation_config()
        configured = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=defaults.get("eos_token_id")))
        self._ends = end_tokens(configured, model.tokenizer, model.name)

    def next_token_logprobs(self, prompts: list[Ids], k: int) -> list[dict[int, float]]:
        return [
            {token: float(entry.logprob) for token, entry in output.logprobs[0].items()}
            for output in self._generate(prompts, max_tokens=1, logprobs=k)
        ]

    def complete(self, prompts: list[Ids], max_tokens: int) -> list[str]:
        outputs = self._generate(prompts, max_tokens=max_tokens)
        return [_read(self._tokenizer, list(output.token_ids), self._ends) for output in outputs]

    def sample(self, prompts: list[Ids], max_tokens: int, n: int) -> list[list[str]]:
        seeded = [self._sampling(max_tokens=max_tokens, temperature=1.0, n=n, seed=seed_of(ids)) for ids in prompts]
        return [
            [_read(self._tokenizer, list(output.token_ids), self._ends) for output in outputs]
            for outputs in self._run(prompts, seeded)
        ]

    def _generate(self, prompts: list[Ids], **options: Any) -> list[Any]:
        return [outputs[0] for outputs in self._run(prompts, self._sampling(temperature=0.0, **options))]

    def _sampling(self, **options: Any) -> Any:
        from vllm import SamplingParams

        return SamplingParams(stop_token_ids=sorted(self._ends), detokenize=False, **options)

    def _run(self, prompts: list[Ids], sampling: Any) -> list[list[Any]]:
        asked = [{"prompt_token_ids": list(ids)} for ids in prompts]
        return [output.outputs for output in self._llm.generate(asked, sampling, use_tqdm=False)]


def seed_of(prompt: Ids) -> int:
    """Return the seed of a prompt's samples: its own, so that they depend on nothing else."""
    return derived_seed(0, "votes", *prompt)


def _read(tokenizer: Any, ids: list[int], ends: frozenset[int]) -> str:
    end = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    # special tokens are kept: an answer with one in the middle must not look like a proper answer
    return str(tokenizer.decode(ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False))
