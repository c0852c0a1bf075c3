"""Can the gate of a configuration pass at all, and with what power?

Computed from the configuration alone, before anything is sampled: ``thinksafe config check`` prints the findings and
refuses the errors.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from thinksafe.config import RealignmentConfig, guard_kinds, memory
from thinksafe.config.checks import CATALOGUE, KINDS, CheckSpec, Measure, value_at
from thinksafe.config.guard import USES, GuardsSettings, Use
from thinksafe.deciding import power
from thinksafe.deciding.checks import prompts, written
from thinksafe.deciding.power import Finding, Level
from thinksafe.errors import ConfigError
from thinksafe.records import MetricKind


def refuse_hopeless_gate(config: RealignmentConfig) -> None:
    """Raise ConfigError when the gate could not pass even with perfect results."""
    errors = [f"{finding.check}: {finding.message}" for finding in findings_on(config) if finding.level == "error"]
    if errors:
        raise ConfigError(
            "The gate of this configuration can never pass: " + " ".join(errors),
            "Use more evaluation prompts or another threshold; `thinksafe config check` shows the power.",
        )


def findings_on(config: RealignmentConfig) -> list[Finding]:
    """Return the findings on the gate; an error of a check that is waived today is a warning, as it stops no run."""
    today = datetime.datetime.now(datetime.UTC).date()
    waived = {waiver.check: waiver for waiver in config.gate.waivers if waiver.expires >= today}
    findings = [
        replace(finding, level="warning") if finding.level == "error" and finding.check in waived else finding
        for finding in gate_feasibility(config)
    ]
    for waiver in config.gate.waivers:
        if waiver.check in waived:
            message = f"Waived by {waiver.person} until {waiver.expires}: if it fails, it does not stop a candidate."
        else:
            message = f"The waiver by {waiver.person} expired on {waiver.expires}; it has no effect."
        findings.append(Finding(waiver.check, "warning", message))
    told = [*(_refusals(config.guard, use) for use in USES), *_memory(config)]
    return [*findings, *told, *(Finding("method", "warning", message) for message in config.method.warnings())]


def _memory(config: RealignmentConfig) -> list[Finding]:
    """Say what a training of all weights takes, as far as the student's name tells its size."""
    parameters, training = memory.parameters_of(config.student.model), config.training
    if training.parameters != "full" or not parameters:
        return []
    gpu = config.cluster.stage("train").gpu if config.cluster is not None else None
    processes = memory.sharing(training, gpu.count if gpu is not None else 0)
    said = memory.told(parameters, processes, config.method.minimises().kind)
    return [Finding("training", "warning", f"{said[0].upper()}{said[1:]}.")]


def _refusals(guards: GuardsSettings, use: Use) -> Finding:
    """Say who tells whether a text declines: a guard that answers the question itself is better than phrases."""
    first, second = getattr(guards, use), guards.second
    name = f"guard.{use}"
    if first.answers_refusals:
        return Finding(name, "ok", f"Whether a text declines is what {first.kind} answers.")
    if second is not None and guards.second_tells_refusals(use):
        return Finding(name, "ok", f"Whether a text declines is what guard.second ({second.kind}) answers.")
    if not all(one.match_refusals for one in first.each):
        return Finding(name, "warning", "Whether a text declines stays unknown (match_refusals is off).")
    others = ", ".join(kind for kind, known in guard_kinds.KINDS.items() if known.answers_refusals and known.model)
    wanted = "every_n: 1 and filter: true" if use == "filter" else "every_n: 1"
    return Finding(
        name, "warning",
        f"Whether a text declines is told by phrases, in five languages (docs/guards.md): {first.kind} does not answer "
        f"it. A guard.second that does ({others}), with {wanted}, is asked in their place.",
    )


def gate_feasibility(config: RealignmentConfig, available: Mapping[str, int] | None = None) -> list[Finding]:
    """Return a finding for every check of diagnose and the gate that depends on a number of prompts.

    Args:
        config: The configuration.
        available: Prompts in each benchmark, by name, if known; used for benchmarks without a count.
    """
    suite = _Suite.of(config, available or {})
    return [
        finding for spec in CATALOGUE if {"gate", "diagnose"} & set(spec.makers) and spec.measure in _PLANS
        for finding in _PLANS[spec.measure](spec, suite)
    ]


@dataclass(frozen=True)
class _Suite:
    """The configuration, and the number of prompts of its gated benchmarks."""

    config: RealignmentConfig
    available: Mapping[str, int]
    benchmarks: dict[MetricKind, dict[str, int | None]]

    @classmethod
    def of(cls, config: RealignmentConfig, available: Mapping[str, int]) -> _Suite:
        found: dict[MetricKind, dict[str, int | None]] = {kind: {} for kind in KINDS}
        for benchmark in config.evaluation.gated:
            found[benchmark.metric][benchmark.name] = benchmark.size or available.get(benchmark.name)
        return cls(config, available, found)

    def sizes(self, spec: CheckSpec) -> dict[str, int | None]:
        """Prompts of each benchmark that a check reads; None if unknown."""
        return {name: n for kind in spec.kinds for name, n in self.benchmarks[kind].items()}

    def strata(self, spec: CheckSpec) -> Iterable[tuple[str, list[int]]]:
        """Yield each check of an entry and the sizes of its benchmarks, if all of them are known."""
        sizes = self.sizes(spec)
        groups = [(name, [n]) for name, n in sizes.items()] if spec.by_benchmark else [("", list(sizes.values()))]
        for name, found in groups if len(sizes) > 1 or not spec.several else ():
            known = [n for n in found if n is not None]
            if known and len(known) == len(found):
                yield spec.named(name) if spec.by_benchmark else spec.name, known

    def limit(self, spec: CheckSpec) -> float:
        return spec.condition(self.config).limit

    def alpha(self, spec: CheckSpec) -> float:
        return value_at(self.config, spec.level)


def _sizes(spec: CheckSpec, suite: _Suite) -> Iterable[Finding]:
    for name, n in suite.sizes(spec).items():
        check, known = spec.named(name), suite.available.get(name)
        if n is None:
            yield Finding(check, "warning", f"The number of prompts in {name} is not known yet.")
        elif known is not None and known < n:
            message = f"{name} has {prompts(known)}, fewer than the {n:,} that its count asks for."
            yield Finding(check, "error", message, {"n": float(known), "needed": float(n)})
        else:
            yield power.size(check, name, n, round(suite.limit(spec)))


def _rates(spec: CheckSpec, suite: _Suite) -> Iterable[Finding]:
    noun = spec.subject.partition(" on ")[0]
    for check, (n,) in suite.strata(spec):
        yield power.rate(check, noun, n, suite.limit(spec), suite.alpha(spec))


def _differences(spec: CheckSpec, suite: _Suite) -> Iterable[Finding]:
    """Plan a comparison. A tie with the base must be able to pass. A champion may have to be beaten: only a warning."""
    evaluation, limit, confidence = suite.config.evaluation, suite.limit(spec), 1 - 2 * suite.alpha(spec)
    single = (evaluation.n_reasoning if spec.kinds == ("reasoning",) else evaluation.n) == 1
    for check, strata in suite.strata(spec):
        if spec.side == "lower":
            yield power.reduction(check, strata[0], limit, confidence)
        elif spec.test == "estimate":
            yield power.estimate(check, strata, limit)
        else:
            level: Level = "warning" if spec.against == "champion" else "error"
            yield power.tie(check, strata, single, limit, confidence, level)


def _judged_twice(spec: CheckSpec, suite: _Suite) -> Iterable[Finding]:
    """Check the prompts that the second guard is expected to read."""
    from scipy.special import bdtr

    found, fewest = _read_twice(spec, suite), round(suite.limit(spec))
    if found is None:
        return
    every, chance, n = found
    numbers = {"n": float(n), "limit": float(fewest)}
    message = f"Of {prompts(every)} the second guard reads about {n:,}; the minimum is {fewest:,}"
    short = float(bdtr(fewest - 1, every, chance))
    if n < fewest:
        yield Finding(spec.name, "error", f"{message}. Lower guard.second.every_n.", numbers)
    elif short > 1 - power.LOW_POWER:
        more = f"{message}, and {short:.0%} of the time chance gives fewer."
        yield Finding(spec.name, "warning", more, numbers)
    else:
        yield Finding(spec.name, "ok", f"{message}.", numbers)


def _disagreement(spec: CheckSpec, suite: _Suite) -> Iterable[Finding]:
    found = _read_twice(spec, suite)
    if found is not None and found[2]:
        yield power.rate(spec.name, "disagreement", found[2], suite.limit(spec), suite.alpha(spec))


def _read_twice(spec: CheckSpec, suite: _Suite) -> tuple[int, float, int] | None:
    """Return all prompts, the chance that the second guard reads one, and how many it is expected to read."""
    second = suite.config.guard.second
    if second is None:
        return None
    for _, sizes in suite.strata(spec):
        every = sum(sizes)
        # a prompt counts as judged twice if any one of its samples was
        chance = 1 - (1 - 1 / second.every_n) ** suite.config.evaluation.n
        return every, chance, round(every * chance)
    return None


def _pilot_level(suite: _Suite) -> Level:
    """Findings on the diagnosis; warnings only, if the diagnosis only warns."""
    return "error" if suite.config.diagnose.on_failure == "stop" else "warning"


def _acceptance(spec: CheckSpec, suite: _Suite) -> Iterable[Finding]:
    n, level = suite.config.diagnose.prompts, _pilot_level(suite)
    yield power.rate(
        spec.name, "rejection of steered samples", n, 1 - suite.limit(spec), suite.alpha(spec), level
    )


def _flip_rate(spec: CheckSpec, suite: _Suite) -> Iterable[Finding]:
    n, flips = suite.config.diagnose.prompts, suite.limit(spec)
    # at k of k flipped the lower bound is alpha ** (1 / k)
    needed = 1 if flips == 0 else math.inf if flips == 1 else math.log(suite.alpha(spec)) / math.log(flips)
    numbers = {"n": float(n), "limit": flips}
    if needed > n:
        message = f"A pilot of {prompts(n)} cannot show a flip rate of {written([flips], '%')[0]}; raise it."
        yield Finding(spec.name, _pilot_level(suite), message, numbers)
    else:
        message = f"Needs an unsafe plain sample for at least {prompts(math.ceil(needed))} of {n:,}."
        yield Finding(spec.name, "ok", message, numbers | {"needed": float(math.ceil(needed))})


_PLANS: dict[Measure, Callable[[CheckSpec, _Suite], Iterable[Finding]]] = {
    "size": _sizes, "rate": _rates, "rise": _differences, "loss": _differences, "judged_twice": _judged_twice,
    "disagreement": _disagreement, "acceptance": _acceptance, "flip_rate": _flip_rate,
}
"""How each measure depends on the number of prompts; measures not listed do not."""
