"""Evidence about one model: its metrics and the outcomes they were computed from, checked against each other."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterable
from typing import Any

from thinksafe.measuring.statistics import (
    Estimate,
    Pairs,
    paired_difference,
    pairs_of,
    proportion_of,
    stratified_average,
)
from thinksafe.records import Disagreement, Metric, MetricKind, MetricSet, Outcome, Part, Role

Scalable = Callable[[float], Estimate]
"""The estimate that the same rates would give on ``factor`` times as many prompts; factor 1 is the measured one."""


class NoEvidence(Exception):
    """Why a number could not be computed: a clause such as ``the base has no outcomes of harm/x``."""


def metric_name(kind: MetricKind, benchmark: str, part: Part = "whole") -> str:
    """Return the stable name of a metric: ``<kind>/<benchmark>``, and ``/<part>`` unless it is the whole response."""
    return f"{kind}/{benchmark}" if part == "whole" else f"{kind}/{benchmark}/{part}"


def disagreement_name(benchmark: str, part: Part = "whole") -> str:
    """Return the name of the second guard's disagreement: ``disagreement/<benchmark>``, with ``/<part>``."""
    return f"disagreement/{benchmark}" if part == "whole" else f"disagreement/{benchmark}/{part}"


_NOUNS: dict[Role, str] = {"evaluated": "model", "previous": "model at its last evaluation"}


class Evidence:
    """The metrics and outcomes of one model.

    Args:
        metric_set: The model's metrics.
        outcomes: Its outcomes, in any order; read once.
    """

    def __init__(self, metric_set: MetricSet, outcomes: Iterable[Outcome]) -> None:
        self.role = _NOUNS.get(metric_set.role, metric_set.role)
        """How messages refer to the model."""
        self.absent = metric_set.absent
        self.suite = metric_set.suite
        self.metrics: dict[str, Metric] = {metric.name: metric for metric in metric_set.metrics}
        self.disagreements: dict[str, Disagreement] = {found.name: found for found in metric_set.disagreements}
        self._rows: dict[str, tuple[list[str], array[float]]] = {}
        for outcome in outcomes:
            ids, values = self._rows.setdefault(outcome.metric, ([], array("d")))
            ids.append(outcome.prompt_id)
            values.append(outcome.value)

    def metric(self, name: str) -> Metric | Disagreement:
        """Return a metric or a disagreement. Raises NoEvidence when the model or the metric is missing."""
        if self.absent:
            raise NoEvidence(f"there is no {self.role}")
        found = self.metrics.get(name) or self.disagreements.get(name)
        if found is None:
            raise NoEvidence(f"the {self.role} has no metric {name}")
        return found

    def benchmarks(self, kind: MetricKind, part: Part = "whole") -> set[str]:
        """Return the benchmarks that have a metric of this kind and part."""
        found = (metric for metric in self.metrics.values() if (metric.kind, metric.part) == (kind, part))
        return {metric.benchmark for metric in found}

    def outcomes(self, name: str) -> tuple[list[str], Any]:
        """Return prompt ids in ascending order and their values as a float array of the same length.

        Raises:
            NoEvidence: the metric or its outcomes are missing, a prompt repeats, or the outcomes are not the ones
                that the metric is an average over.
        """
        import numpy as np

        metric = self.metric(name)
        ids, values = self._rows.get(name, ([], array("d")))
        if not ids:
            raise NoEvidence(f"the {self.role} has no outcomes of {name}")
        numbers = np.frombuffer(values, dtype=np.float64)
        if not _ascending(ids):
            order = sorted(range(len(ids)), key=ids.__getitem__)
            ids, numbers = [ids[i] for i in order], numbers[order]
            if not _ascending(ids):
                raise NoEvidence(f"a prompt repeats in the {self.role}'s outcomes of {name}")
            self._rows[name] = ids, array("d", numbers.tobytes())
        if len(ids) != metric.n or abs(float(numbers.mean()) - metric.value) > 1e-9:
            raise NoEvidence(
                f"the {self.role}'s outcomes of {name} ({len(ids)} prompts) are not those of its metric ({metric.n})"
            )
        return ids, numbers

    def rate(self, name: str, confidence: float) -> Scalable:
        """Return the scalable estimate of a metric's mean. Raises NoEvidence."""
        _, values = self.outcomes(name)
        total, n = math.fsum(values), len(values)
        return lambda factor: proportion_of(total * factor, n * factor, confidence)

    def disagreement(self, benchmarks: Iterable[str], part: Part, confidence: float) -> Scalable:
        """Return the scalable estimate of the second guard's disagreement over the prompts of some benchmarks.

        Raises:
            NoEvidence: it judged none of them, or the outcomes are not those of the record.
        """
        if self.absent:
            raise NoEvidence(f"there is no {self.role}")
        names = [disagreement_name(benchmark, part) for benchmark in benchmarks]
        rows = [self.outcomes(name)[1] for name in names if name in self.disagreements]
        if not rows:
            raise NoEvidence(f"the second guard judged none of the {self.role}'s samples")
        total, n = math.fsum(value for values in rows for value in values), sum(map(len, rows))
        return lambda factor: proportion_of(total * factor, n * factor, confidence)


def paired(first: Evidence, second: Evidence, name: str) -> Pairs:
    """Return the statistics of ``first - second`` on one metric.

    Raises:
        NoEvidence: either lacks the metric, they were evaluated on different suites, or their prompts differ.
    """
    (ids, values), (other_ids, other_values) = first.outcomes(name), second.outcomes(name)
    if first.suite != second.suite:
        raise NoEvidence(
            f"the {first.role} and the {second.role} were evaluated on different suites (digests "
            f"{first.suite[:12]} and {second.suite[:12]}): evaluate both again with this configuration"
        )
    if ids != other_ids:
        differing = len(set(ids) ^ set(other_ids))
        raise NoEvidence(f"the {first.role} and the {second.role} differ in {differing} prompts of {name}")
    return pairs_of(values, other_values)


def difference(first: Evidence, second: Evidence, names: Iterable[str], confidence: float) -> Scalable:
    """Return the scalable estimate of ``first - second``, averaged over metrics with equal weights.

    Raises:
        NoEvidence: as :func:`paired`, or there are no metrics to average.
    """
    strata = [paired(first, second, name) for name in names]
    if not strata:
        raise NoEvidence("there is no benchmark for it")
    return lambda factor: stratified_average(
        [paired_difference(pairs.scaled(factor), confidence) for pairs in strata]
    )


def _ascending(ids: list[str]) -> bool:
    return all(before < after for before, after in itertools.pairwise(ids))
