"""prepare: sources -> prompts of the pilot, of training and of evaluation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thinksafe.config.data import PromptSet, label_of
from thinksafe.config.sections import PrepareSection
from thinksafe.decontamination import Contamination, find_contamination, normalise
from thinksafe.digests import derived_seed, digest_json
from thinksafe.errors import InputError
from thinksafe.jsonl import write_records
from thinksafe.records import Label, Prompt
from thinksafe.sources import load_set
from thinksafe.stages.record import StageContext, StageResult, recorded


def run(
    context: StageContext, section: PrepareSection, *, pilot_out: Path, training_out: Path, evaluation_out: Path
) -> StageResult:
    """Write the three prompt files, each sorted by id.

    Training prompts are deduplicated and decontaminated against every benchmark; evaluation prompts are taken as
    they are. The pilot is a seeded choice among the harmful training prompts. An evaluation by itself has no training
    prompts; those files are then empty.

    Raises:
        InputError: a source is missing or malformed, an id repeats, or a set is empty.
    """
    with recorded(context, section) as result:
        evaluation: list[Prompt] = []
        sets: list[dict[str, Any]] = []
        for benchmark in section.benchmarks:
            rows = load_set(benchmark, label_of(benchmark.metric), section.seed)
            if benchmark.metric == "reasoning" and (lacking := [row.id for row in rows if row.answer is None]):
                raise InputError(
                    f"{len(lacking)} problems of {benchmark.name!r} have no answer (first id {lacking[0]!r}).",
                    "Give each an 'answer', or use another metric.",
                )
            if benchmark.metric != "reasoning":
                # the guard judges these; a stray reference answer would send them to the grader instead
                rows = [row.model_copy(update={"answer": None}) for row in rows]
            evaluation += rows
            sets.append(_entry(benchmark.name, "evaluation", rows))
        training: list[Prompt] = []
        for label, prompts in _training_sets(section):
            rows = load_set(prompts, label, section.seed)
            training += rows
            sets.append(_entry(prompts.name, "training", rows))
        _require_unique(training, "training")
        _require_unique(evaluation, "evaluation")
        distinct = _deduplicate(training)
        contamination = find_contamination(distinct, evaluation, section.data.ngram) if section.data else {}
        kept = [row for row in distinct if row.id not in contamination]
        for label in ("harmful", "benign") if section.data else ():
            if not any(row.label == label for row in kept):
                raise InputError(
                    f"No {label} training prompts are left of {sum(r.label == label for r in training)}.",
                    "Give prompts that do not repeat the evaluation prompts.",
                )
        pilot = _pilot(kept, section)
        if pilot:
            sets.append(_entry("pilot", "pilot", pilot))
        for path, rows in ((pilot_out, pilot), (training_out, kept), (evaluation_out, evaluation)):
            rows.sort(key=lambda row: row.id)
            write_records(path, rows)
        result.outputs = {
            "pilot": _digest(pilot), "training": _digest(kept), "evaluation": _digest(evaluation)
        }
        dropped = {"duplicate": len(training) - len(distinct), "contaminated": len(contamination)}
        result.counts = {
            "pilot": len(pilot), "training": len(kept), "evaluation": len(evaluation), **dropped
        }
        result.details = {
            "sets": sets, "dropped": dropped,
            "contamination": [_contamination_entry(key, found) for key, found in sorted(contamination.items())],
        }
    return result


def _training_sets(section: PrepareSection) -> Iterator[tuple[Label, PromptSet]]:
    if section.data:
        yield from (("harmful", prompts) for prompts in section.data.harmful)
        yield from (("benign", prompts) for prompts in section.data.benign)


def _pilot(training: list[Prompt], section: PrepareSection) -> list[Prompt]:
    harmful = sorted((row for row in training if row.label == "harmful"), key=lambda row: row.id)
    choice = random.Random(derived_seed(section.seed, "pilot"))
    return choice.sample(harmful, min(section.pilot, len(harmful)))


def _require_unique(rows: list[Prompt], use: str) -> None:
    seen: dict[str, str] = {}
    for row in rows:
        if row.id in seen:
            raise InputError(
                f"The id {row.id!r} repeats among the {use} prompts (sets {seen[row.id]!r} and {row.source!r}).",
                "Give every prompt its own id.",
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


def _digest(rows: list[Prompt]) -> str:
    return digest_json([row.model_dump(mode="json") for row in sorted(rows, key=lambda row: row.id)])


def _entry(name: str, use: str, rows: list[Prompt]) -> dict[str, Any]:
    return {
        "name": name, "use": use, "label": rows[0].label, "rows": len(rows), "digest": _digest(rows),
    }


def _contamination_entry(prompt_id: str, found: Contamination) -> dict[str, str]:
    return {"id": prompt_id, "kind": found.kind, "evaluation_id": found.evaluation_id, "benchmark": found.benchmark}
