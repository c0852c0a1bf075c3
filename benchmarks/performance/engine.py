"""The sample stage on vLLM, with its chunks written to the store, against ``vllm.LLM.chat`` on the same prompts."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result, SkippedError, alternate, rate

PROMPTS, CHUNK, TOKENS, REPEATS = 64, 16, 48, 6
TASKS = (
    "Name a river near town {n}.", "What is {n} plus 3? Answer with the number.", "Say hello to neighbour {n}.",
    "Write {n} lines about the sea.", "Explain in one sentence why bridge {n} stands.",
    "Tell a short story about cat {n}.",
)


def measure(model: Path) -> Result:
    """Compare output tokens per second; one vLLM engine serves both, so this measures what the stage adds."""
    if importlib.util.find_spec("vllm") is None:
        raise SkippedError("vLLM is not installed (make vllm)")
    import vllm

    from thinksafe.config.model import EngineSettings
    from thinksafe.config.sections import SampleSection
    from thinksafe.digests import derived_seed
    from thinksafe.jsonl import write_json, write_records
    from thinksafe.models.fetch import fetch_model
    from thinksafe.models.loading import resolve_student
    from thinksafe.models.references import ModelReference
    from thinksafe.records import Prompt, SamplingSettings
    from thinksafe.run.record import StageContext, silent
    from thinksafe.sampling.engines import open_engine
    from thinksafe.settings import StudentSettings
    from thinksafe.stages import sample
    from thinksafe.store import open_store

    fetch_model("smollm2", model)
    student = StudentSettings(model=str(model), reasoning="none", dtype="float32")
    reference = ModelReference(role="base", student=student, base_digest=resolve_student(student).digest)
    settings = SamplingSettings(max_tokens=TOKENS)
    section = SampleSection(
        seed=1, engine=EngineSettings(kind="vllm", options={"max_model_len": 512}), settings=settings, n=1,
        n_reasoning=1, chunk_size=CHUNK, template="prefix", arms={"benign": ("plain",)}, reasoning="none",
    )
    rows = [
        Prompt(id=f"p{number:03}", prompt=TASKS[number % len(TASKS)].format(n=number), label="benign", source="bench")
        for number in range(PROMPTS)
    ]
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_json(folder / "model.json", reference)
        write_records(folder / "prompts.jsonl", rows)
        engine: Any = open_engine(section.engine, reference, open_store(scratch))
        sample.open_engine = lambda *_: engine  # type: ignore[assignment]

        def ours() -> float:
            with tempfile.TemporaryDirectory() as store:
                context = StageContext(open_store(store), "bench", "sample", "sample", silent)
                result = sample.run(
                    context, section, folder / "model.json", folder / "prompts.jsonl", 0, 1,
                    samples_out=Path(store) / "samples.json",
                )
            counts["ours"] = int(result.counts["tokens_new"])
            return float(counts["ours"])

        conversations: Any = [[{"role": "user", "content": row.prompt}] for row in rows]
        sampling = [
            vllm.SamplingParams(
                temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k or -1, max_tokens=TOKENS,
                seed=derived_seed(derived_seed(section.seed, "chunk", place // CHUNK), "row", place % CHUNK),
            )
            for place in range(PROMPTS)
        ]

        def raw() -> float:
            outputs = engine._llm.chat(conversations, sampling, use_tqdm=False)
            counts["raw"] = sum(len(output.outputs[0].token_ids) for output in outputs)
            return float(counts["raw"])

        raw(), ours()  # warm-up: allocations and the prefix cache, which then serves both
        pairs = alternate(lambda: rate(ours), lambda: rate(raw), REPEATS)
    mine, theirs = pairs.medians
    return Result(
        "engine", "output tokens per second of the sample stage on vLLM, with checkpoints, against raw "
        "`vllm.LLM.chat` (higher is better).", "tokens/s", mine, theirs, pairs.ratio, pairs.interval, REPEATS,
        "≥ 0.98", pairs.ratio >= 0.98,
        n=f"{PROMPTS} prompts, chunks of {CHUNK}, at most {TOKENS} tokens",
        notes=(
            "SmolLM2-135M in float32 by one engine for both sides, with the same prompts, settings and seeds; the raw "
            f"side gets all prompts in one call. Tokens in the last pair: {counts['ours']} and {counts['raw']}. Wall "
            "time, because the model runs in separate processes: on a busy machine the interval is wide."
        ),
    )
