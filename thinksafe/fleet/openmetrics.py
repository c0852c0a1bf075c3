"""The numbers of the page as OpenMetrics text.

All of them are gauges without timestamps, so that Prometheus' older text format, which a node exporter's textfile
collector and a push gateway read, understands the same lines. What is not known has no line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from thinksafe.fleet import attention
from thinksafe.fleet.facts import MEASURES, number
from thinksafe.fleet.survey import Fleet
from thinksafe.text import clean

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

PREFIX = "thinksafe"
MODEL = ("store", "model")
LIMITS = {"": "as last measured", "_low": "lower limit of its interval", "_high": "upper limit of its interval"}
WORDS = {
    "harm": "Harm of the champion, highest of the benchmarks",
    "over_refusal": "Over-refusal of the champion, highest of the benchmarks",
    "reasoning": "Reasoning of the champion, average pass@1",
}


def exposition(fleet: Fleet) -> bytes:
    """Return the text of a fleet."""
    from prometheus_client.openmetrics.exposition import generate_latest
    from prometheus_client.registry import Collector, CollectorRegistry

    class Once(Collector):
        """Hands out the metrics of this fleet."""

        def collect(self) -> Iterator[GaugeMetricFamily]:
            yield from _families(fleet)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return bytes(generate_latest(registry))  # type: ignore[no-untyped-call]


def _families(fleet: Fleet) -> Iterator[GaugeMetricFamily]:
    made = _family("fleet_read_timestamp_seconds", "When the stores were read", ())
    made.add_metric((), fleet.now)
    readable = _family("fleet_store_readable", "Whether a store could be read (1) or not (0)", ("store",))
    lost = _family("fleet_runs_without_plan", "Failed runs that left no plan to say for which model", ("store",))
    for store in fleet.stores:
        readable.add_metric((_text(store.root),), float(not store.problem))
        lost.add_metric((_text(store.root),), len(store.lost))
    yield from (made, readable, lost)

    state = _family("model_state", "Whether a model is in a state (1) or not (0)", (*MODEL, "state"))
    version = _family("model_champion_version", "Version of the champion", MODEL)
    since = _family("model_champion_timestamp_seconds", "Since when the champion is one", MODEL)
    measured = _family("model_measured_timestamp_seconds", "When the champion was last measured", MODEL)
    evaluations = _family("model_evaluations", "Evaluations of models that are or were champion", MODEL)
    following = _family(
        "model_next_run_timestamp_seconds", "Next start of a pipeline, as configured in the last run",
        (*MODEL, "pipeline"),
    )
    missing = _family("model_approvals_missing", "Approvals that a version still needs", (*MODEL, "version"))
    expires = _family(
        "model_approval_expires_timestamp_seconds", "When the request for approval expires", (*MODEL, "version")
    )
    numbers = {
        (measure, end): _family(f"model_{measure}{end}_ratio", f"{WORDS[measure]}: {words}", MODEL)
        for measure in MEASURES for end, words in LIMITS.items()
    }
    limits = _family("model_limit_ratio", "Limit of the gate, as configured in the last run", (*MODEL, "measure"))
    seen: set[tuple[str, str]] = set()
    for row in fleet.rows:
        model = row.model
        key = _text(model.root), _text(model.name)
        if key in seen:  # names that differ only in what no text may hold
            continue
        seen.add(key)
        states = {reason.state for reason in row.reasons}
        for name in attention.STATES:
            state.add_metric((*key, name), float(name in states))
        evaluations.add_metric(key, sum(map(len, model.evaluations.values())))
        for asked in model.waiting:
            if asked.state == "waiting":
                missing.add_metric((*key, asked.version), asked.missing)
                if asked.expires is not None:
                    expires.add_metric((*key, asked.version), asked.expires)
        if model.champion is not None:
            version.add_metric(key, float(model.champion.version))
        if model.since is not None:
            since.add_metric(key, model.since)
        for one in attention.schedules(model, fleet.now):
            if one.next is not None:
                following.add_metric((*key, one.pipeline), one.next)
        for measure, limit in model.limits.items():
            limits.add_metric((*key, measure), limit)
        newest = model.newest()
        if newest is None:
            continue
        measured.add_metric(key, newest.time)
        for measure in MEASURES:
            if (span := number(newest.numbers, measure, model.part)) is not None:
                for end, value in zip(LIMITS, span, strict=True):
                    numbers[measure, end].add_metric(key, value)
    yield from (
        state, version, since, measured, evaluations, following, limits, missing, expires, *numbers.values()
    )


def _family(name: str, words: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    unit = name.rpartition("_")[2]
    return GaugeMetricFamily(
        f"{PREFIX}_{name}", f"{words}.", labels=labels, unit=unit if unit in ("seconds", "ratio") else ""
    )


def _text(value: str) -> str:
    return clean(value, 1000)
