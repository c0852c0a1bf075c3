"""Stage records of a run of a recipe as it would leave them: its work follows from the recipe, its times are given."""

from __future__ import annotations

from typing import Any

from thinksafe.config.load import canonical, load_config
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.planning import sections_of
from thinksafe.run.record import StageRecord, write_stage_record
from thinksafe.store import Store

LENGTHS = {"sample-pilot": 30, "sample-training": 40, "sample-base": 20, "sample-candidate": 25}
"""Tokens of a response."""
TOKEN_S, VERDICT_S, TRAINED_S, SMALL_S = 0.01, 0.002, 0.005, 0.5
"""Seconds of a sampled token, a verdict, a trained token, a stage without a model."""
KEPT = 0.5
EXAMPLE = 60
"""Tokens of an example."""


def config_of(recipe: str = "micro", *overrides: str) -> RealignmentConfig:
    return load_config(recipe, list(overrides))


def leave_run(
    store: Store, config: RealignmentConfig, run_id: str = "run-1", *, started: float = 1.0, gpus: int = 0,
    reused: bool = False, pilot_only: bool = False, pace: float = 1.0,
) -> dict[str, StageRecord]:
    """Write the records of a run of the recipe micro, or of one that extends it, and return them.

    Args:
        store: Gets them.
        config: The configuration.
        run_id: The run.
        started: Unix time of its start.
        gpus: GPUs of the stages that have a model.
        reused: All chunks were in the store.
        pilot_only: The run ended after the diagnosis.
        pace: Factor of all times.
    """
    planned = sections_of(config)
    found: dict[str, StageRecord] = {}

    def add(task: str, seconds: float, **rest: Any) -> None:
        stage = task.partition("-")[0]
        working = stage in ("sample", "judge", "train")
        record = StageRecord(
            run_id=run_id, stage=stage, task=task, status="succeeded", started=started + len(found),
            seconds=seconds * pace, gpus=gpus if working else 0, **rest,
        )
        found[task] = record
        write_stage_record(store, record)

    base = {"role": "base", "student": config.student.model_dump(mode="json"), "base_digest": "base"}
    add("plan", SMALL_S, details={"config": canonical(config), "base": base})
    rows = {"harmful": config.data.harmful[0].prompts.count, "benign": config.data.benign[0].prompts.count}
    sizes = {one.name: one.size for one in config.evaluation.benchmarks}
    add("prepare", SMALL_S, details={"sets": [
        *({"name": one.name, "use": "training", "label": "harmful", "rows": rows["harmful"]}
          for one in config.data.harmful),
        *({"name": name, "use": "evaluation", "rows": size} for name, size in sizes.items()),
    ]})

    def sample(task: str, responses: int) -> None:
        tokens = responses * LENGTHS[task]
        add(task, tokens * TOKEN_S, counts={
            "rows": responses, "responses": responses, "tokens": tokens, "tokens_new": 0 if reused else tokens,
            "chunks": 4, "chunks_reused": 4 if reused else 0,
        })

    def judge(task: str, verdicts: int, section: Any) -> None:
        add(task, verdicts * VERDICT_S * len(section.parts), section=section.model_dump(mode="json"), counts={
            "safe": verdicts, "unsafe": 0, "unknown": 0, "chunks": 4, "chunks_reused": 4 if reused else 0,
        })

    pilot = config.diagnose.prompts
    sample("sample-pilot", 2 * pilot)
    judge("judge-pilot", 2 * pilot, planned.judge_pilot)
    interval = {"low": 0.8, "high": 0.95, "confidence": 0.9, "method": "exact"}
    add("diagnose", SMALL_S, details={
        "tokens": {"plain": 28.0, "steered": 32.0},
        "acceptance_steered": {"value": 0.9, "n": pilot, "interval": interval},
    })
    if pilot_only:
        return found
    training = sum(count or 0 for count in rows.values())
    sample("sample-training", training)
    judge("judge-training", training, planned.judge_filter)
    kept = int(training * KEPT)
    add("curate", SMALL_S, counts={"rows": training, "accepted": kept})
    add("train", kept * EXAMPLE * config.training.epochs * TRAINED_S, counts={
        "rows": kept, "tokens": kept * EXAMPLE, "steps": 10, "reused": int(reused), "resumed": 0,
    })
    harmless = sum(one.size or 0 for one in config.evaluation.benchmarks if one.metric != "reasoning")
    problems = sum(one.size or 0 for one in config.evaluation.benchmarks if one.metric == "reasoning")
    for role in ("base", "candidate"):
        sample(f"sample-{role}", harmless + problems)
        judge(f"judge-{role}", harmless, planned.judge_evaluate)
        add(f"grade-{role}", problems * VERDICT_S, counts={
            "rows": problems, "chunks": 4, "chunks_reused": 4 if reused else 0,
        })
        add(f"metrics-{role}", SMALL_S)
    add("gate", SMALL_S)
    return found
