from __future__ import annotations

from thinksafe.config import load_config
from thinksafe.config.gpus import gpus_needed


def test_sampling_with_retries_needs_the_gpus_of_the_guard_too() -> None:
    wide = ["guard.filter.options={tensor_parallel_size: 2}"]
    once, again = (load_config("qwen3-0.6b", [*wide, *more]) for more in ([], ["sampling.retries=1"]))
    assert {stage: gpus_needed(dict(once))[stage] for stage in ("sample", "judge", "train")} == {
        "sample": 1, "judge": 2, "train": 1,
    }
    assert {stage: gpus_needed(dict(again))[stage] for stage in ("sample", "judge", "train")} == {
        "sample": 2, "judge": 2, "train": 1,
    }
