"""Cut a suite into one section per stage of an evaluation."""

from __future__ import annotations

import datetime
from typing import Literal

from thinksafe.config.alarm import AlarmSettings
from thinksafe.config.cut import measurement
from thinksafe.config.gate import GateSettings
from thinksafe.config.sections import (
    GradeSection,
    JudgeSection,
    MetricsSection,
    PrepareSection,
    SampleSection,
)
from thinksafe.config.suite import SuiteConfig, known_checks
from thinksafe.digests import derived_seed
from thinksafe.records import MetricKind
from thinksafe.settings import Section


class CompareSection(Section):
    """Limits that a model must keep, and how sure a regression must be."""

    gate: GateSettings
    alarm: AlarmSettings
    kinds: tuple[MetricKind, ...]
    """What the suite measures and checks; each has to be there."""
    reasoning_benchmarks: tuple[str, ...]
    """Strata of the reasoning average, equally weighted."""
    report_only: tuple[str, ...] = ()
    """Benchmarks without checks."""
    second_guard: bool = False
    """A second guard judged every n-th sample."""
    waivers_on: datetime.date | None = None
    """Day (UTC) of the plan, by which waivers expire; None without waivers."""
    known_checks: tuple[str, ...] = ()
    """Names that waivers may speak of, where there are some: the checks of an evaluation and of the gate."""


class AlarmSection(Section):
    """Whom to tell of a regression."""

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
    compare: CompareSection
    alarm: AlarmSection
    shards_evaluation: int


def suite_sections(
    config: SuiteConfig, reasoning: Literal["think", "none"], draw: str = "", day: datetime.date | None = None
) -> SuiteSections:
    """Return the sections of an evaluation of a model.

    Args:
        config: The suite.
        reasoning: See :func:`thinksafe.config.cut.measurement`.
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
        compare=CompareSection(
            gate=config.gate, alarm=config.alarm, reasoning_benchmarks=measured.reasoning_benchmarks,
            report_only=measured.report_only,
            kinds=tuple(dict.fromkeys(benchmark.metric for benchmark in config.evaluation.gated)),
            second_guard=config.guard.second is not None, waivers_on=day if config.gate.waivers else None,
            known_checks=known_checks(config) if config.gate.waivers else (),
        ),
        alarm=AlarmSection(alarm=config.alarm, suite=config.name),
        shards_evaluation=config.evaluation.shards,
    )
