"""Configuration of the guards."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from thinksafe.config.vllm import GuardOptions
from thinksafe.settings import Count, Section

_GUARD_MODELS = {"llama-guard-3": "meta-llama/Llama-Guard-3-8B", "wildguard": "allenai/wildguard"}


class GuardSettings(Section):
    """One safety guard. The fields after ``kind`` are for guards that are models; leave them out for others."""

    kind: Literal["micro-exact", "refusal-match", "llama-guard-3", "wildguard"]
    """``micro-exact``: the exact guard of the micro world. ``refusal-match``: refusal phrases; weak, for plumbing.
    ``llama-guard-3``: one-token verdict with a probability. ``wildguard``: answers on harm and refusal."""
    model: str = ""
    """Local folder, ``s3://bucket/prefix`` or hub id; by default the publisher's hub id."""
    revision: str = ""
    """Commit of a hub id."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the weights; float32 on CPUs without bfloat16 units."""
    backend: Literal["transformers", "vllm"] = "transformers"
    """``transformers``: for CPUs and small guards. ``vllm``: for GPUs."""
    max_length: Annotated[int, Field(ge=256, strict=True)] = 20480
    """Tokens of the guard's context to use; the middle of a longer response is left out, and the verdict says so. The
    default holds the longest training response of the recipe."""
    batch_size: Count = 8
    """Texts per batch (transformers); vLLM makes its own batches."""
    options: GuardOptions = {}
    """vLLM's own engine arguments, as in ``engine.options``: ``tensor_parallel_size``, ``quantization`` ..."""
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Llama-Guard-3: the verdict is unsafe if the probability of unsafe, among {safe, unsafe}, is this or higher."""
    categories: bool = False
    """Llama-Guard-3: also ask for the hazard categories of unsafe texts; costs one generation per text."""
    match_refusals: bool = True
    """Llama-Guard-3 does not report whether a text declines. On: refusal phrases decide. Off: it stays unknown, so
    harmful prompts give no examples unless ``curate.require_refusal`` is off."""

    @model_validator(mode="before")
    @classmethod
    def _published_model(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("model") and data.get("kind") in tuple(_GUARD_MODELS):
            return {**data, "model": _GUARD_MODELS[data["kind"]]}
        return data

    @model_validator(mode="after")
    def _fields_apply(self) -> GuardSettings:
        foreign = {
            "micro-exact": set(GuardSettings.model_fields) - {"kind"},
            "refusal-match": set(GuardSettings.model_fields) - {"kind"},
            "wildguard": {"threshold", "categories", "match_refusals"},
            "llama-guard-3": set[str](),
        }[self.kind]
        fields = GuardSettings.model_fields.items()
        if found := [name for name, field in fields if name in foreign and getattr(self, name) != field.default]:
            raise ValueError(f"{', '.join(found)}: the guard {self.kind} does not use this; leave it out")
        if self.options and self.backend != "vllm":
            raise ValueError(f"options need vLLM, but backend is {self.backend}; leave them out or set backend: vllm")
        return self


class SecondGuardSettings(GuardSettings):
    """A second opinion on some of the samples: the settings of a guard, and which samples it judges."""

    every_n: Count = 10
    """Judge one sample in this many, chosen by a seeded digest of its id: the same ones for base, candidate and
    champion, whatever the parallelism. With few samples, the actual number varies by chance; 1 judges all."""
    filter: bool = False
    """Also judge samples of the pilot and of training. These verdicts change no example; the report counts the
    disagreements."""

    @property
    def guard(self) -> GuardSettings:
        """The guard without the choice of samples."""
        return GuardSettings(**self.model_dump(include=set(GuardSettings.model_fields)))


class GuardsSettings(Section):
    """Guards for the two uses, by default different ones on real models, and an optional second opinion."""

    filter: GuardSettings
    """Judges training samples and the pilot."""
    evaluate: GuardSettings
    """Judges evaluation samples."""
    second: SecondGuardSettings | None = None
    """Also judges every n-th sample; the disagreement is measured, and ``gate.second_guard`` limits it."""

    @model_validator(mode="after")
    def _second_is_another(self) -> GuardsSettings:
        if self.second is None:
            return self
        uses = {"guard.evaluate": self.evaluate, **({"guard.filter": self.filter} if self.second.filter else {})}
        for name, first in uses.items():
            if (first.kind, first.model, first.revision) == (self.second.kind, self.second.model, self.second.revision):
                raise ValueError(f"second: the same guard as {name}, so they would always agree; name another")
        return self

    @property
    def same(self) -> str:
        """Kind of the guard that both filters and evaluates; empty if they are two guards."""
        return self.filter.kind if self.filter.kind == self.evaluate.kind else ""
