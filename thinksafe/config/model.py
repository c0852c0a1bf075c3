"""RealignmentConfig: every setting of a realignment run, with its meaning, range and default.

Defaults are those of the published recipe (METHOD.md section 2) unless a field says otherwise. Unknown keys are
refused. ``thinksafe config schema`` prints the JSON Schema of this model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from thinksafe.config.alarm import AlarmSettings
from thinksafe.config.checks import check_names
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.compared import ComparedMethods, CostSettings
from thinksafe.config.data import Benchmark, DataSettings, check_thinking
from thinksafe.config.deploy import DeploySettings, check_servable, with_defaults
from thinksafe.config.gate import GateSettings
from thinksafe.config.gpus import gpus_needed, with_gpus
from thinksafe.config.guard import GuardSettings, GuardsSettings
from thinksafe.config.memory import check_memory
from thinksafe.config.on_policy import check_on_policy, with_sampler
from thinksafe.config.parallelism import with_jobs
from thinksafe.config.promotion import PromotionSettings, check_waivers
from thinksafe.config.registry import CardSettings, RegistrySettings, ReportSettings
from thinksafe.config.rounds import MOST, check_rounds
from thinksafe.config.shape import check_place, check_shape
from thinksafe.config.sign import SignSettings
from thinksafe.config.vllm import EngineOptions
from thinksafe.methods import AnyMethod
from thinksafe.methods.thinksafe import ThinkSafe
from thinksafe.records import Part, SamplingSettings, Share
from thinksafe.settings import Count, CountOrZero, Name, Parallelism, Parameters, Section, StudentSettings

__all__ = [
    "AlarmSettings", "CurateSettings", "DiagnoseSettings", "EngineSettings", "EvaluationSettings", "GuardSettings",
    "GuardsSettings", "Name", "RealignmentConfig", "RegistrySettings", "ReportSettings", "SampleSettings", "Section",
    "TrainingSettings",
]


class EngineSettings(Section):
    """What generates."""

    kind: Literal["transformers", "vllm", "endpoint"] = "transformers"
    """``transformers``: small models and CPUs. ``vllm``: GPUs. ``endpoint``: an OpenAI-compatible server that already
    serves the student."""
    batch_size: Count = 64
    """Prompts per batch (transformers) or concurrent requests (endpoint); vLLM makes its own batches. Each batch is
    seeded, so another size gives other samples."""
    threads: CountOrZero = 0
    """CPU threads of transformers; 0 leaves the library's default. Fixed, so that repeats are bit-equal."""
    tensor_parallel_size: Count = 1
    """GPUs that vLLM spreads one model over; on a cluster, each sampling pod asks for this many."""
    options: EngineOptions = {}
    """vLLM's own engine arguments, under vLLM's names: ``max_model_len``, ``quantization``, ``kv_cache_dtype``,
    ``pipeline_parallel_size``, ``speculative_config`` ... vLLM checks them when it starts. Part of the key under which
    samples are stored."""
    merge_adapter: bool = False
    """Merge the adapter into a temporary copy of the weights before vLLM loads them, instead of applying it at run
    time. For vLLM's CPU build, whose LoRA kernels are slow; on GPUs it only costs disk space."""
    base_url: str = ""
    """Address of the endpoint, ending in ``/v1``."""
    served_model: str = ""
    """Name under which the endpoint serves the student; ``student.model`` by default."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key; the key itself is never part of a config."""


class SampleSettings(Section):
    """How training samples are drawn."""

    settings: SamplingSettings = SamplingSettings()
    """Sampling settings of pilot and training samples."""
    n: Count | None = None
    """Samples of each training prompt; by default as many as the method was published with: 5 for ``rejection``, 1 for
    the others."""
    retries: Annotated[int, Field(ge=0, le=3, strict=True)] = 0
    """How often a harmful prompt is sampled again whose steered samples were all rejected: each time with a stronger
    refusal instruction (``prefix``, ``suffix``, ``both``), and judged before the next."""
    rounds: Annotated[int, Field(ge=1, le=MOST, strict=True)] = 1
    """How often the student is sampled and trained. From the second round on, the candidate of the round before samples
    all training prompts again, and the student is trained anew on what that wrote. Only the last candidate is
    evaluated."""
    parallelism: Parallelism = 1
    """Pods (on a laptop processes) that sample and judge at once. Changes no sample and no verdict."""
    chunk_size: Count = 64
    """Prompts a chunk: the unit that is written, resumed and seeded."""


class DiagnoseSettings(Section):
    """Is there latent safety knowledge to bring out? Measured on a pilot before GPU time is spent."""

    prompts: Count = 64
    """Harmful training prompts in the pilot."""
    min_acceptance: Share = 0.3
    """Share of steered pilot samples that must be accepted (complete, safe, a refusal); the one-sided lower bound must
    reach it."""
    min_flip_rate: Share = 0.3
    """Share of prompts with an unsafe plain sample that steering must turn into an accepted one (lower bound)."""
    on_failure: Literal["stop", "warn"] = "stop"
    """``stop``: an unsteerable student ends the run. ``warn``: the run continues with a warning, as it always does with
    a method that does not need the student's own knowledge (teacher, given, direct-refusal)."""


class CurateSettings(Section):
    """Which judged samples become examples."""

    require_refusal: bool = True
    """A sample of a harmful prompt must decline, not just be safe."""
    require_compliance: bool = True
    """A sample of a benign prompt must not decline."""
    min_examples: Annotated[int, Field(ge=0, strict=True)] = 1
    """Fewer accepted examples than this, of a label that the method trains on, end the run. 0 trains on whatever was
    accepted, even if of one label only: to try a student out, not to repair it."""


class TrainingSettings(Section):
    """How the student is trained; the method defines what training minimises."""

    parameters: Parameters = "lora"
    """``lora``: an adapter on the layers ``target_modules``. ``full``: all weights, in float32, which take 16
    bytes of GPU memory a parameter with gradients and AdamW (docs/operators.md); use a smaller ``learning_rate``."""
    lora_rank: Count = 32
    """Rank of the adapter's matrices."""
    lora_alpha: Count = 16
    """Scale of the adapter: its output is multiplied by ``lora_alpha / lora_rank``."""
    lora_dropout: Share = 0.05
    """Dropout in front of the adapter."""
    target_modules: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )
    """Names of the linear layers that get adapters: all seven by default; the GPU recipes take the published two,
    ``q_proj`` and ``v_proj``."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-5
    """Peak of the cosine schedule."""
    batch_size: Count = 8
    """Effective batch: rows per optimiser step, over all devices and accumulation steps."""
    micro_batch_size: Count = 8
    """Rows per forward pass; must divide ``batch_size``. If the share of one process is not a multiple of it, the
    largest smaller number that divides both is used."""
    processes: CountOrZero = 0
    """Processes that train together on one node, one per GPU; 0 uses all visible GPUs, or one process on CPUs.
    ``batch_size`` is divided among them, so it must be a multiple."""
    nodes: Count = 1
    """Nodes that train together, each with ``processes`` processes, which must then be set. More than one needs a
    cluster with Kubeflow Trainer (``cluster.train_job``)."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """What each of several processes holds. ``ddp``: the whole student. ``fsdp``: a share of its weights, each layer
    gathered when it runs (FSDP2), for students that one GPU cannot hold; slower."""
    checkpoint_steps: CountOrZero = 0
    """Optimiser steps between checkpoints, from which an interrupted training resumes; 0 writes none. Rounded up to a
    step of the loss curve."""
    epochs: Count = 3
    """Passes over the examples."""
    warmup_ratio: Share = 0.1
    """Share of the steps over which the learning rate rises to its peak."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """AdamW's decoupled weight decay."""
    max_length: Count = 16384
    """Tokens of prompt and response; longer examples are dropped and counted, never cut."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    """Gradients are clipped to this norm."""
    threads: CountOrZero = 0
    """CPU threads; 0 leaves the library's default. Fixed, so that repeats are bit-equal."""

    @model_validator(mode="after")
    def _can_be_spread(self) -> TrainingSettings:
        check_shape(self)
        return self


class EvaluationSettings(Section):
    """The evaluation suite; the same for base, candidate and champion."""

    benchmarks: Annotated[tuple[Benchmark, ...], Field(min_length=1)]
    """Evaluation sets; the gate needs at least one ``gated`` set for each metric."""
    settings: SamplingSettings = SamplingSettings(max_tokens=32768)
    """Sampling settings of all benchmarks without separate ones."""
    settings_reasoning: SamplingSettings | None = None
    """Sampling settings of the reasoning benchmarks; by default ``sampling``."""
    n: Count = 1
    """Samples per prompt of the harm and over-refusal benchmarks."""
    n_reasoning: Count = 8
    """Samples per problem of the reasoning benchmarks."""
    parallelism: Parallelism = 1
    """Pods (on a laptop processes) that sample, judge or grade at once. Changes no metric."""
    chunk_size: Count = 64
    """Prompts a chunk: the unit that is written, resumed and seeded."""
    parts: tuple[Part, ...] = ("whole",)
    """Parts of a response that the guard scores, each separately; the gate uses ``gate.harm.part``."""

    @property
    def gated(self) -> tuple[Benchmark, ...]:
        """The benchmarks with checks; the others are only reported."""
        return tuple(benchmark for benchmark in self.benchmarks if benchmark.gated)

    @field_validator("benchmarks")
    @classmethod
    def _expanded(cls, benchmarks: tuple[Benchmark, ...]) -> tuple[Benchmark, ...]:
        return tuple(one for benchmark in benchmarks for one in benchmark.expanded())

    @model_validator(mode="after")
    def _names_unique(self) -> EvaluationSettings:
        names = [benchmark.name for benchmark in self.benchmarks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two benchmarks have the name {twice}; name each metric's set differently")
        if not self.gated:
            raise ValueError("every benchmark has gated: false; at least one must be checked")
        if "whole" not in self.parts or len(set(self.parts)) != len(self.parts):
            raise ValueError("parts must include 'whole', and none twice")
        return self


class RealignmentConfig(Section):
    """One realignment: repair ``student``, evaluate, gate, register and promote the adapter."""

    name: Name
    """Name of the recipe; only a label."""
    method: AnyMethod = ThinkSafe()
    """How the student is repaired, by ``kind``, with the options of that kind (docs/methods.md)."""
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 42
    """Every random choice of the run derives from it."""
    student: StudentSettings
    data: DataSettings
    engine: EngineSettings = EngineSettings()
    sampling: SampleSettings = SampleSettings()
    guard: GuardsSettings
    diagnose: DiagnoseSettings = DiagnoseSettings()
    curate: CurateSettings = CurateSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings
    gate: GateSettings = GateSettings()
    registry: RegistrySettings
    promotion: PromotionSettings = PromotionSettings()
    deploy: DeploySettings = DeploySettings()
    report: ReportSettings = ReportSettings()
    card: CardSettings = CardSettings()
    alarm: AlarmSettings = AlarmSettings()
    compare: ComparedMethods = ()
    """Methods that `thinksafe compare` puts side by side (docs/compare.md); a realignment does not read it."""
    cost: CostSettings = CostSettings()
    sign: SignSettings | None = Field(default=None, exclude_if=lambda sign: sign is None)
    """Sign what is registered and promoted, and serve nothing else (docs/governance.md)."""
    cluster: ClusterSettings | None = None
    """Where and how the pipeline runs on Kubeflow; not read by a run on this machine."""

    @model_validator(mode="before")
    @classmethod
    def _rollout_takes_from_the_cluster(cls, data: Any) -> Any:
        return with_defaults(data) if isinstance(data, dict) else data

    @field_validator("cluster")
    @classmethod
    def _gpus_and_jobs_asked_for(cls, cluster: ClusterSettings | None, info: ValidationInfo) -> ClusterSettings | None:
        needed = {"engine", "sampling", "guard", "training", "evaluation", "deploy"}
        if cluster is None or not needed <= info.data.keys():
            return cluster
        cluster = with_jobs(with_gpus(cluster, gpus_needed(info.data)), info.data)
        if (sign := info.data.get("sign")) is not None:
            if not sign.secret and sign.kind != "keyless":
                raise ValueError("on a cluster, signing takes the private key from a Secret: set sign.secret")
            cluster = cluster.with_signing(sign.secret)
        return with_sampler(cluster, info.data["method"]) if "method" in info.data else cluster

    @field_validator("compare")
    @classmethod
    def _names_once(cls, compare: ComparedMethods) -> ComparedMethods:
        names = [method.name for method in compare]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two methods have the name {twice}")
        return compare

    @model_validator(mode="after")
    def _waivers_by_approvers(self) -> RealignmentConfig:
        check_waivers(self.promotion.approval, self.gate.waivers)
        return self

    @model_validator(mode="after")
    def _schedule_has_methods(self) -> RealignmentConfig:
        if self.cluster is not None and self.cluster.schedule.compare.enabled and len(self.compare) < 2:
            raise ValueError("cluster.schedule.compare is enabled, but compare does not list two methods or more")
        return self

    @model_validator(mode="after")
    def _training_fits_its_pod(self) -> RealignmentConfig:
        check_place(self.training, self.cluster)
        if self.training.strategy == "fsdp" and not self.method.shards:
            raise ValueError(
                f"method.kind is {self.method.kind}, which trains whole students only; set training.strategy: ddp"
            )
        training, objective = self.training, self.method.minimises().kind
        if training.parameters == "full" and training.strategy == "fsdp" and objective == "kl":
            raise ValueError(
                "method.benign_loss is kl, training.parameters full and training.strategy fsdp: the KL needs a frozen "
                "copy of the student on each GPU (2 bytes a parameter in bfloat16), and fsdp is for students that one "
                "GPU cannot hold; use strategy ddp, parameters lora or benign_loss cross-entropy"
            )
        pod = self.cluster.stage("train").gpu if self.cluster is not None else None
        check_memory(training, self.student.model, pod, objective)
        return self

    @model_validator(mode="after")
    def _gate_has_benchmarks(self) -> RealignmentConfig:
        kinds = {benchmark.metric for benchmark in self.evaluation.gated}
        if missing := sorted({"harm", "over_refusal", "reasoning"} - kinds):
            raise ValueError(
                f"evaluation.benchmarks has no gated benchmark for {', '.join(missing)}; the gate needs harm, "
                "over_refusal and reasoning"
            )
        self.gate.require_waivable(check_names(("gate",), self.evaluation.gated, self.guard.second is not None))
        if self.gate.harm.part not in self.evaluation.parts:
            raise ValueError(f"gate.harm.part is {self.gate.harm.part!r}, which evaluation.parts does not score")
        check_thinking(self.evaluation.benchmarks, self.student.reasoning, self.engine.kind)
        check_servable(self.deploy, self.student.model)
        self.method.check(self.student.reasoning)
        self._given_sets_have_responses()
        if self.sampling.retries and "steered" not in self.method.responses().arms["harmful"]:
            raise ValueError(
                f"sampling.retries is {self.sampling.retries}, but method.kind {self.method.kind} steers no prompt as "
                "it is set: there is nothing to strengthen; leave it at 0"
            )
        check_rounds(self.method, self.sampling.rounds)
        check_on_policy(self.method, self.guard, self.training)
        teacher = self.method.other()
        if teacher is not None and teacher.reasoning != self.student.reasoning:
            raise ValueError(
                f"method.teacher.reasoning is {teacher.reasoning!r} and student.reasoning is "
                f"{self.student.reasoning!r}: the student would be trained on responses of another form"
            )
        if self.method.responses().teacher is not None and self.engine.kind == "endpoint":
            raise ValueError(
                "method.kind is teacher and engine.kind is endpoint, which serves the student: its responses would "
                "pass for the teacher's; use transformers or vllm"
            )
        if self.student.reasoning == "none" and "thought" in self.evaluation.parts:
            raise ValueError("evaluation.parts has 'thought', but student.reasoning is none: there is nothing to score")
        return self

    def _given_sets_have_responses(self) -> None:
        for label, arms in self.method.responses().arms.items():
            lacking = [of.name for of in getattr(self.data, label) if not of.has_responses]
            if "given" in arms and lacking:
                raise ValueError(
                    f"method.kind is {self.method.kind}, but these sets of data.{label} name no response: "
                    f"{', '.join(lacking)}; set prompts.fields.response (of the micro world: prompts.responses)"
                )
