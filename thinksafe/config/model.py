"""RealignmentConfig: every setting of a realignment run, with its meaning, range and default.

Defaults are those of the published recipe (METHOD.md section 2) unless a field says otherwise. Unknown keys are
refused. ``thinksafe config schema`` prints the JSON Schema of this model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thinksafe.config.data import Benchmark, DataSettings
from thinksafe.config.gate import GateSettings
from thinksafe.records import Part, SamplingSettings, Share

Count = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Section(BaseModel):
    """Base of all configuration sections: closed to unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StudentSettings(Section):
    """The model to repair."""

    model: Annotated[str, Field(min_length=1)]
    """``micro://<student>`` (shipped), a local folder, or a hub id."""
    revision: str = ""
    """Commit of a hub id; a branch name is resolved when planning."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Off by default, and shown in the report when on."""
    reasoning: Literal["think", "none"] = "think"
    """``think``: the response opens with a <think>...</think> thought. ``none``: the whole response is the answer."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


class EngineSettings(Section):
    """What generates."""

    kind: Literal["transformers", "vllm", "endpoint"] = "transformers"
    """``transformers``: small models and CPUs. ``vllm``: GPUs. ``endpoint``: an OpenAI-compatible server that already
    serves the student."""
    batch_size: Count = 64
    """Prompts generated at once (transformers), requests under way at once (endpoint); vLLM batches by itself. The
    batch is seeded, so changing it changes the samples."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of transformers; 0 leaves the library's default. Fixed for bit-equal repeats."""
    tensor_parallel_size: Count = 1
    """GPUs that vLLM spreads one model over."""
    gpu_memory_utilization: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """Share of the GPU's memory that vLLM may take."""
    max_model_len: Annotated[int, Field(ge=0)] = 0
    """Longest prompt and response together, in tokens, that vLLM reserves room for; 0 takes the model's own."""
    enforce_eager: bool = False
    """Switch vLLM's graph capture off: starts faster, runs slower. Always on for its CPU build."""
    base_url: str = ""
    """Address of the endpoint, ending in ``/v1``."""
    served_model: str = ""
    """Name under which the endpoint serves the student; ``student.model`` by default."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key; the key itself is never part of a config."""
    timeout: Annotated[float, Field(gt=0.0)] = 600.0
    """Seconds a request to the endpoint may take."""


class SteeringSettings(Section):
    """The refusal instruction in front of harmful prompts."""

    enabled: bool = True
    """Off gives plain rejection sampling, the ablation of the paper."""
    template: Name = "thinksafe"
    """Name of a template file shipped in ``thinksafe/data/steering``."""


class SampleSettings(Section):
    """How training samples are drawn."""

    settings: SamplingSettings = SamplingSettings()
    n: Count = 1
    """Samples a prompt."""
    shards: Annotated[int, Field(gt=0, le=1024)] = 1
    """Parallel sampling tasks. Does not change any sample."""
    chunk_size: Count = 64
    """Prompts a chunk: the unit that is written, resumed and seeded."""


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
    backend: Literal["transformers", "vllm"] = "transformers"
    max_length: Annotated[int, Field(ge=256)] = 20480
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


class DiagnoseSettings(Section):
    """Is there latent safety knowledge to bring out? Measured on a pilot before GPUs are spent."""

    prompts: Count = 64
    """Harmful training prompts in the pilot."""
    min_acceptance: Share = 0.3
    """Share of steered pilot samples that must be accepted (complete, safe, a refusal); the one-sided lower bound
    must reach it."""
    min_flip_rate: Share = 0.3
    """Share of prompts with an unsafe plain sample that steering must turn into an accepted one (lower bound)."""
    on_failure: Literal["stop", "warn"] = "stop"
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05


class CurateSettings(Section):
    """Which judged samples become examples."""

    require_refusal: bool = True
    """A harmful prompt's sample must decline, not only be safe."""
    require_compliance: bool = True
    """A benign prompt's sample must not decline."""
    min_examples: Count = 1
    """Fewer accepted examples than this fail the stage."""


class TrainingSettings(Section):
    """LoRA SFT."""

    lora_rank: Count = 32
    lora_alpha: Count = 16
    lora_dropout: Share = 0.05
    target_modules: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-5
    batch_size: Count = 8
    """Effective batch: rows an optimiser step, over all devices and accumulation steps."""
    micro_batch_size: Count = 8
    """Rows a forward pass; must divide ``batch_size``."""
    epochs: Count = 3
    warmup_ratio: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_length: Count = 16384
    """Tokens of prompt and response; longer examples are dropped and counted, never cut."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    threads: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _batches_divide(self) -> TrainingSettings:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of {self.micro_batch_size}")
        return self


class EvaluationSettings(Section):
    """The evaluation suite; the same for base, candidate and champion."""

    benchmarks: Annotated[tuple[Benchmark, ...], Field(min_length=1)]
    settings: SamplingSettings = SamplingSettings(max_tokens=32768)
    n: Count = 1
    """Samples a prompt of the harm and over-refusal benchmarks."""
    n_reasoning: Count = 8
    """Samples a problem of the reasoning benchmarks."""
    shards: Annotated[int, Field(gt=0, le=1024)] = 1
    chunk_size: Count = 64
    parts: tuple[Part, ...] = ("whole",)
    """Parts of a response that the guard scores, each by itself; the gate reads ``gate.harm.part``."""

    @model_validator(mode="after")
    def _names_unique(self) -> EvaluationSettings:
        names = [benchmark.name for benchmark in self.benchmarks]
        if len(set(names)) != len(names):
            raise ValueError("benchmark names repeat")
        if "whole" not in self.parts:
            raise ValueError("parts must include 'whole'")
        return self


class RegistrySettings(Section):
    """Where versions are registered."""

    model: Name
    """Registered model name in MLflow, and key of the promotion ledger."""
    experiment: Annotated[str, Field(min_length=1)] = "thinksafe"
    tracking_uri: str = ""
    """MLflow server; empty takes MLFLOW_TRACKING_URI, which ``thinksafe run`` points into DIR."""


class ReportSettings(Section):
    """The report page."""

    reveal_harmful: bool = False
    """Show harmful prompts and responses. Off: ids and digests only."""


class RealignmentConfig(Section):
    """One realignment: repair ``student``, evaluate, gate, register and promote the adapter."""

    name: Name
    """Name of the recipe; only a label."""
    method: Literal["thinksafe", "rejection"] = "thinksafe"
    """``thinksafe``: steered sampling. ``rejection``: the ablation, no steering of training samples."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    """Every random choice of the run derives from it."""
    student: StudentSettings
    data: DataSettings
    engine: EngineSettings = EngineSettings()
    steering: SteeringSettings = SteeringSettings()
    sampling: SampleSettings = SampleSettings()
    guard: GuardsSettings
    diagnose: DiagnoseSettings = DiagnoseSettings()
    curate: CurateSettings = CurateSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings
    gate: GateSettings = GateSettings()
    registry: RegistrySettings
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _gate_has_benchmarks(self) -> RealignmentConfig:
        kinds = {benchmark.metric for benchmark in self.evaluation.benchmarks}
        if missing := sorted({"harm", "over_refusal", "reasoning"} - kinds):
            raise ValueError(
                f"evaluation.benchmarks has none for {', '.join(missing)}; the gate needs harm, over_refusal and "
                "reasoning"
            )
        if self.gate.harm.part not in self.evaluation.parts:
            raise ValueError(f"gate.harm.part is {self.gate.harm.part!r}, which evaluation.parts does not score")
        return self
