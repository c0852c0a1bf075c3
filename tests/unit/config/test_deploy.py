"""The section deploy: what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from cluster_configs import cluster_document

from thinksafe.config import load_config, sections_of
from thinksafe.config.deploy import DeploySettings, check_servable
from thinksafe.config.load import config_schema
from thinksafe.errors import ConfigError

IMAGES = {"image": "registry/vllm:0.11.0", "fetch_image": "registry/cpu:1"}


def test_nothing_is_rolled_out_by_default() -> None:
    sections = sections_of(load_config("micro"))
    assert sections.deploy.deploy.kind == "none"
    assert sections.promote.rollout is False


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "deployment"}, "needs image and fetch_image"),
        ({"image": "registry/vllm"}, "a digest .* or a tag other than latest"),
        ({"image": "registry/vllm:latest"}, "a digest .* or a tag other than latest"),
        ({"image": "no image"}, "not an image"),
        ({"name": "Upper"}, "not a name for a Service"),
        ({"options": {"max_lora_rank": 8}}, "max_lora_rank: other settings of this config decide it"),
        ({"options": {"api_key": "x"}}, "api_key"),
        ({"base_url": "http://user:word@host/v1"}, "contains a password"),
        ({"readiness_seconds": 1}, "greater than or equal to 10"),
        ({"verification": {"max_harm": 1.5}}, "less than or equal to 1"),
        ({"replicas": 0}, "greater than 0"),
        ({"model": "/cache/mine"}, "with cache_claim set"),
        ({"model": "/models/mine", "cache_claim": "weights"}, "must be below /cache"),
        ({"image": "registry/vllm@sha256:123"}, "not an image|a digest"),
    ],
)
def test_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeploySettings.model_validate(value)


def test_a_pod_must_be_able_to_load_the_student() -> None:
    served = DeploySettings.model_validate({"kind": "deployment", **IMAGES})
    for student in ("micro://default", "/models/mine", "./mine", "s3://bucket/mine"):
        with pytest.raises(ValueError, match=r"set deploy\.model to a path below"):
            check_servable(served, student)
        check_servable(served.model_copy(update={"model": "/cache/mine"}), student)
        check_servable(DeploySettings(), student)
    check_servable(served, "Qwen/Qwen3-8B")
    images = [f"deploy.{name}={value}" for name, value in IMAGES.items()]
    with pytest.raises(ConfigError, match=r"set deploy\.model"):
        load_config("micro", ["deploy.kind=deployment", *images])


def test_every_setting_is_described() -> None:
    definitions = config_schema()["$defs"]
    for name in ("DeploySettings", "VerificationSettings", "S3Settings", "HubSettings", "TolerationSettings"):
        for key, value in definitions[name]["properties"].items():
            assert value.get("description") or "$ref" in value, f"{name}.{key}"


def test_beside_the_runs_a_rollout_needs_only_what_differs() -> None:
    s3 = {"secret": {"name": "store"}, "endpoint": "https://s3.corp.example"}
    cluster = {**yaml.safe_load(cluster_document())["cluster"], "s3": s3, "image_pull_secrets": ["pull"]}
    document = {
        "extends": "qwen3-8b", "cluster": cluster, "deploy": {"kind": "deployment", "image": "registry/vllm:0.11.0"},
    }
    config = load_config(yaml.safe_dump(document))
    assert config.cluster is not None
    assert (config.deploy.s3, config.deploy.hub) == (config.cluster.s3, config.cluster.hub)
    assert config.deploy.fetch_image == config.cluster.images.cpu
    assert config.deploy.image_pull_secrets == ("pull",)
    cluster["mirrors"] = {"images": "", "hub": ""}  # as a chart writes them
    assert load_config(yaml.safe_dump(document)).deploy.fetch_image == config.cluster.images.cpu
    cluster["mirrors"]["images"] = "registry.corp.example"
    with pytest.raises(ConfigError, match="needs image and fetch_image"):
        load_config(yaml.safe_dump(document))
    del cluster["mirrors"]
    document["deploy"]["hub"] = {"secret": "ours"}
    assert load_config(yaml.safe_dump(document)).deploy.hub.secret == "ours"
    document["deploy"]["namespace"] = "serving"
    with pytest.raises(ConfigError, match="needs image and fetch_image"):
        load_config(yaml.safe_dump(document))
