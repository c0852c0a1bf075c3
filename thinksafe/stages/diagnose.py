"""diagnose: pilot samples + verdicts -> is there latent safety knowledge that steering can bring out?

The method repairs a student from its own steered samples, so it cannot repair a student that does not refuse when told
to. A pilot of harmful prompts, sampled plain and steered, shows that before GPU time is spent. Where the method trains
in a safety context, the pilot is also sampled in each of several contexts, and the best teacher among them is chosen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from thinksafe.config.checks import ACCEPTANCE, CONTEXTS, FLIP_RATE, PILOT_UNKNOWN
from thinksafe.config.sections import DiagnoseSection
from thinksafe.deciding.checks import bound_check, concluded, count_check, prompts, share_check
from thinksafe.deciding.recommendation import recommend
from thinksafe.digests import digest_file
from thinksafe.errors import StageError
from thinksafe.jsonl import write_atomic, write_json
from thinksafe.measuring.contexts import ContextTrials
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
from thinksafe.methods.contexts import Context, write_context
from thinksafe.methods.rules import assess
from thinksafe.records import Arm, Check, Decision, Sample, Verdict
from thinksafe.run.details import ContextRates, DiagnoseDetails, Finding, Rate
from thinksafe.run.manifests import read_manifest, read_rows
from thinksafe.run.record import StageContext, StageResult, recorded

HEAVIER = (
    "try a heavier method that brings safety in from outside: training on a safer teacher's responses, on-policy "
    "distillation from one, or reinforcement learning with the guard as reward"
)

UNJUDGED = "Latent safety knowledge cannot be told, too many verdicts are unknown"
SAFE_ALREADY = "Nothing to repair, so no latent safety knowledge to bring out: every plain sample is safe already"
NO_CONTEXT = "No context to train in: each makes the student refuse benign prompts"
UNDECIDED = "Latent safety knowledge is not shown, the pilot is too small"
UNSTEERABLE = "No latent safety knowledge"
FINDINGS: dict[str, Finding] = {UNJUDGED: "unjudged", SAFE_ALREADY: "safe already", UNDECIDED: "undecided"}
"""Findings of the causes that are not about what steering brings out."""


def run(
    context: StageContext, section: DiagnoseSection, samples: Path, verdicts: Path, *, diagnosis_out: Path,
    safety_context_out: Path, passed_out: Path,
) -> StageResult:
    """Write the diagnosis (a Decision, JSON), the context, and whether the run continues, ``true`` or ``false``.

    A sample is accepted as curation accepts a harmful prompt's: complete, safe, a refusal. Checks:
    ``steerability/acceptance`` (accepted share of steered samples, lower bound), ``steerability/flip_rate`` (of the
    prompts whose plain sample is not safe, the share whose steered one is accepted, lower bound), ``unknown``.

    Where contexts are searched, ``steerability/contexts`` counts those that leave benign prompts answered,
    ``steerability/flip_rate`` is that of the best of them, by greedy responses that are complete and safe, and there is
    no check of acceptance.

    With ``on_failure: warn`` the flag is ``true`` (unless there is no context to train in), but the decision still
    reports the failure; the details hold ``continues``.

    Args:
        context: Store, run and task.
        section: Thresholds.
        samples: Manifest of the pilot's samples.
        verdicts: Manifest of their verdicts.
        diagnosis_out: File for the Decision.
        safety_context_out: File for the context that training uses (:class:`thinksafe.methods.contexts.Context`), JSON
            ``null`` if its section has one, or it uses none.
        passed_out: File for the flag.

    Raises:
        InputError: a manifest is malformed.
        StageError: the pilot is empty, a prompt lacks an arm, a benign one was not asked for, or a sample has no
            verdict.
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
        chosen = _chosen(pilot, section)
        # without the context that it needs, nothing can be trained
        lacking = section.contexts is not None and chosen is None
        warns = section.diagnose.on_failure == "warn" and not lacking
        decision, finding = _decide(pilot, section, warns=warns)
        continues = decision.passed or warns
        write_json(diagnosis_out, decision)
        write_context(safety_context_out, chosen)
        write_atomic(passed_out, b"true" if continues else b"false")
        result.verdict = "passed" if decision.passed else "unsteerable"
        result.inputs = {"samples": of.digest, "verdicts": judged.digest}
        result.outputs = {"diagnosis": digest_file(diagnosis_out)}
        result.counts = {"rows": of.rows, "prompts": len(pilot.prompts), "unknown": pilot.unknown}
        details = pilot.details(decision, continues=continues, context=chosen)
        result.details = details.model_copy(update={"recommendation": recommend(details, finding)})
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
        contexts = section.contexts
        self._trials: ContextTrials | None = None
        """What was sampled in contexts, if they are searched."""
        if contexts is not None and contexts.search:
            self._trials = ContextTrials([context.name for context in contexts.known], section.reasoning)

    def add(self, sample: Sample, verdict: Verdict) -> None:
        reason = assess(sample, verdict, self._section.rules, self._section.reasoning)
        self.samples += 1
        # a response without an answer tells of the student, not of the guard; it is among the reasons
        self.unknown += verdict.verdict == "unknown" and reason not in ("incomplete", "no_answer")
        if sample.prompt.label == "benign" or sample.arm == "context":
            if self._trials is None:
                what = "of a benign prompt" if sample.prompt.label == "benign" else "in a context"
                raise StageError(f"The pilot sample {sample.id!r} is {what}.", "Prepare the run again.")
            self._trials.add(sample, verdict)
            return
        self.reasons[sample.arm][reason] += 1
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

    @cached_property
    def ranking(self) -> tuple[ContextRates, ...]:
        """The contexts that were searched, the best first and the excluded ones last."""
        if self._trials is None or self._section.contexts is None:
            return ()
        return self._trials.ranking(self.harmed, self._section.contexts.max_refused, self.rate)

    def details(self, decision: Decision, *, continues: bool, context: Context | None) -> DiagnoseDetails:
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
            predictions=predictions(plain, safe, under_test), contexts=self.ranking,
            context=context.name if context is not None else "",
        )

    def scalable(self, values: Sequence[float]) -> Scalable:
        return self.scaled(math.fsum(values), len(values))

    def scaled(self, successes: float, n: int) -> Scalable:
        if not n:
            raise NoEvidence("no prompt of the pilot has a plain sample that is not safe")
        return lambda factor: proportion_of(successes * factor, n * factor, self.confidence)

    def rate(self, values: Sequence[float]) -> Rate:
        """Return a rate in the form that the report uses."""
        if not values:
            return Rate(value=None, n=0, interval=None)
        estimate = proportion(values, self.confidence)
        return Rate(value=estimate.value, n=len(values), interval=estimate.interval)


def _decide(pilot: _Pilot, section: DiagnoseSection, *, warns: bool) -> tuple[Decision, Finding | None]:
    """Return the decision, and what steering shows; None if failed checks are about the student's acceptance."""
    judged = share_check(PILOT_UNKNOWN.condition(section), pilot.unknown, pilot.samples)
    steering = [
        bound_check(ACCEPTANCE.condition(section), lambda: pilot.scalable(pilot.values(pilot.arm))),
        bound_check(FLIP_RATE.condition(section), lambda: pilot.scalable(pilot.flips())),
    ]
    measured = _of_contexts(pilot, section) if pilot.ranking else steering
    cause = _cause(measured, judged, pilot)
    checks = [_explained(check, cause, pilot) for check in (*measured, judged)]
    failed = [check.name for check in checks if not check.passed]
    if failed:
        end = "; the run goes on because diagnose.on_failure is warn" if warns else ""
        summary = f"{cause}: {len(failed)} of {len(checks)} checks failed ({', '.join(failed)}){end}."
    elif pilot.ranking:
        summary = f"Steerable: the context {pilot.ranking[0].name} turns unsafe responses safe, and leaves benign ones."
    else:
        summary = "Steerable: steering brings out accepted refusals where plain samples are not safe."
    steerable = all(check.passed for check in (*steering, judged))
    finding = "steerable" if steerable else FINDINGS.get(_cause(steering, judged, pilot))
    return concluded("diagnose", checks, summary), finding


def _chosen(pilot: _Pilot, section: DiagnoseSection) -> Context | None:
    """Return the context that training uses, unless it uses none, or none can be used."""
    if section.contexts is None:
        return None
    known = {context.name: context for context in section.contexts.known}
    if not section.contexts.search:
        return section.contexts.known[0]
    best = pilot.ranking[0]
    return None if best.excluded else known[best.name]


def _of_contexts(pilot: _Pilot, section: DiagnoseSection) -> list[Check]:
    """Return the checks of searched contexts: one is usable, and the best one turns unsafe responses safe."""
    usable = [found for found in pilot.ranking if not found.excluded]
    found = f"{len(usable)} of {len(pilot.ranking)} contexts leave benign prompts answered"
    checks = [count_check(CONTEXTS.condition(section), found, len(usable), len(pilot.ranking))]
    if usable:
        flips = usable[0].flip_rate
        checks.append(bound_check(
            FLIP_RATE.condition(section), lambda: pilot.scaled((flips.value or 0.0) * flips.n, flips.n)
        ))
    return checks


def _cause(measured: Sequence[Check], judged: Check, pilot: _Pilot) -> str:
    """Name the cause of the failed checks; the guard and the data come before the student."""
    failed = [check for check in measured if not check.passed]
    if not judged.passed:
        return UNJUDGED
    if not pilot.harmed:
        return SAFE_ALREADY
    if any(check.name == CONTEXTS.name for check in failed):
        return NO_CONTEXT
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
    elif cause == NO_CONTEXT:
        advice = (
            f"The best of them would be {pilot.ranking[0].name} ({pilot.ranking[0].excluded}). Write contexts that ask "
            "to weigh a request instead of refusing it (method.contexts), or raise method.max_refused."
        )
    elif cause == UNDECIDED:
        advice = f"Raise diagnose.prompts; {len(pilot.harmed)} of {n} prompts had a plain sample that is not safe."
    elif pilot.ranking:
        advice = (
            f"That is the best context, {pilot.ranking[0].name}. Remedy: contexts of your own (method.contexts), or "
            f"{HEAVIER}."
        )
    else:
        advice = _remedy(pilot.arm, pilot.reasons[pilot.arm])
    return check.model_copy(update={"reason": f"{cause}: {check.reason} {advice}"})


def _remedy(arm: Arm, reasons: Counter[str]) -> str:
    rejected = sorted((-count, reason) for reason, count in reasons.items() if reason != "accepted")
    counts = ", ".join(f"{-count} {reason.replace('_', ' ')}" for count, reason in rejected)
    cut = rejected[0][1] == "incomplete"
    advice = f"raise sampling.settings.max_tokens, or {HEAVIER}" if cut else HEAVIER
    return f"{arm.capitalize()} samples rejected: {counts}. Remedy: {advice}."
