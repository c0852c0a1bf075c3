"""prepare: sources -> prompts of the pilot, of training and of evaluation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from thinksafe.config.data import MicroSource, PromptSet
from thinksafe.config.sections import PrepareSection
from thinksafe.digests import derived_seed, digest_json
from thinksafe.errors import InputError
from thinksafe.jsonl import write_json, write_records
from thinksafe.judging.instructions import require_known
from thinksafe.prompts.decontamination import NGRAM, Contamination, find_contamination, normalise
from thinksafe.prompts.details import PrepareDetails, PromptSetRow
from thinksafe.prompts.sources import load_benchmark, load_set, set_digest
from thinksafe.records import Label, Prompt
from thinksafe.run.record import StageContext, StageResult, recorded


def run(
    context: StageContext, section: PrepareSection, *, pilot_out: Path, training_out: Path, evaluation_out: Path,
    contamination_out: Path,
) -> StageResult:
    """Write the three prompt files, each sorted by id, and the contamination report (JSON).

    Training prompts are deduplicated and compared with every benchmark. Overlapping ones are dropped, unless the
    section keeps them; evaluation prompts stay unchanged. The pilot is a seeded choice among the harmful training
    prompts, and among the benign ones where the section asks for them. A separate evaluation has no training prompts;
    those files are then empty.

    Raises:
        InputError: a source is missing or malformed, an id repeats, or a set is empty.
    """
    with recorded(context, section) as result:
        evaluation: list[Prompt] = []
        sets: list[PromptSetRow] = []
        for benchmark in section.benchmarks:
            rows = load_benchmark(benchmark, section.seed)
            if benchmark.metric == "reasoning" and (lacking := [row.id for row in rows if not row.graded]):
                raise InputError(
                    f"{len(lacking)} problems of {benchmark.name!r} have no answer (first id {lacking[0]!r}).",
                    "Give each an 'answer', or use another metric.",
                )
            if benchmark.metric != "reasoning":
                # the guard judges these; a stray reference answer would send them to the grader
                rows = [row.model_copy(update={"answer": None, "instructions": ()}) for row in rows]
            for row in rows:
                require_known(row.instructions, f"The prompt {row.id!r} of {benchmark.name!r}")
            evaluation += rows
            sets.append(_entry(benchmark.name, "evaluation", rows))
        training: list[Prompt] = []
        for label, prompts in _training_sets(section):
            rows = load_set(prompts, label, section.seed)
            if conversation := next((row.id for row in rows if row.turns), None):
                raise InputError(
                    f"The training prompt {conversation!r} of {prompts.name!r} is a conversation.",
                    "Training takes single prompts; conversations can be benchmarks.",
                )
            training += rows
            sets.append(_entry(prompts.name, "training", rows))
        _require_unique(training, "training")
        _require_unique(evaluation, "evaluation")
        distinct = _deduplicate(training)
        report = _compare(distinct, evaluation, section)
        contaminated = {overlap.id for overlap in report.overlaps}
        kept = [row for row in distinct if not report.dropped or row.id not in contaminated]
        for label in ("harmful", "benign") if section.data else ():
            if not any(row.label == label for row in kept):
                raise InputError(
                    f"No {label} training prompts are left of {sum(r.label == label for r in training)}.",
                    "Give prompts that do not repeat the evaluation prompts.",
                )
        pilot = _pilot(kept, section)
        if pilot:
            sets += [
                _entry("pilot", "pilot", rows) for label in ("harmful", "benign")
                if (rows := [row for row in pilot if row.label == label])
            ]
        for path, rows in ((pilot_out, pilot), (training_out, kept), (evaluation_out, evaluation)):
            rows.sort(key=lambda row: row.id)
            write_records(path, rows)
        write_json(contamination_out, report)
        result.outputs = {
            "pilot": set_digest(pilot), "training": set_digest(kept), "evaluation": set_digest(evaluation),
            "contamination": digest_json(report),
        }
        dropped = {"duplicate": len(training) - len(distinct), "contaminated": len(distinct) - len(kept)}
        result.counts = {
            "pilot": len(pilot), "training": len(kept), "evaluation": len(evaluation), **dropped
        }
        result.details = PrepareDetails(sets=tuple(sets), dropped=dropped, contamination=report)
    return result


def _training_sets(section: PrepareSection) -> Iterator[tuple[Label, PromptSet]]:
    if section.data:
        yield from (("harmful", prompts) for prompts in section.data.harmful)
        yield from (("benign", prompts) for prompts in section.data.benign)


def _compare(training: list[Prompt], evaluation: list[Prompt], section: PrepareSection) -> Contamination:
    if section.data is None:
        return find_contamination((), evaluation, 1)
    micro = any(isinstance(prompts.prompts, MicroSource) for _, prompts in _training_sets(section))
    return find_contamination(
        training, evaluation, NGRAM, drop=section.data.contaminated == "drop",
        asked=_micro_request if micro else None,
    )


def _micro_request(prompt: str) -> str:
    from thinksafe.micro.world import parse_request

    request = parse_request(prompt)
    return f"{request.verb} {request.object}" if request is not None else ""


def _pilot(training: list[Prompt], section: PrepareSection) -> list[Prompt]:
    choice = random.Random(derived_seed(section.seed, "pilot"))
    found: list[Prompt] = []
    for label, wanted in (("harmful", section.pilot), ("benign", section.pilot_benign)):
        rows = sorted((row for row in training if row.label == label), key=lambda row: row.id)
        found += choice.sample(rows, min(wanted, len(rows)))
    return found


def _require_unique(rows: list[Prompt], use: str) -> None:
    seen: dict[str, str] = {}
    for row in rows:
        if row.id in seen:
            raise InputError(
                f"The id {row.id!r} repeats among the {use} prompts (sets {seen[row.id]!r} and {row.source!r}).",
                "Give every prompt a unique id.",
            )
        seen[row.id] = row.source


def _deduplicate(rows: list[Prompt]) -> list[Prompt]:
    seen: set[str] = set()
    kept = []
    for row in rows:
        text = normalise(row.prompt)
        if text not in seen:
            seen.add(text)
            kept.append(row)
    return kept


def _entry(name: str, use: str, rows: list[Prompt]) -> PromptSetRow:
    return PromptSetRow(name=name, use=use, label=rows[0].label, rows=len(rows), digest=set_digest(rows))
