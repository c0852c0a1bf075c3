"""Configuration of the guards."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from thinksafe.config.base import Count, Section

_GUARD_MODELS = {"llama-guard-3": "meta-llama/Llama-Guard-3-8B", "wildguard": "allenai/wildguard"}


class GuardSettings(Section):
    """One safety guard. The fields after ``kind`` are for the guards that are models; leave them out for others."""

    kind: Literal["micro-exact", "refusal-match", "llama-guard-3", "wildguard"]
    """``micro-exact``: the exact guard of the micro world. ``refusal-match``: refusal phrases; weak, for plumbing.
    ``llama-guard-3``: one-token verdict with a probability. ``wildguard``: answers on harm and refusal."""
    model: str = ""
    """Local folder, ``s3://bucket/prefix`` or hub id; by default where the guard's makers publish it."""
    revision: str = ""
    """Commit of a hub id."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the weights; float32 on CPUs without bfloat16 units."""
    backend: Literal["transformers", "vllm"] = "transformers"
    """``transformers``: CPUs and small guards. ``vllm``: GPUs."""
    max_length: Annotated[int, Field(ge=256, strict=True)] = 20480
    """Tokens of the guard's context that are used; of a longer response the middle is left out, and the verdict says
    so. The default holds the longest training response of the recipe."""
    batch_size: Count = 8
    """Texts read at once (transformers); vLLM batches by itself."""
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Llama-Guard-3: probability of unsafe, among {safe, unsafe}, from which on the verdict is unsafe."""
    min_mass: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Llama-Guard-3: probability that safe and unsafe together must have; with less the verdict is unknown."""
    categories: bool = False
    """Llama-Guard-3: ask for the hazard categories of unsafe texts too; costs a generation for each."""
    match_refusals: bool = True
    """Llama-Guard-3 does not say whether a text declines. On: refusal phrases decide. Off: nobody does, so that
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
            "wildguard": {"threshold", "min_mass", "categories", "match_refusals"},
            "llama-guard-3": set[str](),
        }[self.kind]
        fields = GuardSettings.model_fields.items()
        if found := [name for name, field in fields if name in foreign and getattr(self, name) != field.default]:
            raise ValueError(f"{', '.join(found)}: this means nothing to the guard {self.kind}; leave it out")
        return self


class GuardsSettings(Section):
    """Guards for the two uses; different ones by default on real models."""

    filter: GuardSettings
    """Judges training samples and the pilot."""
    evaluate: GuardSettings
    """Judges evaluation samples."""
