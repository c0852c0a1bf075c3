"""The sentences of the report: outcome, next steps, and the limits of the evidence."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from thinksafe.benchmarks.definitions import known_definition
from thinksafe.config.rounds import MOST, round_suffix, without_round
from thinksafe.deciding.waivers import applied
from thinksafe.report.summary import RunSummary
from thinksafe.report.summary.model import (
    EVALUATION_ONLY,
    LATER_ONLY,
    MAKING,
    REALIGNMENT_ONLY,
    ROLLOUT_ONLY,
    STEPS,
    RunOutcome,
    place,
)
from thinksafe.text import plural


class Verdict(NamedTuple):
    """The title of an outcome, and its symbol and tone on the page."""

    title: str
    symbol: str
    tone: str


VERDICTS: dict[RunOutcome, Verdict] = {
    "promoted": Verdict("Promoted", "✓", "good"),
    "rolled back": Verdict("Rolled back", "✕", "bad"),
    "awaiting approval": Verdict("Awaiting approval", "…", "even"),
    "rejected": Verdict("Rejected by an approver", "✕", "bad"),
    "passed, not promoted": Verdict("Passed, not promoted", "✓", "even"),
    "refused by gate": Verdict("Refused by the gate", "✕", "bad"),
    "stopped by diagnose": Verdict("Stopped by the diagnosis", "✕", "bad"),
    "stopped by curate": Verdict("Stopped: too few examples", "✕", "bad"),
    "stopped by train": Verdict("Stopped: training changed nothing", "✕", "bad"),
    "evaluated": Verdict("No alarm", "✓", "good"),
    "regressed": Verdict("Alarm", "✕", "bad"),
    "nothing to do": Verdict("Nothing to do", "✓", "even"),
    "failed": Verdict("Failed", "!", "bad"),
    "incomplete": Verdict("Incomplete", "…", "even"),
}


def why(summary: RunSummary) -> str:
    """Return the decision and its reason in one sentence."""
    decision = summary.decision
    if summary.outcome == "failed":
        failure = summary.failures[0]
        where = f"in {failure.task}" if failure.task else "in a task that left no record"
        tail = " after the gate had decided" if decision is not None else "; there is no decision"
        return f"The run failed {where}{tail}."
    if summary.outcome == "rolled back":
        step, ended = summary.step("deploy"), "rolled back"
        if step is not None and step.verdict == "withdrawn":
            ended = "withdrawn, as there is no earlier generation to return to"
        return f"The candidate passed the gate and was promoted, but failed once it was served and was {ended}."
    if summary.outcome == "awaiting approval":
        return f"The gate passed the candidate, which awaits approval: {summary.approval.get('tally', '')}."
    if summary.outcome == "rejected":
        return f"The gate passed the candidate, which was {summary.approval.get('tally', 'rejected')}."
    if decision is not None:
        return decision.summary
    if summary.outcome == "nothing to do" and summary.is_evaluation:
        return "There is no champion to evaluate: nothing has been promoted yet."
    if summary.outcome == "nothing to do" and (taken := summary.taken_back):
        return (
            f"Student, prompts, settings and code are the same as in run {taken.get('run_id')}, whose candidate "
            f"(generation {taken.get('generation')}, version {taken.get('version')}) was rolled back: "
            f"{str(taken.get('reason', '')).rstrip('.')}. It was not made again."
        )
    if summary.outcome == "nothing to do" and (asked := summary.asked):
        return (
            f"Student, prompts, settings and code are the same as in run {asked.get('run_id')}, about whose candidate "
            f"(version {asked.get('version')}) people were asked: {asked.get('words')}. It was not made again."
        )
    if summary.outcome == "nothing to do":
        return "Student, prompts, settings and code have not changed since the champion was made, so it stays."
    last = summary.steps[-1].name if summary.steps else ""
    return f"The run has reached {last}; there is no decision yet." if last else "No stage has left a record."


def estimated(summary: RunSummary) -> str:
    """Return what the run was estimated to take, and what it took; empty without an estimate."""
    of, spent = summary.estimate, summary.spent
    if of is None or spent is None:
        return ""
    unit = "GPU-hours" if of.gpus else "hours of this machine"
    least = "" if of.complete else "at least "
    share = f", {spent / of.point:.2f} times the estimate" if of.point else ""
    by = f" by run {of.runs[0]}" if of.runs else ""
    reused = any(
        step.counts.get("chunks_reused" if step.stage == "sample" else "reused") for step in summary.steps
    )
    less = "; part of the work was found in the store" if reused else ""
    return (
        f"{least}{of.point:.3g} {unit} ({of.low:.3g} to {of.high:.3g}){by}; spent {spent:.3g}{share}{less}"
    )


def next_steps(summary: RunSummary) -> str:
    """Return what a reader can do now; empty when there is nothing to do."""
    match summary.outcome:
        case "failed":
            return " ".join(dict.fromkeys(failure.action for failure in summary.failures if failure.action))
        case "refused by gate":
            return (
                "The candidate stays registered and tagged as refused; the champion is unchanged. Look at the failed "
                "checks below, then change the data or the training, or use a larger evaluation set if an interval is "
                "too wide, and start a new run."
            )
        case "stopped by diagnose":
            return (
                "No training was started and the champion is unchanged. The reasons of the failed checks say what "
                "is wrong and what to try."
            )
        case "stopped by curate":
            started = "No candidate was registered" if summary.step("train-round1") else "No training was started"
            return (
                f"{started} and the champion is unchanged. {_ended_by(summary, 'curate')}The funnel below says why "
                "samples were rejected; add prompts, take more samples per prompt, or choose another student."
            )
        case "stopped by train":
            return (
                f"{_ended_by(summary, 'train')}No candidate was registered and the champion is unchanged. Raise "
                "training.learning_rate or the number of steps: more examples or epochs, or a smaller "
                "training.batch_size."
            )
        case "awaiting approval":
            return (
                "Nothing was moved. People in promotion.approval.by decide with `thinksafe approve` or `thinksafe "
                "reject`. Then the run that waits promotes the candidate: on this machine by the same `thinksafe run` "
                "command, on a cluster by `thinksafe submit CONFIG --promote VERSION`."
            )
        case "rejected":
            return "Nothing was moved. The rejection is final for this decision; a new run decides and asks again."
        case "rolled back":
            return (
                "The record of deploy names the check and what is served now. Compare the serving image, its options "
                "and the student's weights with those of the pipeline before the next run."
            )
        case "regressed":
            return (
                "No alias was moved. Look at the failed checks below. To return to an earlier generation, run "
                "`thinksafe rollback`. Otherwise change the limits, and record who decided it."
            )
        case "nothing to do" if taken := summary.taken_back:
            return (
                "Fix what the reason names and run again. To serve that candidate anyway, run `thinksafe rollback "
                f"--to {taken.get('generation')}`. To make it again, start a run without if_changed."
            )
        case "nothing to do" if asked := summary.asked:
            if asked.get("state") == "rejected":
                return "Change what the rejection names and run again, or start a run without if_changed."
            return "Approve or reject that version, or start a run without if_changed."
        case "passed, not promoted":
            return (
                "The champion is unchanged. Look at the promote stage: another run may have promoted first, in which "
                "case the comparison with the champion must be repeated."
            )
        case "incomplete":
            return "Wait for the run, or start the same run again; finished work is kept."
        case _:
            return ""


def _rounds(summary: RunSummary) -> int:
    found = summary.setting("sampling", "rounds", default=1)
    return found if found in range(1, MOST + 1) else 1  # a damaged record may say anything


def _ended_by(summary: RunSummary, stage: str) -> str:
    """Return in which round a stage ended the run, if there are several."""
    if (rounds := _rounds(summary)) == 1:
        return ""
    number = sum(without_round(step.name) == stage for step in summary.steps)
    return f"Round {number} of {rounds} ended the run. "


def approve_command(summary: RunSummary) -> str:
    """Return the command that approves the candidate of a run."""
    name, version = (summary.registration.get(key) or key.upper() for key in ("name", "version"))
    seen = str(summary.approval.get("decision", ""))[:12]
    return f"thinksafe approve {shlex.quote(name)} --version {version} --decision {seen} --reason TEXT"


def missing_steps(summary: RunSummary) -> list[str]:
    """Return the steps without a record, in reading order."""
    done = {step.name for step in summary.steps}
    foreign = LATER_ONLY | (REALIGNMENT_ONLY if summary.is_evaluation else EVALUATION_ONLY)
    if summary.setting("deploy", "kind", default="none") == "none":
        foreign |= ROLLOUT_ONLY
    if done - {"plan", "prepare"}:
        foreign |= {"due"}  # later steps show that it passed; older runs had no such stage
    rounds = _rounds(summary)
    wanted = [f"{name}{round_suffix(number, rounds)}" for number in range(1, rounds) for name in MAKING] + [*STEPS]
    return [name for name in sorted(wanted, key=place) if name not in done and name not in foreign]


def limits(summary: RunSummary, *, audited: bool = False) -> list[str]:
    """Return what the numbers of this run do not show; ``audited``: people labelled a sample of its verdicts."""
    student = str(summary.setting("student", "model", default=""))
    filtering = str(summary.setting("guard", "filter", "kind", default=""))
    evaluating = str(summary.setting("guard", "evaluate", "kind", default=""))
    found = []
    if student.startswith("micro://"):
        found.append(
            "The student is a micro model in a made-up world with a made-up notion of harm. The run shows that the "
            "pipeline works and can come out either way; it says nothing about the safety of a real model."
        )
    if summary.setting("student", "trust_remote_code"):
        found.append("The student ran code that came with it (trust_remote_code is on).")
    if summary.setting("method", "teacher", "trust_remote_code"):
        found.append("The teacher ran code that came with it (trust_remote_code is on).")
    found.append(
        _reach(summary)
    )
    found.append(
        "Harm and refusal are what the guard says they are. "
        + (
            "People labelled a sample of its verdicts, but the decision does not use their labels."
            if audited
            else "Nobody read the responses: a response that the guard misjudges is misjudged here. `thinksafe audit` "
            "draws a sample of its verdicts for people."
        )
    )
    if filtering and filtering == evaluating:
        found.append(
            f"The same guard ({filtering}) filtered the training data and judged the evaluation. What it overlooks, it "
            "overlooks twice: the harm ratio is biased towards zero for errors of this guard."
        )
    if "refusal-match" in (filtering, evaluating):
        found.append("The guard refusal-match only looks for refusal phrases. It is meant for trying out the pipeline.")
    found += [
        f"The check {use.check} failed and did not count, because {use.person} waived it until {use.expires}: "
        f"{use.reason}"
        for use in (applied(summary.decision) if summary.decision is not None else ())
    ]
    found.append(
        "The benchmarks cover only the harms and languages that they contain. Training and evaluation prompts were "
        "compared word for word and by shared word sequences; paraphrases are not detected."
    )
    if summary.metrics:
        smallest = min(metric.n for metrics in summary.metrics.values() for metric in metrics.metrics)
        found.append(
            "Intervals cover chance in the prompts and samples only (smallest benchmark: "
            f"{plural(smallest, 'prompt')}), with one training seed; another seed gives another candidate."
        )
    diagnosis = summary.diagnosis
    doubt = diagnosis.decision if diagnosis is not None and diagnosis.continues else None
    if doubt is not None and not doubt.passed:
        found.append(f"The diagnosis failed but was set to warn only: {doubt.summary}")
    return found


def _reach(summary: RunSummary) -> str:
    """Say which forms of request the evaluation covered and which it did not."""
    benchmarks = summary.setting("evaluation", "benchmarks", default=[])
    found = [item for item in benchmarks if isinstance(item, dict)]
    names = {name for item in found for name in (*item.get("transforms", ()), *item.get("thinking", ()))}
    varied = sorted(names - {"plain", "free"})
    known = {str(item["name"]): of for item in found if (of := known_definition(item.get("use")))}
    conversations = sorted(name for name, of in known.items() if of.converses)
    held = "The requests were evaluated as their sets contain them."
    if varied or conversations:
        held += f" Variations: {', '.join([*varied, *conversations])}, all written in advance."
    agents = any(of.trajectory for of in known.values())
    tools = "tools that run, files, images" if agents else "tools, files, images, agent trajectories"
    return f"{held} System prompts, {tools} and attacks that adapt to the model were not evaluated."
