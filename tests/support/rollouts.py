"""What tests of the rollout share: settings and a target."""

from __future__ import annotations

from typing import Any

from thinksafe.config.deploy import DeploySettings
from thinksafe.config.guard import GuardSettings
from thinksafe.config.model import RegistrySettings
from thinksafe.config.sections import DeploySection
from thinksafe.deploy.target import Target
from thinksafe.records import SamplingSettings

DIGEST = "d" * 64
IMAGES = {"image": "registry/vllm:0.11.0", "fetch_image": f"registry/thinksafe/cpu@sha256:{'a' * 64}"}
TARGET = Target(
    generation=3, run_id="nightly-7", version="12", parameters="lora",
    place="s3://bucket/ts/adapters/abc", digest=DIGEST, size=0, rank=32,
    model="Qwen/Qwen3-8B", revision="b" * 40, dtype="bfloat16", trust_remote_code=False,
)


def settings_of(**changed: Any) -> DeploySettings:
    """Return the settings of a rollout, changed."""
    return DeploySettings.model_validate(
        {"kind": "deployment", "name": "guarded", "namespace": "serving", **IMAGES, **changed}
    )


def section_of(**changed: Any) -> DeploySection:
    """Return the stage's section with changed settings of the rollout."""
    return DeploySection(
        seed=1, alpha=0.05, deploy=settings_of(**changed), registry=RegistrySettings(model="m"),
        guard=GuardSettings(kind="refusal-match"), part="whole",
        settings=SamplingSettings(max_tokens=48), reasoning="think",
    )
