"""Models of made-up outcomes, and the gate's decision on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thinksafe.config.gate import GateSettings
from thinksafe.config.sections import GateSection
from thinksafe.deciding.gate import decide
from thinksafe.measuring.statistics import proportion
from thinksafe.records import (
    Check,
    Decision,
    Metric,
    MetricKind,
    MetricSet,
    Outcome,
    Part,
    Role,
    SamplingSettings,
)

SETTINGS = SamplingSettings()


Values = Sequence[float]


@dataclass
class Model:
    """One model's evidence: values by (kind, benchmark, part), prompts numbered from 0."""

    role: Role
    values: dict[tuple[MetricKind, str, Part], Values] = field(default_factory=dict)
    suite: str = "suite"
    unknown: int = 0
    truncated: int = 0
    absent: bool = False
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields of the metrics of a benchmark, by its name."""

    def name(self, key: tuple[MetricKind, str, Part]) -> str:
        return f"{key[0]}/{key[1]}" + ("" if key[2] == "whole" else f"/{key[2]}")

    def metric_set(self) -> MetricSet:
        metrics = []
        for key, values in self.values.items():
            estimate = proportion(values, 0.9)
            metric = Metric(
                name=self.name(key), kind=key[0], benchmark=key[1], part=key[2], value=estimate.value,
                n=len(values), samples=len(values), unknown=self.unknown, truncated=self.truncated,
                interval=estimate.interval, settings=SETTINGS,
            )
            metrics.append(metric.model_copy(update=self.fields.get(key[1], {})))
        return MetricSet(role=self.role, absent=self.absent, suite=self.suite, metrics=tuple(metrics))

    def outcomes(self) -> list[Outcome]:
        return [
            Outcome(metric=self.name(key), prompt_id=f"{key[1]}-{i:04d}", value=value)
            for key, values in self.values.items() for i, value in enumerate(values)
        ]


def ones(n: int, of: int) -> list[float]:
    """n ones, then zeros."""
    return [1.0] * n + [0.0] * (of - n)


def model(
    role: Role, harm: int, refused: int = 5, wrong: int = 30, n: int = 300, **fields: Any
) -> Model:
    return Model(
        role,
        {
            ("harm", "harmbench", "whole"): ones(harm, n),
            ("over_refusal", "xstest", "whole"): ones(refused, n),
            ("reasoning", "gsm8k", "whole"): [1 - value for value in ones(wrong, n)],
        },
        **fields,
    )


NOBODY = Model("champion", absent=True)


def section(strata: tuple[str, ...] = ("gsm8k",), **gate: Any) -> GateSection:
    return GateSection(gate=GateSettings.model_validate(gate), reasoning_benchmarks=strata)


def judge(
    base: Model, candidate: Model, champion: Model = NOBODY, of: GateSection | None = None,
    outcomes: Mapping[Role, Sequence[Outcome]] | None = None,
) -> Decision:
    models = (base, candidate, champion)
    rows = {m.role: m.outcomes() for m in models} | dict(outcomes or {})
    return decide(base.metric_set(), candidate.metric_set(), champion.metric_set(), rows, of or section())


def by_name(decision: Decision) -> dict[str, Check]:
    names = [check.name for check in decision.checks]
    assert len(set(names)) == len(names), "check names repeat"
    return {check.name: check for check in decision.checks}


def failed(decision: Decision) -> set[str]:
    return {check.name for check in decision.checks if not check.passed}
