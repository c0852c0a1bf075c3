"""Cut a suite into one section per stage of an evaluation."""

from __future__ import annotations

from typing import Literal

from thinksafe.config.alarm import AlarmSettings
from thinksafe.config.base import Section
from thinksafe.config.gate import GateSettings
from thinksafe.config.sections import (
    GradeSection,
    JudgeSection,
    MetricsSection,
    PrepareSection,
    SampleSection,
    measurement,
)
from thinksafe.config.suite import SuiteConfig
from thinksafe.digests import derived_seed
from thinksafe.records import MetricKind


class CompareSection(Section):
    """Limits that a model must keep, and how sure a regression must be."""

    gate: GateSettings
    alarm: AlarmSettings
    kinds: tuple[MetricKind, ...]
    """What the suite measures; each has to be there."""
    reasoning_benchmarks: tuple[str, ...]
    """Strata of the reasoning average, equally weighted."""
    second_guard: bool = False
    """A second guard judged every n-th sample."""


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


def suite_sections(config: SuiteConfig, reasoning: Literal["think", "none"], draw: str = "") -> SuiteSections:
    """Return the sections of an evaluation of a model; arguments as :func:`thinksafe.config.sections.measurement`."""
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
            kinds=tuple(dict.fromkeys(benchmark.metric for benchmark in config.evaluation.benchmarks)),
            second_guard=config.guard.second is not None,
        ),
        alarm=AlarmSection(alarm=config.alarm, suite=config.name),
        shards_evaluation=config.evaluation.shards,
    )
