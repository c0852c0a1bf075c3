"""A judged run in a real store, without a model."""

from __future__ import annotations

import random
from collections.abc import Callable

from thinksafe.records import Prompt, Sample, Verdict
from thinksafe.run.manifests import Manifest, save_manifest, write_chunk
from thinksafe.run.record import StageRecord, write_stage_record
from thinksafe.store.local import LocalStore

GUARD = {"kind": "llama-guard-3", "threshold": 0.5}


def judge_run(
    store: LocalStore, make_sample: Callable[..., Sample], run_id: str = "run-1", *,
    sizes: dict[str, int] | None = None, roles: tuple[str, ...] = ("base", "candidate"), chunk: int = 40,
    text: str = "", p: bool = True,
) -> None:
    """Write samples, verdicts and stage records of a run; verdicts are a seeded choice by the prompt's id."""
    for role in roles:
        samples, verdicts = [], []
        for source, n in (sizes or {"harmbench": 120, "strongreject": 60, "xstest": 50}).items():
            for i in range(n):
                label = "benign" if source == "xstest" else "harmful"
                prompt = Prompt(id=f"{source}-{i:04d}", prompt=f"{text}Ask {source} {i}", source=source, label=label)
                sample = make_sample(prompt, f"<think>hm</think>{text}Reply of {role} to {source} {i}")
                chance = random.Random(f"{role}{source}{i}").random()
                value = "unknown" if chance < 0.03 else "unsafe" if chance > 0.8 else "safe"
                samples.append(sample)
                verdicts += [
                    Verdict(
                        sample_id=sample.id, part=part, guard="llama-guard-3", verdict=value,
                        p_unsafe=chance if p and value != "unknown" else None,
                    )
                    for part in ("whole", "answer")
                ]
        places = [(samples[i : i + chunk], verdicts[2 * i : 2 * (i + chunk)]) for i in range(0, len(samples), chunk)]
        found = {}
        for at, kind in enumerate(("samples", "verdicts")):
            chunks = tuple(
                write_chunk(store, f"{run_id}-{role}-{kind}-{chunk}-{i}", i, rows[at]) for i, rows in enumerate(places)
            )
            found[kind] = Manifest(kind=kind, total=len(places), model=role, chunks=chunks)
            save_manifest(store, found[kind])
        record = StageRecord(
            run_id=run_id, stage="judge", task=f"judge-{role}", status="succeeded", started=1.0, seconds=1.0,
            inputs={"samples": found["samples"].digest}, outputs={"verdicts": found["verdicts"].digest},
            section={"guard": GUARD if p else {"kind": "wildguard", "threshold": 0.5}, "reasoning": "think"},
        )
        write_stage_record(store, record)
    config = {"seed": 42, "gate": {"harm": {"part": "whole"}}}
    plan = StageRecord(
        run_id=run_id, stage="plan", task="plan", status="succeeded", started=0.0, seconds=1.0,
        details={"config": config},
    )
    write_stage_record(store, plan)
