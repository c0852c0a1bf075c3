"""Make the sections of a plan: one per stage, from a recipe or from a suite."""

from __future__ import annotations

import datetime
from typing import Literal, NamedTuple

from thinksafe.config.checks import check_names
from thinksafe.config.comparable import suite_digest
from thinksafe.config.contexts import contexts_of
from thinksafe.config.deploy import GREEDY_TOKENS
from thinksafe.config.guard import Use
from thinksafe.config.model import CurateSettings, RealignmentConfig
from thinksafe.config.on_policy import reward_guard
from thinksafe.config.parallelism import parallelism_of
from thinksafe.config.rounds import RoundsSection
from thinksafe.config.sections import (
    AlarmSection,
    ContextsSection,
    CurateSection,
    DeploySection,
    DiagnoseSection,
    GateSection,
    GradeSection,
    JudgeSection,
    MetricsSection,
    MonitorSection,
    PrepareSection,
    PromoteSection,
    RegisterSection,
    ReportSection,
    RetrySection,
    SampleSection,
    SecondJudgeSection,
    Sections,
    SuiteSections,
    TeacherSection,
    TrainSection,
)
from thinksafe.config.suite import SuiteConfig, known_checks
from thinksafe.digests import derived_seed
from thinksafe.methods.base import Method, Responses
from thinksafe.methods.rules import PILOT_RULES
from thinksafe.methods.steering import stronger
from thinksafe.records import SamplingSettings


class Measurement(NamedTuple):
    """Sections of the stages that measure one model, in a realignment or a separate evaluation."""

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
        reasoning: Setting ``reasoning`` of the measured model.
        draw: Each value draws new samples; the samples of a model with the same value are stored and used again.
    """
    evaluation = config.evaluation
    sample = SampleSection(
        seed=derived_seed(config.seed, "sample", "evaluation", *([draw] if draw else [])), engine=config.engine,
        settings=evaluation.settings, settings_reasoning=evaluation.settings_reasoning, n=evaluation.n,
        n_reasoning=evaluation.n_reasoning, chunk_size=evaluation.chunk_size,
        template="", arms={"harmful": ("plain",), "benign": ("plain",)}, reasoning=reasoning,
    )
    judge = JudgeSection(
        guard=config.guard.evaluate, second=second_judge(config, "evaluate"), parts=evaluation.parts,
        skip_problems=True, chunk_size=evaluation.chunk_size, reasoning=reasoning,
    )
    metrics = MetricsSection(
        benchmarks=evaluation.benchmarks, parts=evaluation.parts, confidence=1 - 2 * config.gate.alpha,
        seed=derived_seed(config.seed, "metrics"), suite=suite_digest(config, reasoning),
        settings=evaluation.settings, settings_reasoning=evaluation.settings_reasoning, reasoning=reasoning,
    )
    strata = tuple(benchmark.name for benchmark in evaluation.gated if benchmark.metric == "reasoning")
    report_only = tuple(benchmark.name for benchmark in evaluation.benchmarks if not benchmark.gated)
    return Measurement(sample, judge, GradeSection(reasoning=reasoning), metrics, strata, report_only)


def second_judge(config: RealignmentConfig | SuiteConfig, use: Use) -> SecondJudgeSection | None:
    """Return the second guard and its choice of samples, None if there is none for this use."""
    second = config.guard.second
    if second is None or (use == "filter" and not second.filter):
        return None
    seed = derived_seed(config.seed, "second guard")
    return SecondJudgeSection(
        guard=second.guard, every_n=second.every_n, seed=seed, tells_refusals=config.guard.second_tells_refusals(use)
    )


def curate_section(
    method: Method, curate: CurateSettings, reasoning: Literal["think", "none"], seed: int
) -> CurateSection:
    """Return the section of curation: the method's rules without those that the user switched off."""
    off = {"refusal": not curate.require_refusal, "compliance": not curate.require_compliance}
    rules = {label: tuple(rule for rule in of if not off.get(rule)) for label, of in method.rules().items()}
    return CurateSection(
        curate=curate, seed=derived_seed(seed, "curate"), labels=method.responses().labels, rules=rules,
        keep=method.keeps(), forms=method.forms(), reasoning=reasoning,
    )


def sections_of(
    config: RealignmentConfig, day: datetime.date | None = None, resolved: TeacherSection | None = None
) -> Sections:
    """Return the sections of a validated configuration.

    Args:
        config: The configuration.
        day: Day (UTC) by which waivers expire; without waivers it is in no section.
        resolved: The method's teacher as resolved by the plan, if there is one.
    """
    waivers, verification = config.gate.waivers, config.deploy.verification
    reasoning = config.student.reasoning
    sampling, evaluation = config.sampling, config.evaluation
    method = config.method
    pilot = method.pilot()
    choice, contexts = method.context_choice(), contexts_of(method)
    imitated = method.other() if method.responses().teacher is None else None
    diagnose = config.diagnose
    if not method.needs_latent_safety:
        diagnose = diagnose.model_copy(update={"on_failure": "warn"})

    def sample(purpose: str, n: int, of: Responses, *, likelihoods: bool = False) -> SampleSection:
        return SampleSection(
            seed=derived_seed(config.seed, "sample", purpose), engine=config.engine, settings=sampling.settings, n=n,
            n_reasoning=n, chunk_size=sampling.chunk_size, template=of.template,
            arms=of.arms, written=of.written, reasoning=reasoning,
            teacher=of.teacher and (resolved or TeacherSection(student=of.teacher)), likelihoods=likelihoods,
        )

    measured = measurement(config, reasoning)
    second = config.guard.second
    filtering = JudgeSection(
        guard=config.guard.filter, second=second_judge(config, "filter"),
        parts=("whole",), skip_problems=False, chunk_size=sampling.chunk_size, reasoning=reasoning,
    )
    curate = curate_section(method, config.curate, reasoning, config.seed)
    training = sample("training", sampling.n or method.samples, method.responses())
    if sampling.retries:
        retries = RetrySection(
            templates=stronger(training.template, sampling.retries), judge=filtering, rules=curate.rules["harmful"]
        )
        training = training.model_copy(update={"retries": retries})
    return Sections(
        student=config.student,
        prepare=PrepareSection(
            seed=derived_seed(config.seed, "prepare"), data=config.data, pilot=config.diagnose.prompts,
            pilot_benign=config.diagnose.prompts if pilot.arms["benign"] else 0, benchmarks=evaluation.benchmarks,
        ),
        sample_pilot=sample("pilot", 1, pilot, likelihoods=True).model_copy(update={"contexts": contexts}),
        sample_training=training,
        sample_evaluation=measured.sample,
        judge_pilot=filtering,
        judge_filter=filtering,
        judge_evaluate=measured.judge,
        grade=measured.grade,
        diagnose=DiagnoseSection(
            diagnose=diagnose, seed=derived_seed(config.seed, "diagnose"), alpha=config.gate.alpha,
            arm=pilot.arms["harmful"][1], rules=PILOT_RULES, reasoning=reasoning,
            contexts=choice and ContextsSection(
                known=contexts, search=not choice.only, max_refused=choice.max_refused
            ),
        ),
        curate=curate,
        train=TrainSection(
            seed=derived_seed(config.seed, "train"), training=config.training, objective=method.minimises(),
            reasoning=reasoning, guard=reward_guard(method, config.guard),
            teacher=None if imitated is None else resolved or TeacherSection(student=imitated),
        ),
        metrics=measured.metrics,
        gate=GateSection(
            gate=config.gate, reasoning_benchmarks=measured.reasoning_benchmarks, report_only=measured.report_only,
            second_guard=second is not None,
            same_guard=config.guard.same, waivers_on=day if waivers else None,
            known_checks=tuple(check_names(("gate",), evaluation.gated, second is not None)) if waivers else (),
        ),
        registry=RegisterSection(registry=config.registry, sign=config.sign),
        promote=PromoteSection(
            registry=config.registry, rollout=config.deploy.kind != "none",
            promotion=config.promotion.demanded(on_cluster=config.cluster is not None), sign=config.sign,
        ),
        sample_rollout=measured.sample.model_copy(
            update={
                "seed": derived_seed(config.seed, "sample", "rollout"), "n": 1, "n_reasoning": 1,
                "settings": SamplingSettings(temperature=0.0, top_p=1.0, max_tokens=GREEDY_TOKENS),
                "settings_reasoning": None, "prompts": verification.prompts,
            }
        ),
        deploy=DeploySection(
            seed=derived_seed(config.seed, "deploy"), deploy=config.deploy, alpha=config.gate.alpha,
            registry=config.registry, guard=config.guard.evaluate, part=config.gate.harm.part,
            settings=evaluation.settings, reasoning=reasoning, sign=config.sign,
        ),
        report=ReportSection(
            report=config.report, registry=config.registry, recipe=config.name, method=method.kind
        ),
        rounds=RoundsSection(rounds=sampling.rounds) if sampling.rounds > 1 else None,
        parallelism=parallelism_of(dict(config)),
    )


def suite_sections(
    config: SuiteConfig, reasoning: Literal["think", "none"], draw: str = "", day: datetime.date | None = None
) -> SuiteSections:
    """Return the sections of an evaluation of a model.

    Args:
        config: The suite.
        reasoning: See :func:`measurement`.
        draw: See there.
        day: Day (UTC) by which waivers expire; without waivers it is in no section.
    """
    measured = measurement(config, reasoning, draw)
    return SuiteSections(
        prepare=PrepareSection(
            seed=derived_seed(config.seed, "prepare"), data=None, pilot=0, benchmarks=config.evaluation.benchmarks
        ),
        sample_evaluation=measured.sample,
        judge_evaluate=measured.judge,
        grade=measured.grade,
        metrics=measured.metrics,
        monitor=MonitorSection(
            gate=config.gate, alarm=config.alarm, reasoning_benchmarks=measured.reasoning_benchmarks,
            report_only=measured.report_only,
            kinds=tuple(dict.fromkeys(benchmark.metric for benchmark in config.evaluation.gated)),
            second_guard=config.guard.second is not None, waivers_on=day if config.gate.waivers else None,
            known_checks=known_checks(config) if config.gate.waivers else (), suite=measured.metrics.suite,
        ),
        alarm=AlarmSection(alarm=config.alarm, suite=config.name),
        parallelism=parallelism_of(dict(config)),
    )
