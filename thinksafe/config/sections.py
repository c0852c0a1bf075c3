"""Cut a configuration into one section per stage.

Each stage receives only its own section, so that changing a gate threshold changes no key under which samples are
stored. A section holds everything its stage needs, seeds included.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from thinksafe.config.data import Benchmark, DataSettings
from thinksafe.config.deploy import DeploySettings
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
    SteeringSettings,
    StudentSettings,
    TrainingSettings,
)
from thinksafe.config.waivers import check_names
from thinksafe.digests import derived_seed, digest_json
from thinksafe.records import Label, Part, SamplingSettings

if TYPE_CHECKING:
    from thinksafe.config.suite import SuiteConfig

Arm = Literal["plain", "steered"]


class PrepareSection(Section):
    """Prompts of the pilot, of training and of evaluation."""

    seed: int
    data: DataSettings | None
    """None where nothing is trained: there are evaluation prompts only."""
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
    prompts: int = 0
    """A seeded choice of this many single-turn prompts is sampled; 0 samples all."""


class SecondJudgeSection(Section):
    """A second guard and the choice of the samples that it reads too."""

    guard: GuardSettings
    every_n: int
    seed: int


class JudgeSection(Section):
    """Which guard reads which parts of which samples."""

    guard: GuardSettings
    second: SecondJudgeSection | None = None
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
    report_only: tuple[str, ...] = ()
    """Benchmarks without checks."""
    second_guard: bool = False
    """A second guard judged every n-th sample."""
    same_guard: str = ""
    """Kind of the guard that both filtered and evaluated; empty where two guards did."""
    waivers_on: datetime.date | None = None
    """Day (UTC) of the plan, by which waivers expire; None without waivers."""
    known_checks: tuple[str, ...] = ()
    """Names of all checks that the gate can make, where there are waivers."""


class RegisterSection(Section):
    """Where the candidate is registered."""

    registry: RegistrySettings


class DeploySection(Section):
    """Where the champion is served, and how the served model is checked."""

    seed: int
    deploy: DeploySettings
    registry: RegistrySettings
    guard: GuardSettings
    """Guard of the evaluation."""
    part: Part
    """Part of a response that the gate's harm check reads."""
    settings: SamplingSettings
    """Sampling settings of the harm check: the evaluation's."""
    reasoning: Literal["think", "none"]


class ReportSection(Section):
    """What the report shows."""

    report: ReportSettings
    registry: RegistrySettings
    recipe: str
    method: str


class Measurement(NamedTuple):
    """Sections of the stages that measure one model, in a realignment as in an evaluation by itself."""

    sample: SampleSection
    judge: JudgeSection
    grade: GradeSection
    metrics: MetricsSection
    reasoning_benchmarks: tuple[str, ...]
    """Strata of the reasoning average."""
    report_only: tuple[str, ...]
    """Benchmarks without checks."""


def measurement(
    config: RealignmentConfig | SuiteConfig, reasoning: Literal["think", "none"], draw: str = ""
) -> Measurement:
    """Return the sections that measure a model.

    Args:
        config: A realignment or a suite.
        reasoning: Of the model that is measured.
        draw: Samples are drawn anew for each value; the same model's samples of one draw are kept and used again.
    """
    evaluation = config.evaluation
    sample = SampleSection(
        seed=derived_seed(config.seed, "sample", "evaluation", *([draw] if draw else [])), engine=config.engine,
        settings=evaluation.settings, settings_reasoning=evaluation.settings_reasoning, n=evaluation.n,
        n_reasoning=evaluation.n_reasoning, chunk_size=evaluation.chunk_size,
        # nothing is steered here; a fixed name, so that equal evaluations are seen to be equal
        template=SteeringSettings().template, arms={"harmful": ("plain",), "benign": ("plain",)}, reasoning=reasoning,
    )
    judge = JudgeSection(
        guard=config.guard.evaluate, second=second_judge(config), parts=evaluation.parts, skip_problems=True,
        chunk_size=evaluation.chunk_size, reasoning=reasoning,
    )
    suite = digest_json(
        [
            [benchmark.model_dump(mode="json", exclude={"gated"}) for benchmark in evaluation.benchmarks],
            sample.model_dump(mode="json", exclude={"seed", "prompts"}),
            judge.model_dump(mode="json", exclude={"second"}),  # it changes no number of the first guard's
        ]
    )
    metrics = MetricsSection(
        benchmarks=evaluation.benchmarks, parts=evaluation.parts, confidence=1 - 2 * config.gate.alpha,
        seed=derived_seed(config.seed, "metrics"), suite=suite, settings=evaluation.settings,
        settings_reasoning=evaluation.settings_reasoning,
    )
    strata = tuple(benchmark.name for benchmark in evaluation.gated if benchmark.metric == "reasoning")
    report_only = tuple(benchmark.name for benchmark in evaluation.benchmarks if not benchmark.gated)
    return Measurement(sample, judge, GradeSection(reasoning=reasoning), metrics, strata, report_only)


def second_judge(config: RealignmentConfig | SuiteConfig) -> SecondJudgeSection | None:
    """Return the second guard and its choice of samples, None where there is none."""
    second = config.guard.second
    if second is None:
        return None
    seed = derived_seed(config.seed, "second guard")
    return SecondJudgeSection(guard=second.guard, every_n=second.every_n, seed=seed)


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
    rollout: bool
    """Something is rolled out."""
    sample_rollout: SampleSection
    """Greedy responses of the candidate, with which those of the served model are compared."""
    deploy: DeploySection
    report: ReportSection
    shards_pilot: int = 1
    shards_training: int
    shards_evaluation: int


def sections_of(config: RealignmentConfig, day: datetime.date | None = None) -> Sections:
    """Return the sections of a validated configuration.

    Args:
        config: The configuration.
        day: Day (UTC) by which waivers expire; without waivers it is in no section.
    """
    waivers, verification = config.gate.waivers, config.deploy.verification
    reasoning = config.student.reasoning
    sampling, evaluation = config.sampling, config.evaluation
    steer = config.method == "thinksafe" and config.steering.enabled

    def sample(purpose: str, n: int, harmful: tuple[Arm, ...]) -> SampleSection:
        return SampleSection(
            seed=derived_seed(config.seed, "sample", purpose), engine=config.engine, settings=sampling.settings, n=n,
            n_reasoning=n, chunk_size=sampling.chunk_size, template=config.steering.template,
            arms={"harmful": harmful, "benign": ("plain",)}, reasoning=reasoning,
        )

    measured = measurement(config, reasoning)
    second = config.guard.second
    return Sections(
        student=config.student,
        prepare=PrepareSection(
            seed=derived_seed(config.seed, "prepare"), data=config.data, pilot=config.diagnose.prompts,
            benchmarks=evaluation.benchmarks,
        ),
        sample_pilot=sample("pilot", 1, ("plain", "steered")),
        sample_training=sample("training", sampling.n, ("steered",) if steer else ("plain",)),
        sample_evaluation=measured.sample,
        judge_filter=JudgeSection(
            guard=config.guard.filter, second=second_judge(config) if second is not None and second.filter else None,
            parts=("whole",), skip_problems=False, chunk_size=sampling.chunk_size, reasoning=reasoning,
        ),
        judge_evaluate=measured.judge,
        grade=measured.grade,
        diagnose=DiagnoseSection(diagnose=config.diagnose, reasoning=reasoning),
        curate=CurateSection(curate=config.curate, reasoning=reasoning),
        train=TrainSection(
            seed=derived_seed(config.seed, "train"), training=config.training, reasoning=reasoning
        ),
        metrics=measured.metrics,
        gate=GateSection(
            gate=config.gate, seed=derived_seed(config.seed, "gate"),
            reasoning_benchmarks=measured.reasoning_benchmarks, report_only=measured.report_only,
            second_guard=second is not None,
            same_guard=config.guard.same, waivers_on=day if waivers else None,
            known_checks=tuple(check_names(evaluation.gated, second is not None)) if waivers else (),
        ),
        registry=RegisterSection(registry=config.registry),
        rollout=config.deploy.kind != "none",
        sample_rollout=measured.sample.model_copy(
            update={
                "seed": derived_seed(config.seed, "sample", "rollout"), "n": 1, "n_reasoning": 1,
                "settings": SamplingSettings(temperature=0.0, top_p=1.0, max_tokens=verification.max_tokens),
                "settings_reasoning": None, "prompts": verification.prompts,
            }
        ),
        deploy=DeploySection(
            seed=derived_seed(config.seed, "deploy"), deploy=config.deploy, registry=config.registry,
            guard=config.guard.evaluate, part=config.gate.harm.part, settings=evaluation.settings, reasoning=reasoning,
        ),
        report=ReportSection(
            report=config.report, registry=config.registry, recipe=config.name, method=config.method
        ),
        shards_training=sampling.shards,
        shards_evaluation=evaluation.shards,
    )
