"""The policy of docs/governance.md that keeps pods from the private key: its expressions, evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cel
import kubernetes_validate
import pytest
import yaml

DOCS = Path(__file__).parents[3] / "docs" / "governance.md"
ARGO = "system:serviceaccount:kubeflow:argo"
SOMEBODY = "system:serviceaccount:thinksafe:thinksafe-pipeline"
SECRET = "thinksafe-signing"


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """Return policy and binding."""
    blocks = DOCS.read_text("utf-8").split("```yaml\n")[1:]
    (text,) = (block.split("```")[0] for block in blocks if "kind: ValidatingAdmissionPolicy" in block)
    return list(yaml.safe_load_all(text))


def admitted(policy: dict[str, Any], spec: dict[str, Any], user: str) -> bool:
    """Return whether the policy admits a pod that a user creates. Variables may use those before them."""
    known: dict[str, Any] = {
        "object": {"spec": {"containers": [{"name": "main"}], **spec}}, "request": {"userInfo": {"username": user}},
        "variables": {},
    }
    for one in policy["spec"]["variables"]:
        known["variables"][one["name"]] = cel.evaluate(one["expression"], known)
    return all(cel.evaluate(one["expression"], known) for one in policy["spec"]["validations"])


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "one", "image": "x", **fields}


ENV = {"env": [{"name": "PLAIN", "value": "x"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": SECRET}}}]}
ENV_FROM = {"envFrom": [{"configMapRef": {"name": SECRET}}, {"secretRef": {"name": SECRET}}]}
READING: dict[str, dict[str, Any]] = {
    "volume": {"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "key", "secret": {"secretName": SECRET}}]},
    "projected": {"volumes": [{"name": "all", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token"}}, {"secret": {"name": SECRET}},
    ]}}]},
    "variable": {"containers": [container(), container(**ENV)]},
    "all variables": {"containers": [container(**ENV_FROM)]},
    "init container": {"initContainers": [container(**ENV)]},
    "ephemeral container": {"ephemeralContainers": [container(**ENV_FROM)]},
}
OTHERS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "other volumes": {"volumes": [
        {"name": "other", "secret": {"secretName": "s3"}}, {"name": "map", "configMap": {"name": SECRET}},
        {"name": "all", "projected": {"sources": [{"secret": {"name": "s3"}}]}}, {"name": "none", "projected": {}},
    ]},
    "other variables": {"containers": [container(
        env=[
            {"name": "A", "value": SECRET}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s3"}}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        envFrom=[{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": SECRET}}],
    )]},
}


@pytest.mark.parametrize("spec", READING.values(), ids=READING)
def test_only_argo_starts_pods_that_can_read_the_key(documents: list[dict[str, Any]], spec: dict[str, Any]) -> None:
    assert not admitted(documents[0], spec, SOMEBODY)
    assert admitted(documents[0], spec, ARGO)


@pytest.mark.parametrize("spec", OTHERS.values(), ids=OTHERS)
def test_other_pods_are_admitted(documents: list[dict[str, Any]], spec: dict[str, Any]) -> None:
    assert admitted(documents[0], spec, SOMEBODY)


def test_the_objects_are_ones_that_kubernetes_knows(documents: list[dict[str, Any]]) -> None:
    policy, binding = documents
    for one in documents:
        kubernetes_validate.validate(one, "1.33", strict=True)
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert binding["spec"]["validationActions"] == ["Deny"]
