"""curate: samples + verdicts -> examples, with a count for every reason of rejection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from thinksafe.config.checks import ANY_EXAMPLE, EXAMPLES
from thinksafe.config.sections import CurateSection
from thinksafe.deciding.checks import concluded, count_check
from thinksafe.digests import digest_file
from thinksafe.errors import StageError
from thinksafe.jsonl import write_atomic, write_json, write_records
from thinksafe.methods.forms import example_of
from thinksafe.methods.rules import Reason, assess, choose
from thinksafe.records import Decision, Example, Sample, Verdict
from thinksafe.run.details import CurateDetails, FunnelRow
from thinksafe.run.manifests import read_manifest, read_rows
from thinksafe.run.record import StageContext, StageResult, recorded


def run(
    context: StageContext, section: CurateSection, samples: Path, verdicts: Path,
    *, examples_out: Path, decision_out: Path, passed_out: Path,
) -> StageResult:
    """Write the accepted samples as examples (original prompt -> response), sorted by sample id.

    Samples of the arm ``rollout`` have neither response nor verdict: each is accepted as a prompt.

    Too few examples of a label are a verdict about the student, not a failure: the Decision (JSON) and the flag
    ``true`` or ``false`` say whether the run continues.

    Raises:
        StageError: a sample has no verdict, or the verdicts are about another model.
    """
    with recorded(context, section) as result:
        of, judged = read_manifest(samples), read_manifest(verdicts)
        if of.model != judged.model:
            raise StageError("The verdicts are about another model's samples.", "Check the wiring of the pipeline.")
        opinions = {
            row.sample_id: row for row in read_rows(context.store, judged, Verdict) if row.part == "whole"
        }
        funnel: Counter[tuple[str, str, str, Reason]] = Counter()
        examples: list[Example] = []
        # samples come in the order of their prompts, and those of one prompt, arm and try in a row
        drawn = groupby(
            read_rows(context.store, of, Sample), lambda sample: (sample.prompt.id, sample.arm, sample.template)
        )
        for _, group in drawn:
            found = [_assessed(sample, opinions, section) for sample in group]
            for (sample, _, _), reason in zip(found, choose(found, section.keep, section.seed), strict=True):
                funnel[sample.prompt.label, sample.arm, sample.template, reason] += 1
                if reason == "accepted":
                    examples.append(example_of(sample, section.forms[sample.prompt.label]))
        result.inputs = {"samples": of.digest, "verdicts": judged.digest}
        result.counts = {"rows": sum(funnel.values()), "accepted": len(examples)}
        templates = list(dict.fromkeys(template for _, _, template, _ in funnel))  # in the order of the tries
        rows = tuple(
            FunnelRow(
                label=label, arm=arm, reason=reason, count=number, **({"template": template} if template else {})
            )
            for (label, arm, template, reason), number in sorted(
                funnel.items(), key=lambda item: (*item[0][:2], templates.index(item[0][2]), item[0][3])
            )
        )
        result.details = CurateDetails(funnel=rows)
        decision = _decide(funnel, section)
        examples.sort(key=lambda example: example.id)
        write_records(examples_out, examples)
        write_json(decision_out, decision)
        write_atomic(passed_out, b"true" if decision.passed else b"false")
        result.verdict = "passed" if decision.passed else "too few examples"
        result.outputs = {"examples": digest_file(examples_out)}
        result.details = CurateDetails(funnel=rows, decision=decision)
    return result


def _assessed(
    sample: Sample, opinions: Mapping[str, Verdict], section: CurateSection
) -> tuple[Sample, Verdict | None, Reason]:
    if sample.arm == "rollout":
        return sample, None, "accepted"
    verdict = opinions.get(sample.id)
    if verdict is None:
        raise StageError(f"The sample {sample.id!r} has no verdict.", "Start the run again.")
    return sample, verdict, assess(sample, verdict, section.rules[sample.prompt.label], section.reasoning)


def _decide(funnel: Counter[tuple[str, str, str, Reason]], section: CurateSection) -> Decision:
    """Return whether enough samples of each label were accepted to train on."""
    checks = []
    for label in section.labels:
        of_label = {key: number for key, number in funnel.items() if key[0] == label}
        count = sum(number for key, number in of_label.items() if key[-1] == "accepted")
        seen = sum(of_label.values())
        found = f"Of {seen:,} {label} samples {count:,} were accepted"
        checks.append(count_check(EXAMPLES.condition(section, label), found, count, seen))
    if not any(check.value for check in checks):
        number = sum(funnel.values())
        none = f"Of {number:,} samples none was accepted"
        checks.append(count_check(ANY_EXAMPLE.condition(section), none, 0, number))
    short = ", ".join(check.name for check in checks if not check.passed)
    why = f"Stopped: too few samples were accepted to train on ({short})."
    return concluded("curate", checks, why if short else "Enough samples were accepted to train on.")
