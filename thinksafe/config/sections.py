"""The sections of a plan, one per stage (:mod:`thinksafe.config.planning` makes them).

Each stage gets only its own section, so that changing a gate threshold changes no key under which samples are stored. A
section holds everything that its stage needs, including seeds.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field

from thinksafe.config.alarm import AlarmSettings
from thinksafe.config.data import Benchmark, DataSettings
from thinksafe.config.deploy import DeploySettings
from thinksafe.config.gate import GateSettings
from thinksafe.config.model import (
    CurateSettings,
    DiagnoseSettings,
    EngineSettings,
    GuardSettings,
    RegistrySettings,
    ReportSettings,
    Section,
    TrainingSettings,
)
from thinksafe.config.promotion import PromotionSettings
from thinksafe.config.rounds import RoundsSection
from thinksafe.config.sign import SignSettings
from thinksafe.methods.contexts import Context
from thinksafe.methods.forms import Form
from thinksafe.methods.objectives import Objective
from thinksafe.methods.rules import Keep, Rule
from thinksafe.records import Arm, Label, MetricKind, Part, SamplingSettings
from thinksafe.settings import StudentSettings


class PrepareSection(Section):
    """Prompts of the pilot, of training and of evaluation."""

    seed: int
    data: DataSettings | None
    """None if nothing is trained: there are only evaluation prompts."""
    pilot: int
    """Harmful training prompts that the pilot samples."""
    pilot_benign: int = Field(default=0, exclude_if=lambda benign: not benign)
    """Benign ones that it also samples."""
    benchmarks: tuple[Benchmark, ...]


class TeacherSection(Section):
    """The model that writes responses instead of the student."""

    student: StudentSettings
    """Its settings, pinned to a commit if it is a hub id."""
    digest: str = ""
    """Digest of its weights, configuration and tokenizer; empty until the plan has computed it."""


class SampleSection(Section):
    """One use of ``sample``: in which arms each label is sampled, and how."""

    seed: int
    engine: EngineSettings
    settings: SamplingSettings
    settings_reasoning: SamplingSettings | None = None
    """Settings of prompts with a reference answer, if they have separate ones."""
    n: int
    n_reasoning: int
    """Samples per prompt with a reference answer."""
    chunk_size: int
    template: str
    """Steering template of the steered arm, or a context; empty if no arm is steered."""
    contexts: tuple[Context, ...] = Field(default=(), exclude_if=lambda contexts: not contexts)
    """Safety contexts: each prompt is sampled once in each of them in the arm ``context``."""
    arms: dict[Label, tuple[Arm, ...]]
    reasoning: Literal["think", "none"]
    teacher: TeacherSection | None = None
    """Model to sample instead of the one that the stage is given; None for that model itself."""
    written: str = ""
    """Response of the arm ``template``."""
    prompts: int = 0
    """Sample a seeded choice of this many single-turn prompts; 0 samples all."""
    likelihoods: bool = Field(default=False, exclude_if=lambda likelihoods: not likelihoods)
    """Compute how likely the model finds each response behind the original prompt."""
    retries: RetrySection | None = Field(default=None, exclude_if=lambda retries: retries is None)
    """How prompts without an accepted steered sample are sampled again; None if they are not."""
    attempt: int = Field(default=0, exclude_if=lambda attempt: not attempt)
    """Which retry this is, from 1; 0 for the first try."""


class SecondJudgeSection(Section):
    """A second guard and the choice of samples that it also judges."""

    guard: GuardSettings
    every_n: int
    seed: int
    tells_refusals: bool = False
    """Whether a text declines is what it says, not what phrases say."""


class JudgeSection(Section):
    """Which guard judges which parts of which samples."""

    guard: GuardSettings
    second: SecondJudgeSection | None = None
    parts: tuple[Part, ...]
    skip_problems: bool
    """Leave out samples of problems with a reference answer (they are graded)."""
    chunk_size: int
    reasoning: Literal["think", "none"]


class RetrySection(Section):
    """How harmful prompts whose steered samples were rejected are sampled again."""

    templates: tuple[str, ...]
    """Steering template of each retry."""
    judge: JudgeSection
    """Who judges the samples in between: as after the last retry."""
    rules: tuple[Rule, ...]
    """Rules that a sample must satisfy to be accepted."""


class GradeSection(Section):
    """How answers are graded."""

    reasoning: Literal["think", "none"]


class ContextsSection(Section):
    """Safety contexts from which the diagnosis chooses the one that training uses."""

    known: tuple[Context, ...]
    search: bool
    """The pilot was sampled in each of them; else there is only one."""
    max_refused: float
    """Largest share of benign prompts that the chosen one may make the student refuse."""


class DiagnoseSection(Section):
    """Thresholds of the diagnosis."""

    diagnose: DiagnoseSettings
    seed: int
    alpha: float
    """Level of each one-sided check."""
    arm: Arm
    """Arm of the pilot under test, compared with the plain one."""
    rules: tuple[Rule, ...]
    """Rules that a sample of the pilot must satisfy to be accepted."""
    reasoning: Literal["think", "none"]
    contexts: ContextsSection | None = Field(default=None, exclude_if=lambda contexts: contexts is None)
    """None if training uses no context, or one that is in its own section."""


class CurateSection(Section):
    """Filters of curation."""

    curate: CurateSettings
    seed: int
    labels: tuple[Label, ...]
    """Labels that the method trains on."""
    rules: dict[Label, tuple[Rule, ...]]
    """Rules that a sample of each label must satisfy to become an example, in the order in which rejections are
    counted."""
    keep: Keep
    """Which of a prompt's accepted samples become examples."""
    forms: dict[Label, Form]
    """How much of an accepted response is learned."""
    reasoning: Literal["think", "none"]


class TrainSection(Section):
    """Training settings, the objective, and the seed."""

    seed: int
    training: TrainingSettings
    objective: Objective
    reasoning: Literal["think", "none"]
    guard: GuardSettings | None = Field(default=None, exclude_if=lambda guard: guard is None)
    """Guard that gives the rewards, if the objective has any."""
    teacher: TeacherSection | None = Field(default=None, exclude_if=lambda teacher: teacher is None)
    """Model that is imitated, if the objective has one."""


class MetricsSection(Section):
    """Benchmarks and the confidence of their intervals."""

    benchmarks: tuple[Benchmark, ...]
    parts: tuple[Part, ...]
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Two-sided; ``1 - 2 * alpha`` so that each limit is the one-sided bound that the gate reads."""
    seed: int
    suite: str
    """Digest of prompt sources, guard and sampling settings of the evaluation."""
    settings: SamplingSettings
    settings_reasoning: SamplingSettings | None = None
    """Settings of the reasoning benchmarks, if they have separate ones."""
    reasoning: Literal["think", "none"]


class GateSection(Section):
    """Thresholds of the gate."""

    gate: GateSettings
    reasoning_benchmarks: tuple[str, ...]
    """Strata of the reasoning average, equally weighted."""
    report_only: tuple[str, ...] = ()
    """Benchmarks without checks."""
    second_guard: bool = False
    """A second guard judged every n-th sample."""
    same_guard: str = ""
    """Kind of the guard that both filtered and evaluated; empty if they were two guards."""
    waivers_on: datetime.date | None = None
    """Day (UTC) of the plan, by which waivers expire; None without waivers."""
    known_checks: tuple[str, ...] = ()
    """Names of all checks that the gate can make, if there are waivers."""


class RegisterSection(Section):
    """Where the candidate is registered."""

    registry: RegistrySettings
    sign: SignSettings | None = Field(default=None, exclude_if=lambda sign: sign is None)
    """Who signs it; None if nothing is signed."""


class PromoteSection(Section):
    """Where the champion is registered, and whether it is rolled out."""

    registry: RegistrySettings
    rollout: bool
    """Whether a rollout follows."""
    promotion: PromotionSettings | None = Field(default=None, exclude_if=lambda promotion: promotion is None)
    """Whose approval it needs; None where it needs none."""
    sign: SignSettings | None = Field(default=None, exclude_if=lambda sign: sign is None)
    """Who signs the ledger; None if nothing is signed."""


class DeploySection(Section):
    """Where the champion is served, and how the served model is checked."""

    seed: int
    deploy: DeploySettings
    alpha: float
    """Level of the bound of the harm check."""
    registry: RegistrySettings
    guard: GuardSettings
    """Guard of the evaluation."""
    part: Part
    """Part of a response that the gate's harm check uses."""
    settings: SamplingSettings
    """Sampling settings of the harm check: the evaluation's."""
    reasoning: Literal["think", "none"]
    sign: SignSettings | None = Field(default=None, exclude_if=lambda sign: sign is None)
    """Whose signatures count; None if nothing is signed."""


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
    judge_pilot: JudgeSection
    judge_filter: JudgeSection
    judge_evaluate: JudgeSection
    grade: GradeSection
    diagnose: DiagnoseSection
    curate: CurateSection
    train: TrainSection
    metrics: MetricsSection
    gate: GateSection
    registry: RegisterSection
    promote: PromoteSection
    sample_rollout: SampleSection
    """Greedy responses of the candidate, with which those of the served model are compared."""
    deploy: DeploySection
    report: ReportSection
    rounds: RoundsSection | None = Field(default=None, exclude_if=lambda rounds: rounds is None)
    """None if there is one round."""
    parallelism: dict[str, int]
    """Pods that work at once, by section; one for a section that is not listed."""


class MonitorSection(Section):
    """Limits for a model, and how certain a regression must be."""

    gate: GateSettings
    alarm: AlarmSettings
    kinds: tuple[MetricKind, ...]
    """Metrics that the suite checks; each must exist."""
    reasoning_benchmarks: tuple[str, ...]
    """Strata of the reasoning average, equally weighted."""
    report_only: tuple[str, ...] = ()
    """Benchmarks without checks."""
    second_guard: bool = False
    """A second guard judged every n-th sample."""
    waivers_on: datetime.date | None = None
    """Day (UTC) of the plan, by which waivers expire; None without waivers."""
    known_checks: tuple[str, ...] = ()
    """Names that waivers may use, if there are any: the checks of an evaluation and of the gate."""
    suite: str = ""
    """Digest of the suite's configuration, as in the section of metrics."""


class AlarmSection(Section):
    """Whom to notify of a regression."""

    alarm: AlarmSettings
    suite: str
    """Name of the suite."""


class SuiteSections(Section):
    """All sections of an evaluation; each field is a stage."""

    prepare: PrepareSection
    sample_evaluation: SampleSection
    judge_evaluate: JudgeSection
    grade: GradeSection
    metrics: MetricsSection
    monitor: MonitorSection
    alarm: AlarmSection
    parallelism: dict[str, int]
    """Pods that work at once, by section; one for a section that is not listed."""
