"""Retries inside sample: prompts whose steered samples were rejected are sampled again, steered more strongly.

Judging in between is part of the stage, so that a pipeline has one shape whatever ``sampling.retries`` is. The verdicts
are those of the stage judge, under the same keys: it finds them, and judges only what the last retry has added.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from thinksafe.config.sections import RetrySection, SampleSection
from thinksafe.digests import derived_seed
from thinksafe.jsonl import write_records
from thinksafe.judging.guards.second import release_memory
from thinksafe.methods.rules import assess
from thinksafe.records import Prompt, Sample, Verdict
from thinksafe.run.manifests import Chunk, Manifest, read_chunk, write_manifest
from thinksafe.run.record import StageContext, StageResult
from thinksafe.stages.judge import verdict_chunks
from thinksafe.store import Store
from thinksafe.work.complete import Made

Draw = Callable[[SampleSection, Path], Made]
"""Samples the prompts of a file as a section says."""


def sample_again(
    context: StageContext, section: SampleSection, retries: RetrySection, result: StageResult, first: Made, model: str,
    draw: Draw, parallelism: int,
) -> tuple[Made, int]:
    """Return the chunks of the first try and of all retries, and the number of prompts that were sampled again.

    Args:
        context: Of sample.
        section: Of the first try.
        retries: How to try again.
        result: Gets the GPUs of other pods that judged.
        first: Chunks of the first try.
        model: Digest of the model that is sampled.
        draw: Samples a retry.
        parallelism: Most workers that judge at once.

    Raises:
        ThinkSafeError: see :func:`thinksafe.work.complete.complete`.
    """
    whole, last, again = first, first, 0
    with tempfile.TemporaryDirectory() as folder:
        for attempt, template in enumerate(retries.templates, start=1):
            samples, prompts = (Path(folder, f"{attempt}.{kind}") for kind in ("json", "jsonl"))
            write_manifest(samples, Manifest(
                kind="samples", total=len(last.chunks), model=model, chunks=tuple(last.chunks)
            ))
            release_memory()
            gpus = result.gpus
            verdicts, _ = verdict_chunks(replace(context, stage="judge"), retries.judge, result, samples, parallelism)
            rejected = _rejected(context.store, last.chunks, verdicts, section, retries)
            if not rejected:
                break
            write_records(prompts, rejected)
            release_memory()
            last = draw(_stronger(section, attempt, template), prompts)
            result.gpus = max(gpus, result.gpus)
            whole, again = _joined(whole, last), again + len(rejected)
    return whole, again


def _stronger(section: SampleSection, attempt: int, template: str) -> SampleSection:
    return section.model_copy(
        update={
            "retries": None, "attempt": attempt, "template": template,
            "seed": derived_seed(section.seed, "retry", attempt), "arms": {"harmful": ("steered",), "benign": ()},
        }
    )


def _rejected(
    store: Store, samples: list[Chunk], verdicts: list[Chunk], section: SampleSection, retries: RetrySection
) -> list[Prompt]:
    """Return the prompts none of whose steered samples was accepted."""
    steered, accepted = dict[str, Prompt](), set[str]()
    for sampled, judged in zip(samples, verdicts, strict=True):
        opinions = {row.sample_id: row for row in read_chunk(store, judged, Verdict) if row.part == "whole"}
        for sample in read_chunk(store, sampled, Sample):
            if sample.arm == "steered":
                steered[sample.prompt.id] = sample.prompt
                if assess(sample, opinions[sample.id], retries.rules, section.reasoning) == "accepted":
                    accepted.add(sample.prompt.id)
    return [prompt for key, prompt in steered.items() if key not in accepted]


def _joined(whole: Made, more: Made) -> Made:
    """Return the chunks of both, numbered through."""
    start = len(whole.chunks)
    return Made(
        [*whole.chunks, *(chunk.model_copy(update={"index": start + chunk.index}) for chunk in more.chunks)],
        whole.reused | {start + index for index in more.reused}, whole.facts,
    )
