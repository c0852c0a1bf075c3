"""From the catalogue to checks: compute each measure from the evidence and test it as its entry says.

A check is made if everything that it refers to exists: a champion, a second guard, an earlier evaluation. Data that
should exist but is missing fails the check that needs it, and the check says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from thinksafe.config.checks import CATALOGUE, CheckSpec, Condition, Maker, Measure, Subject, Test, value_at
from thinksafe.config.sections import GateSection, MonitorSection
from thinksafe.deciding.checks import (
    bound_check,
    count_check,
    estimate_check,
    evidence_check,
    failed_check,
    prompts,
    share_check,
    worst_check,
    written,
)
from thinksafe.measuring.evidence import Evidence, NoEvidence, Scalable, difference, metric_name
from thinksafe.measuring.sizes import notable, worst_size
from thinksafe.measuring.statistics import BONETT_PRICE
from thinksafe.prompts.decontamination import Contamination
from thinksafe.records import Check, Metric, MetricKind


@dataclass(frozen=True)
class Scope:
    """The data to decide on."""

    models: Mapping[Subject, Evidence]
    """The models that checks may refer to; a model that should exist but does not is an absent one."""
    section: GateSection | MonitorSection
    kinds: frozenset[MetricKind]
    """Metrics that the suite asks for."""
    contamination: Contamination | None = None

    @cached_property
    def names(self) -> dict[MetricKind, dict[str, str]]:
        """Names of metrics by kind and benchmark, of every benchmark with checks that any model has."""
        part, left_out = self.section.gate.harm.part, set(self.section.report_only)
        models = self.models.values()
        harm = {name for model in models for name in model.benchmarks("harm", part)} - left_out
        refusal = {name for model in models for name in model.benchmarks("over_refusal")} - left_out
        return {
            "harm": {name: metric_name("harm", name, part) for name in sorted(harm)},
            "over_refusal": {name: metric_name("over_refusal", name) for name in sorted(refusal)},
            "reasoning": {name: metric_name("reasoning", name) for name in self.section.reasoning_benchmarks},
        }

    def benchmarks(self, spec: CheckSpec) -> list[str]:
        """Return the benchmarks that a check may read."""
        return [benchmark for kind in spec.kinds for benchmark in self.names[kind]]

    def metrics(self, spec: CheckSpec, benchmark: str) -> list[str]:
        """Return the names of the metrics that a check reads: of a benchmark, or of all of its kinds."""
        return [
            name for kind in spec.kinds for of, name in self.names[kind].items() if benchmark in ("", of)
        ]

    def found(self, spec: CheckSpec, benchmark: str) -> list[Metric]:
        """Return those of them that the model has; the checks on the others fail on their own."""
        metrics = self.models[spec.of].metrics
        return [metrics[name] for name in self.metrics(spec, benchmark) if name in metrics]


def checks_of(maker: Maker, scope: Scope) -> list[Check]:
    """Return all checks of a decision, in the order of the catalogue."""
    made = (spec for spec in CATALOGUE if maker in spec.makers and _applies(spec, scope))
    return [check for spec in made for check in _made(spec, scope)]


def _applies(spec: CheckSpec, scope: Scope) -> bool:
    return (
        {spec.of, spec.against or spec.of} <= set(scope.models)
        and (scope.section.second_guard or not spec.second_guard)
        and (scope.contamination is not None or spec.measure != "overlap")
        and (spec.by_benchmark or not scope.kinds.isdisjoint(spec.kinds))
    )


def _made(spec: CheckSpec, scope: Scope) -> Iterable[Check]:
    if spec.worst:
        counted = spec.test == "share"  # metrics that are missing fail on their own
        benchmarks = [name for name in scope.benchmarks(spec) if not counted or scope.found(spec, name)]
        made = {benchmark: _check(spec, scope, benchmark) for benchmark in benchmarks}
        whole = spec.condition(scope.section, model=scope.models[spec.of].role)
        yield worst_check(whole, made, spec.advice)
        return
    benchmarks = scope.benchmarks(spec) if spec.by_benchmark else [""]
    if not benchmarks and spec.required and not scope.kinds.isdisjoint(spec.kinds):
        yield failed_check(spec.condition(scope.section), NoEvidence("no model has a benchmark for it"))
    for benchmark in benchmarks if len(benchmarks) > 1 or not spec.several else ():
        yield _check(spec, scope, benchmark)


def _check(spec: CheckSpec, scope: Scope, benchmark: str) -> Check:
    condition = spec.condition(scope.section, benchmark, scope.models[spec.of].role)
    if spec.measure == "accuracy" and condition.limit:
        guessing = max((metric.guessing for metric in scope.found(spec, benchmark)), default=0.0)
        condition = replace(condition, limit=max(condition.limit, guessing))
    check = _TESTS[spec.test](condition, partial(_MEASURES[spec.measure], spec, scope, benchmark))
    if not (check.passed and spec.against and spec.test == "bound" and spec.side == "upper" and check.interval):
        return check
    model = scope.models[spec.of]
    strata = [len(model.outcomes(name)[0]) for name in scope.metrics(spec, benchmark)]
    alpha = value_at(scope.section, spec.level)
    size = worst_size(strata, condition.limit, alpha, BONETT_PRICE not in check.interval.method)
    if not notable(size, alpha):
        return check
    chance, level = written((size, alpha), "%")
    remark = f"With this many prompts, a difference of exactly the limit may pass {chance} of the time, not {level}."
    return check.model_copy(update={"reason": f"{check.reason} {remark}"})


def _confidence(spec: CheckSpec, scope: Scope) -> float:
    return 1 - 2 * value_at(scope.section, spec.level)


def _rate(spec: CheckSpec, scope: Scope, benchmark: str) -> Scalable:
    (name,) = scope.metrics(spec, benchmark)
    return scope.models[spec.of].rate(name, _confidence(spec, scope))


def _rise(spec: CheckSpec, scope: Scope, benchmark: str) -> Scalable:
    assert spec.against is not None
    pair = scope.models[spec.of], scope.models[spec.against]
    return difference(*pair, scope.metrics(spec, benchmark), _confidence(spec, scope))


def _loss(spec: CheckSpec, scope: Scope, benchmark: str) -> Scalable:
    assert spec.against is not None
    pair = scope.models[spec.against], scope.models[spec.of]
    return difference(*pair, scope.metrics(spec, benchmark), _confidence(spec, scope))


def _disagreement(spec: CheckSpec, scope: Scope, benchmark: str) -> Scalable:
    part = scope.section.gate.harm.part
    of = [benchmark] if benchmark else scope.benchmarks(spec)
    return scope.models[spec.of].disagreement(of, part, _confidence(spec, scope))


def _judged_twice(spec: CheckSpec, scope: Scope, benchmark: str) -> int:
    return round(_disagreement(spec, scope, benchmark)(1.0).n)


def _size(spec: CheckSpec, scope: Scope, benchmark: str) -> int:
    (name,) = scope.metrics(spec, benchmark)
    return len(scope.models[spec.of].outcomes(name)[0])


def _unknown(spec: CheckSpec, scope: Scope, benchmark: str) -> tuple[int, int]:
    (metric,) = scope.found(spec, benchmark)
    return metric.unknown, metric.samples


def _truncated(spec: CheckSpec, scope: Scope, benchmark: str) -> tuple[int, int]:
    (metric,) = scope.found(spec, benchmark)
    return metric.truncated, metric.samples


def _overlap(_: CheckSpec, scope: Scope, benchmark: str) -> tuple[int, int]:
    assert scope.contamination is not None
    for overlap in scope.contamination.benchmarks:
        if overlap.benchmark == benchmark:
            return overlap.left, overlap.prompts
    raise NoEvidence("the contamination report does not have this benchmark")


_MEASURES: dict[Measure, Callable[[CheckSpec, Scope, str], Any]] = {
    "rate": _rate, "accuracy": _rate, "rise": _rise, "loss": _loss, "disagreement": _disagreement,
    "judged_twice": _judged_twice, "size": _size, "unknown": _unknown, "truncated": _truncated, "overlap": _overlap,
}
"""Each raises NoEvidence. Bound, estimate and evidence take a Scalable, share (count, samples), count a number."""


def _share(condition: Condition, prepare: Callable[[], tuple[int, int]]) -> Check:
    try:
        return share_check(condition, *prepare())
    except NoEvidence as gap:
        return failed_check(condition, gap)


def _count(condition: Condition, prepare: Callable[[], int]) -> Check:
    try:
        n = prepare()
    except NoEvidence as gap:
        return failed_check(condition, gap)
    return count_check(condition, f"{condition.found} {prompts(n)}", n, n)


_TESTS: dict[Test, Callable[[Condition, Callable[[], Any]], Check]] = {
    "bound": bound_check, "estimate": estimate_check, "evidence": evidence_check, "share": _share, "count": _count,
}
