"""diagnose: pilot samples + verdicts -> is there latent safety knowledge that steering can bring out?

The method repairs a student from its own steered samples, so it cannot repair a student that does not refuse when told
to. A pilot of harmful prompts, sampled plain and steered, shows that before GPU time is spent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from thinksafe.config.checks import ACCEPTANCE, FLIP_RATE, PILOT_UNKNOWN
from thinksafe.config.sections import DiagnoseSection
from thinksafe.deciding.checks import bound_check, concluded, prompts, share_check
from thinksafe.deciding.recommendation import recommend
from thinksafe.digests import digest_file
from thinksafe.errors import StageError
from thinksafe.jsonl import write_atomic, write_json
from thinksafe.measuring.evidence import NoEvidence, Scalable
from thinksafe.measuring.pilot import (
    Trace,
    excess_cross_entropy,
    joined,
    nats_a_token,
    odds_ratio,
    predictions,
)
from thinksafe.measuring.statistics import proportion, proportion_of
from thinksafe.methods.rules import assess
from thinksafe.records import Arm, Check, Decision, Sample, Verdict
from thinksafe.run.details import DiagnoseDetails, Finding, Rate
from thinksafe.run.manifests import read_manifest, read_rows
from thinksafe.run.record import StageContext, StageResult, recorded

HEAVIER = (
    "try a heavier method that brings safety in from outside: training on a safer teacher's responses, on-policy "
    "distillation from one, or reinforcement learning with the guard as reward"
)

UNJUDGED = "Latent safety knowledge cannot be told, too many verdicts are unknown"
SAFE_ALREADY = "Nothing to repair, so no latent safety knowledge to bring out: every plain sample is safe already"
UNDECIDED = "Latent safety knowledge is not shown, the pilot is too small"
UNSTEERABLE = "No latent safety knowledge"
FINDINGS: dict[str, Finding] = {UNJUDGED: "unjudged", SAFE_ALREADY: "safe already", UNDECIDED: "undecided"}
"""Findings of the causes that are not about what steering brings out."""


def run(
    context: StageContext, section: DiagnoseSection, samples: Path, verdicts: Path, *, diagnosis_out: Path,
    passed_out: Path,
) -> StageResult:
    """Write the diagnosis (a Decision, JSON) and whether the run continues, ``true`` or ``false``.

    A sample is accepted as curation accepts a harmful prompt's: complete, safe, a refusal. Checks:
    ``steerability/acceptance`` (accepted share of steered samples, lower bound), ``steerability/flip_rate`` (of the
    prompts whose plain sample is not safe, the share whose steered one is accepted, lower bound), ``unknown``.

    With ``on_failure: warn`` the flag is always ``true``, but the decision still reports the failure; the details hold
    ``continues``.

    Raises:
        InputError: a manifest is malformed.
        StageError: the pilot is empty, a prompt lacks an arm or is not harmful, or a sample has no verdict.
    """
    with recorded(context, section) as result:
        of, judged = read_manifest(samples), read_manifest(verdicts)
        opinions = {
            row.sample_id: row for row in read_rows(context.store, judged, Verdict) if row.part == "whole"
        }
        pilot = _Pilot(section)
        for sample in read_rows(context.store, of, Sample):
            if sample.id not in opinions:
                raise StageError(f"The sample {sample.id!r} has no verdict.", "Judge the pilot again.")
            pilot.add(sample, opinions[sample.id])
        pilot.require_complete()
        decision, cause = _decide(pilot, section)
        continues = decision.passed or section.diagnose.on_failure == "warn"
        write_json(diagnosis_out, decision)
        write_atomic(passed_out, b"true" if continues else b"false")
        result.verdict = "passed" if decision.passed else "unsteerable"
        result.inputs = {"samples": of.digest, "verdicts": judged.digest}
        result.outputs = {"diagnosis": digest_file(diagnosis_out)}
        result.counts = {"rows": of.rows, "prompts": len(pilot.prompts), "unknown": pilot.unknown}
        details = pilot.details(decision, continues=continues)
        result.details = details.model_copy(update={"recommendation": recommend(details, FINDINGS.get(cause))})
    return result


class _Pilot:
    """The results of the pilot, by prompt and arm."""

    def __init__(self, section: DiagnoseSection) -> None:
        self.confidence = 1 - 2 * section.alpha
        self.arm = section.arm
        """The arm under test, compared with the plain one."""
        self._section = section
        self.unknown = 0
        self.samples = 0
        self.reasons: dict[Arm, Counter[str]] = {"plain": Counter(), self.arm: Counter()}
        """Why samples were rejected, or ``accepted``; as in curation."""
        self.prompts: dict[str, dict[Arm, list[bool]]] = {}
        """Whether each sample was accepted."""
        self.harmed: set[str] = set()
        """Prompts with a plain sample that is not safe; unknown is not safe."""
        self._safe: dict[str, list[bool]] = {}
        """Whether each plain sample is safe, by prompt."""
        self._traces: dict[Arm, dict[str, list[Trace]]] = {"plain": {}, self.arm: {}}
        """Accepted responses by prompt, where the engine scored them."""
        self._tokens: dict[Arm, list[int]] = {"plain": [], self.arm: []}

    def add(self, sample: Sample, verdict: Verdict) -> None:
        if sample.prompt.label != "harmful":
            raise StageError(f"The pilot sample {sample.id!r} is of a benign prompt.", "Prepare the run again.")
        reason = assess(sample, verdict, self._section.rules, self._section.reasoning)
        self.reasons[sample.arm][reason] += 1
        self.samples += 1
        # a response without an answer tells of the student, not of the guard; it is among the reasons
        self.unknown += verdict.verdict == "unknown" and reason not in ("incomplete", "no_answer")
        arms = self.prompts.setdefault(sample.prompt.id, {"plain": [], self.arm: []})
        arms[sample.arm].append(reason == "accepted")
        self._tokens[sample.arm].append(sample.tokens)
        if reason == "accepted" and sample.nll is not None:
            trace = Trace(sample.nll * sample.tokens, sample.tokens)
            self._traces[sample.arm].setdefault(sample.prompt.id, []).append(trace)
        if sample.arm == "plain":
            self._safe.setdefault(sample.prompt.id, []).append(verdict.verdict == "safe")
            if verdict.verdict != "safe":
                self.harmed.add(sample.prompt.id)

    def require_complete(self) -> None:
        if not self.prompts:
            raise StageError("The pilot has no samples.", "Check data.harmful and diagnose.prompts.")
        for prompt, arms in self.prompts.items():
            for arm, accepted in arms.items():
                if not accepted:
                    raise StageError(f"The pilot prompt {prompt!r} has no {arm} sample.", "Sample the pilot again.")

    def values(self, arm: Arm, of: set[str] | None = None) -> list[float]:
        """Return the accepted share of each prompt's samples, of all prompts or of some."""
        return [
            math.fsum(arms[arm]) / len(arms[arm]) for prompt, arms in self.prompts.items() if of is None or prompt in of
        ]

    def flips(self) -> list[float]:
        """Return the accepted share of the steered samples of each prompt whose plain one is not safe."""
        return self.values(self.arm, self.harmed)

    def details(self, decision: Decision, *, continues: bool) -> DiagnoseDetails:
        """Return what the report shows, but for the recommendation."""
        plain, under_test = self.values("plain"), self.values(self.arm)
        safe = [math.fsum(found) / len(found) for found in self._safe.values()]
        traces = {
            arm: {prompt: joined(found) for prompt, found in of.items()} for arm, of in self._traces.items()
        }
        return DiagnoseDetails(
            decision=decision, continues=continues, acceptance_steered=self.rate(under_test),
            acceptance_plain=self.rate(plain), flip_rate=self.rate(self.flips()),
            reasons={arm: dict(sorted(self.reasons[arm].items())) for arm in self.reasons},
            odds_ratio=odds_ratio(plain, under_test, self.confidence),
            cross_entropy={arm: nats_a_token(of) for arm, of in traces.items()},
            excess=excess_cross_entropy(traces["plain"], traces[self.arm], self.confidence, self._section.seed),
            tokens={arm: math.fsum(counts) / len(counts) for arm, counts in self._tokens.items()},
            predictions=predictions(plain, safe, under_test),
        )

    def scalable(self, values: Sequence[float]) -> Scalable:
        if not values:
            raise NoEvidence("no prompt of the pilot has a plain sample that is not safe")
        return lambda factor: proportion_of(math.fsum(values) * factor, len(values) * factor, self.confidence)

    def rate(self, values: Sequence[float]) -> Rate:
        """Return a rate in the form that the report uses."""
        if not values:
            return Rate(value=None, n=0, interval=None)
        estimate = proportion(values, self.confidence)
        return Rate(value=estimate.value, n=len(values), interval=estimate.interval)


def _decide(pilot: _Pilot, section: DiagnoseSection) -> tuple[Decision, str]:
    """Return the decision, and the cause of failed checks; it is of no meaning where all passed."""
    settings = section.diagnose
    judged = share_check(PILOT_UNKNOWN.condition(section), pilot.unknown, pilot.samples)
    measured = [
        bound_check(ACCEPTANCE.condition(section), lambda: pilot.scalable(pilot.values(pilot.arm))),
        bound_check(FLIP_RATE.condition(section), lambda: pilot.scalable(pilot.flips())),
    ]
    cause = _cause(measured, judged, pilot)
    checks = [_explained(check, cause, pilot) for check in (*measured, judged)]
    failed = [check.name for check in checks if not check.passed]
    if not failed:
        summary = "Steerable: steering brings out accepted refusals where plain samples are not safe."
    else:
        end = "; the run goes on because diagnose.on_failure is warn" if settings.on_failure == "warn" else ""
        summary = f"{cause}: {len(failed)} of {len(checks)} checks failed ({', '.join(failed)}){end}."
    return concluded("diagnose", checks, summary), cause if failed else ""


def _cause(measured: Sequence[Check], judged: Check, pilot: _Pilot) -> str:
    """Name the cause of the failed checks; the guard and the data come before the student."""
    failed = [check for check in measured if not check.passed]
    if not judged.passed:
        return UNJUDGED
    if not pilot.harmed:
        return SAFE_ALREADY
    return UNDECIDED if all(check.undecided for check in failed) else UNSTEERABLE


def _explained(check: Check, cause: str, pilot: _Pilot) -> Check:
    """Add to a failed check what it means for the method."""
    if check.passed:
        return check
    n = len(pilot.prompts)
    if cause == UNJUDGED:
        advice = "Look at guard.filter."
    elif cause == SAFE_ALREADY:
        advice = f"None of {prompts(n)} gave an unsafe plain sample."
    elif cause == UNDECIDED:
        advice = f"Raise diagnose.prompts; {len(pilot.harmed)} of {n} prompts had a plain sample that is not safe."
    else:
        advice = _remedy(pilot.arm, pilot.reasons[pilot.arm])
    return check.model_copy(update={"reason": f"{cause}: {check.reason} {advice}"})


def _remedy(arm: Arm, reasons: Counter[str]) -> str:
    rejected = sorted((-count, reason) for reason, count in reasons.items() if reason != "accepted")
    counts = ", ".join(f"{-count} {reason.replace('_', ' ')}" for count, reason in rejected)
    cut = rejected[0][1] == "incomplete"
    advice = f"raise sampling.settings.max_tokens, or {HEAVIER}" if cut else HEAVIER
    return f"{arm.capitalize()} samples rejected: {counts}. Remedy: {advice}."
