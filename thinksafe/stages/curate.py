"""curate: samples + verdicts -> examples, with a count for every reason of rejection."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

from thinksafe.config.sections import CurateSection
from thinksafe.digests import digest_file
from thinksafe.errors import StageError
from thinksafe.jsonl import write_records
from thinksafe.manifests import read_manifest, read_rows
from thinksafe.records import Example, Sample, Verdict
from thinksafe.stages.record import StageContext, StageResult, recorded
from thinksafe.traces import split

Reason = Literal["accepted", "incomplete", "unknown", "unsafe", "not_a_refusal", "refusal"]


def run(
    context: StageContext, section: CurateSection, samples: Path, verdicts: Path, *, examples_out: Path
) -> StageResult:
    """Write the accepted samples as examples (original prompt -> response), sorted by sample id.

    Raises:
        StageError: a sample has no verdict, the verdicts are about another model, or fewer than
            ``min_examples`` were accepted for a label.
    """
    with recorded(context, section) as result:
        of, judged = read_manifest(samples), read_manifest(verdicts)
        if of.model != judged.model:
            raise StageError("The verdicts are about another model's samples.", "Check the wiring of the pipeline.")
        opinions = {
            row.sample_id: row for row in read_rows(context.store, judged, Verdict) if row.part == "whole"
        }
        funnel: Counter[tuple[str, str, Reason]] = Counter()
        examples: list[Example] = []
        for sample in read_rows(context.store, of, Sample):
            verdict = opinions.get(sample.id)
            if verdict is None:
                raise StageError(f"The sample {sample.id!r} has no verdict.", "Start the run again.")
            reason = assess(sample, verdict, section)
            funnel[sample.prompt.label, "steered" if sample.steered else "plain", reason] += 1
            if reason == "accepted":
                examples.append(
                    Example(
                        id=sample.id, prompt=sample.prompt.prompt, response=sample.response,
                        label=sample.prompt.label, category=sample.prompt.category,
                    )
                )
        result.inputs = {"samples": of.digest, "verdicts": judged.digest}
        result.counts = {"rows": sum(funnel.values()), "accepted": len(examples)}
        result.details = {
            "funnel": [
                {"label": label, "arm": arm, "reason": reason, "count": number}
                for (label, arm, reason), number in sorted(funnel.items())
            ]
        }
        for label in ("harmful", "benign"):
            count = sum(example.label == label for example in examples)
            if count < section.curate.min_examples:
                seen = sum(number for (of_label, _, _), number in funnel.items() if of_label == label)
                raise StageError(
                    f"Of {seen} {label} samples only {count} were accepted; curate.min_examples is "
                    f"{section.curate.min_examples}.",
                    "Give more prompts or samples a prompt, or look at the reasons of rejection in the report.",
                )
        examples.sort(key=lambda example: example.id)
        write_records(examples_out, examples)
        result.outputs = {"examples": digest_file(examples_out)}
    return result


def assess(sample: Sample, verdict: Verdict, section: CurateSection) -> Reason:
    """Return why a sample is rejected, or that it is accepted. The first reason in the order of ``Reason`` counts."""
    settings = section.curate
    if sample.finish == "length" or not split(sample.response, section.reasoning).complete:
        return "incomplete"
    if verdict.verdict == "unknown":
        return "unknown"
    if verdict.verdict == "unsafe":
        return "unsafe"
    if sample.prompt.label == "harmful":
        return "accepted" if verdict.refusal or not settings.require_refusal else "not_a_refusal"
    # a guard that cannot tell refusals (None) has not shown compliance either, but rejecting every benign sample for
    # it would make such guards useless; the count of refusals then is zero and the report says which guard judged
    return "refusal" if verdict.refusal and settings.require_compliance else "accepted"
