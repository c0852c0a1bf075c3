"""Check that stages that use vLLM have GPUs: ``cluster.stages`` can remove them."""

from __future__ import annotations

from collections.abc import Iterator

from thinksafe.config.model import RealignmentConfig
from thinksafe.doctor.checks import Finding, warning


def gpu_findings(config: RealignmentConfig) -> Iterator[Finding]:
    """Yield a warning for the stages that run vLLM without a GPU; vLLM's CPU build is for small models only."""
    if config.cluster is None:
        return
    on_vllm = {
        "sample": config.engine.kind == "vllm",
        "judge": any(guard.model and guard.backend == "vllm" for guard in config.guard.named.values()),
    }
    bare = [
        stage for stage, vllm in on_vllm.items()
        if vllm and ((gpu := config.cluster.stage(stage).gpu) is None or not gpu.count)
    ]
    if bare:
        yield warning(
            "gpus", f"These stages run vLLM without a GPU: {', '.join(bare)}.",
            f"Remove {', '.join(f'cluster.stages.{stage}.gpu' for stage in bare)}, unless images.sampler is vLLM's "
            "CPU build.",
        )
