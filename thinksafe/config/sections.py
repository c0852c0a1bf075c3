"""Cut a configuration into one section per stage.

Each stage receives only its own section, so that changing a gate threshold changes no key under which samples are
stored. A section holds everything its stage needs, seeds included.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from thinksafe.config.data import Benchmark, DataSettings
from thinksafe.config.gate import GateSettings
from thinksafe.config.model import (
    CurateSettings,
    DiagnoseSettings,
    EngineSettings,
    GuardSettings,
    RealignmentConfig,
    RegistrySettings,
    ReportSettings,
    Section,
    StudentSettings,
    TrainingSettings,
)
from thinksafe.digests import derived_seed, digest_json
from thinksafe.records import Label, Part, SamplingSettings

Arm = Literal["plain", "steered"]


class PrepareSection(Section):
    """Prompts of the pilot, of training and of evaluation."""

    seed: int
    data: DataSettings
    pilot: int
    """Harmful training prompts that the pilot samples."""
    benchmarks: tuple[Benchmark, ...]


class SampleSection(Section):
    """One sampling purpose: which arms each label is sampled in, and how."""

    seed: int
    engine: EngineSettings
    settings: SamplingSettings
    settings_reasoning: SamplingSettings | None = None
    """Settings of prompts with a reference answer, where they have their own."""
    n: int
    n_reasoning: int
    """Samples a prompt with a reference answer."""
    chunk_size: int
    template: str
    """Steering template of the steered arm."""
    arms: dict[Label, tuple[Arm, ...]]
    reasoning: Literal["think", "none"]


class JudgeSection(Section):
    """Which guard reads which parts of which samples."""

    guard: GuardSettings
    parts: tuple[Part, ...]
    skip_problems: bool
    """Leave out samples of problems with a reference answer (they are graded)."""
    chunk_size: int
    reasoning: Literal["think", "none"]


class GradeSection(Section):
    """How answers are graded."""

    reasoning: Literal["think", "none"]


class DiagnoseSection(Section):
    """Thresholds of the diagnosis."""

    diagnose: DiagnoseSettings
    reasoning: Literal["think", "none"]


class CurateSection(Section):
    """Filters of curation."""

    curate: CurateSettings
    reasoning: Literal["think", "none"]


class TrainSection(Section):
    """Training settings and the seed."""

    seed: int
    training: TrainingSettings
    reasoning: Literal["think", "none"]


class MetricsSection(Section):
    """Benchmarks and the confidence of their intervals."""

    benchmarks: tuple[Benchmark, ...]
    parts: tuple[Part, ...]
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Two-sided; ``1 - 2 * alpha`` so that each limit is the one-sided bound that the gate reads."""
    seed: int
    suite: str
    """Digest of prompts sources, guard and sampling settings of the evaluation."""
    settings: SamplingSettings
    settings_reasoning: SamplingSettings | None = None
    """Settings of the reasoning benchmarks, where they have their own."""


class GateSection(Section):
    """Thresholds of the gate."""

    gate: GateSettings
    seed: int
    reasoning_benchmarks: tuple[str, ...]
    """Strata of the reasoning average, equally weighted."""


class RegisterSection(Section):
    """Where the candidate is registered."""

    registry: RegistrySettings


class ReportSection(Section):
    """What the report shows."""

    report: ReportSettings
    registry: RegistrySettings
    recipe: str
    method: str


class Sections(Section):
    """All sections of a run; each field is a stage (or one use of a stage)."""

    student: StudentSettings
    prepare: PrepareSection
    sample_pilot: SampleSection
    sample_training: SampleSection
    sample_evaluation: SampleSection
    judge_filter: JudgeSection
    judge_evaluate: JudgeSection
    grade: GradeSection
    diagnose: DiagnoseSection
    curate: CurateSection
    train: TrainSection
    metrics: MetricsSection
    gate: GateSection
    registry: RegisterSection
    report: ReportSection
    shards_pilot: int = 1
    shards_training: int
    shards_evaluation: int


def sections_of(config: RealignmentConfig) -> Sections:
    """Return the sections of a validated configuration."""
    reasoning = config.student.reasoning
    sampling, evaluation = config.sampling, config.evaluation
    steer = config.method == "thinksafe" and config.steering.enabled

    def sample(
        purpose: str, settings: SamplingSettings, n: int, n_reasoning: int, chunk_size: int,
        harmful: tuple[Arm, ...], settings_reasoning: SamplingSettings | None = None,
    ) -> SampleSection:
        return SampleSection(
            seed=derived_seed(config.seed, "sample", purpose), engine=config.engine, settings=settings,
            settings_reasoning=settings_reasoning, n=n, n_reasoning=n_reasoning, chunk_size=chunk_size,
            template=config.steering.template, arms={"harmful": harmful, "benign": ("plain",)}, reasoning=reasoning,
        )

    def judge(guard: GuardSettings, parts: tuple[Part, ...], skip_problems: bool, size: int) -> JudgeSection:
        return JudgeSection(
            guard=guard, parts=parts, skip_problems=skip_problems, chunk_size=size, reasoning=reasoning
        )

    evaluation_sample = sample(
        "evaluation", evaluation.settings, evaluation.n, evaluation.n_reasoning, evaluation.chunk_size, ("plain",),
        evaluation.settings_reasoning,
    )
    judge_evaluate = judge(config.guard.evaluate, evaluation.parts, True, evaluation.chunk_size)
    suite = digest_json(
        [
            [benchmark.model_dump(mode="json") for benchmark in evaluation.benchmarks],
            evaluation_sample.model_dump(mode="json", exclude={"seed"}),
            judge_evaluate.model_dump(mode="json"),
        ]
    )
    return Sections(
        student=config.student,
        prepare=PrepareSection(
            seed=derived_seed(config.seed, "prepare"), data=config.data, pilot=config.diagnose.prompts,
            benchmarks=evaluation.benchmarks,
        ),
        sample_pilot=sample(
            "pilot", sampling.settings, 1, 1, sampling.chunk_size, ("plain", "steered")
        ),
        sample_training=sample(
            "training", sampling.settings, sampling.n, sampling.n, sampling.chunk_size,
            ("steered",) if steer else ("plain",),
        ),
        sample_evaluation=evaluation_sample,
        judge_filter=judge(config.guard.filter, ("whole",), False, sampling.chunk_size),
        judge_evaluate=judge_evaluate,
        grade=GradeSection(reasoning=reasoning),
        diagnose=DiagnoseSection(diagnose=config.diagnose, reasoning=reasoning),
        curate=CurateSection(curate=config.curate, reasoning=reasoning),
        train=TrainSection(
            seed=derived_seed(config.seed, "train"), training=config.training, reasoning=reasoning
        ),
        metrics=MetricsSection(
            benchmarks=evaluation.benchmarks, parts=evaluation.parts, confidence=1 - 2 * config.gate.alpha,
            seed=derived_seed(config.seed, "metrics"), suite=suite, settings=evaluation.settings,
            settings_reasoning=evaluation.settings_reasoning,
        ),
        gate=GateSection(
            gate=config.gate, seed=derived_seed(config.seed, "gate"),
            reasoning_benchmarks=tuple(b.name for b in evaluation.benchmarks if b.metric == "reasoning"),
        ),
        registry=RegisterSection(registry=config.registry),
        report=ReportSection(
            report=config.report, registry=config.registry, recipe=config.name, method=config.method
        ),
        shards_training=sampling.shards,
        shards_evaluation=evaluation.shards,
    )
