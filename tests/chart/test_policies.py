"""Policies over the rendered manifests."""

from __future__ import annotations

import json
import re

import pytest
from helm_chart import NAMESPACE, config_text, manifests, one, pods, value_set

from thinksafe.deploy.manifests import PORT
from thinksafe.errors import EXIT_BAD_INPUT

NAMESPACED = {
    "ConfigMap", "CronJob", "Deployment", "Job", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "Role", "RoleBinding",
    "Service", "ServiceAccount",
}


def _containers(found):
    return [container for spec in pods(found) for container in spec["containers"] + spec.get("initContainers", [])]


def test_nothing_is_cluster_wide(rendered):
    assert {item["kind"] for item in rendered} <= NAMESPACED
    assert all(item["metadata"].get("namespace") for item in rendered)
    elsewhere = [item["metadata"]["name"] for item in rendered if item["metadata"]["namespace"] != NAMESPACE]
    assert all(name.endswith("-rollout") for name in elsewhere)


def test_pods_meet_pod_security_restricted(rendered):
    for spec in pods(rendered):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert {key for volume in spec["volumes"] for key in volume} - {"name"} <= {
            "configMap", "emptyDir", "persistentVolumeClaim", "projected",
        }
    for container in _containers(rendered):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_a_read_only_root_leaves_a_place_to_write(rendered):
    for spec in pods(rendered):
        empty = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
        for container in spec["containers"]:
            assert {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in empty} == {"/tmp"}
            assert {"name": "HOME", "value": "/tmp"} in container["env"]


def test_every_container_has_resources(rendered):
    for container in _containers(rendered):
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory", "ephemeral-storage"}


def test_images_are_pinned(rendered):
    assert _containers(rendered)
    for container in _containers(rendered):
        name = container["image"].rsplit("/", 1)[-1]
        assert re.search(r"@sha256:[0-9a-f]{64}$|:[\w][\w.-]*$", name), container["image"]
        assert ":latest" not in container["image"]


def test_secrets_reach_pods_by_reference_only(rendered):
    assert not [item for item in rendered if item["kind"] == "Secret"]
    for container in _containers(rendered):
        for variable in container["env"]:
            if re.search(r"TOKEN|PASSWORD|SECRET|ACCESS_KEY|USERNAME", variable["name"]):
                assert set(variable) == {"name", "valueFrom"}
                assert set(variable["valueFrom"]) == {"secretKeyRef"}


def test_rights_are_small(rendered):
    for item in rendered:
        if item["kind"] != "Role":
            continue
        for rule in item["rules"]:
            assert "*" not in json.dumps(rule)
            assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}
            if {"secrets", "configmaps", "serviceaccounts"} & set(rule["resources"]):
                assert rule["resourceNames"], "named objects only"
                assert all(rule["resourceNames"])
                assert rule["verbs"] == ["get"]
            assert not {"pods/exec", "roles", "rolebindings", "nodes"} & set(rule["resources"])
            assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])
            assert "delete" not in rule["verbs"] or rule["resources"] in (["jobs"], ["trainjobs"])


def test_bindings_bind_an_account_of_the_release_to_its_role(rendered):
    accounts = {item["metadata"]["name"] for item in rendered if item["kind"] == "ServiceAccount"}
    roles = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in rendered if item["kind"] == "Role"}
    bindings = [item for item in rendered if item["kind"] == "RoleBinding"]
    assert len(bindings) == len(roles)
    for item in bindings:
        assert item["roleRef"]["kind"] == "Role"
        assert (item["metadata"]["namespace"], item["roleRef"]["name"]) in roles
        assert len(item["subjects"]) == (2 if item["metadata"]["name"].endswith("-rollout") else 1)
        for subject in item["subjects"]:
            assert subject["name"] in accounts
            assert subject["namespace"] == NAMESPACE


def test_only_the_publisher_gets_a_token_for_the_kubernetes_api(rendered):
    for spec in pods(rendered):
        assert spec["automountServiceAccountToken"] == spec["serviceAccountName"].endswith("-publisher")


def test_hooks_leave_nothing_behind_once_they_succeeded(rendered):
    hooks = [item for item in rendered if "helm.sh/hook" in item["metadata"].get("annotations", {})]
    assert len(hooks) == 3
    for item in hooks:
        annotations = item["metadata"]["annotations"]
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert "hook-failed" in annotations["helm.sh/hook-output-log-policy"]
        assert 0 < item["spec"]["activeDeadlineSeconds"] < 300, "as long as Helm waits"
    for item in rendered:
        if item["kind"] == "Job":
            assert item["spec"]["backoffLimit"] >= 0
            assert item["spec"]["ttlSecondsAfterFinished"] > 0


def test_wrong_input_ends_a_hook_at_the_first_attempt(rendered):
    for item in rendered:
        if item["kind"] == "Job":
            (container,) = item["spec"]["template"]["spec"]["containers"]
            (rule,) = item["spec"]["podFailurePolicy"]["rules"]
            wrong = {"containerName": container["name"], "operator": "In", "values": [EXIT_BAD_INPUT]}
            assert rule == {"action": "FailJob", "onExitCodes": wrong}
            assert item["spec"]["template"]["spec"]["restartPolicy"] == "Never", "else Kubernetes refuses the policy"


def test_labels_are_everywhere(tmp_path):
    extra = {"extraLabels": {"team": "a", "app.kubernetes.io/component": "other", "helm.sh/chart": "other"}}
    found = manifests(value_set("hardened"), values=extra, folder=tmp_path)
    for item in found:
        parts = [item["metadata"]]
        if item["kind"] in ("Deployment", "Job"):
            parts.append(item["spec"]["template"]["metadata"])
        for part in parts:
            assert part["labels"]["team"] == "a"
            assert part["labels"]["app.kubernetes.io/part-of"] == "thinksafe"
            assert part["labels"]["app.kubernetes.io/component"] != "other"
            assert part["labels"]["helm.sh/chart"] == "thinksafe-0.1.0"


def test_workload_identity():
    found = manifests(value_set("multi-user"))
    role = one(found, "ServiceAccount", "-pipeline")["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert role == "arn:aws:iam::111122223333:role/team-a-thinksafe"
    assert "annotations" not in one(manifests(value_set("default")), "ServiceAccount", "-pipeline")["metadata"]


def test_accounts_that_exist_are_used(tmp_path):
    accounts = {"pipeline": {"create": False, "name": "pipeline-runner"}}
    found = manifests(value_set("default"), values={"serviceAccounts": accounts}, folder=tmp_path)
    assert not [item for item in found if item["kind"] == "ServiceAccount" and "pipeline" in item["metadata"]["name"]]
    assert one(found, "RoleBinding", "-pipeline")["subjects"][0]["name"] == "pipeline-runner"


def test_network_policies_leave_nothing_open():
    found = manifests(value_set("hardened"))
    policies = {item["metadata"]["name"]: item["spec"] for item in found if item["kind"] == "NetworkPolicy"}
    parts = ("pipeline", "publisher", "fleet", "mlflow", "nodes")
    assert set(policies) == {f"safe-thinksafe-{part}" for part in parts}
    for spec in policies.values():
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        assert all(rule.get("to") for rule in spec["egress"]), "a rule without peers allows all"
        assert all(rule.get("from") for rule in spec["ingress"])
    assert policies["safe-thinksafe-pipeline"]["ingress"] == []
    assert policies["safe-thinksafe-publisher"]["ingress"] == policies["safe-thinksafe-fleet"]["ingress"] == []


def test_network_policies_select_the_pods_of_the_release():
    found = manifests(value_set("hardened"))
    pod = one(found, "Pod", "-doctor")["metadata"]["labels"]
    selector = one(found, "NetworkPolicy", "-publisher")["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= pod.items()
    runs = json.loads(config_text(found))["cluster"]["labels"]
    selector = one(found, "NetworkPolicy", "-pipeline")["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= runs.items()
    assert not selector.items() <= pod.items()
    server = one(found, "Deployment", "-mlflow")["spec"]["template"]["metadata"]["labels"]
    assert one(found, "NetworkPolicy", "-mlflow")["spec"]["podSelector"]["matchLabels"].items() <= server.items()
    assert one(found, "Service", "-mlflow")["spec"]["selector"].items() <= server.items()


@pytest.mark.parametrize("deploy", [{}, {"kind": "deployment", "namespace": "serving"}])
def test_runs_reach_what_they_serve(tmp_path, deploy):
    values = {"networkPolicy": {"enabled": True}, **_deploying(**deploy)}
    found = manifests(value_set("default"), values=values, folder=tmp_path)
    served = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "serving"}}}],
        "ports": [{"protocol": "TCP", "port": PORT}],
    }
    assert (served in one(found, "NetworkPolicy", "-pipeline")["spec"]["egress"]) == bool(deploy)
    assert served not in one(found, "NetworkPolicy", "-publisher")["spec"]["egress"]


@pytest.mark.parametrize("deploy", [None, "none"])
def test_a_deploy_that_is_no_section_is_left_to_the_hook_to_refuse(tmp_path, deploy):
    found = manifests(value_set("default"), values={"config": {"deploy": deploy}}, folder=tmp_path)
    assert not [item for item in found if item["metadata"]["name"].endswith("-rollout")]


@pytest.mark.parametrize(
    ("kind", "resources"),
    [
        ("deployment", {"deployments", "services", "pods", "events"}),
        ("inference-service", {"inferenceservices", "pods", "events"}),
        ("llm-inference-service", {"llminferenceservices", "pods", "events"}),
    ],
)
def test_the_rollout_may_touch_its_kind_only(tmp_path, kind, resources):
    found = manifests(value_set("default"), values=_deploying(kind=kind, namespace="serving"), folder=tmp_path)
    role = one(found, "Role", "-rollout")
    assert role["metadata"]["namespace"] == "serving"
    assert {resource for rule in role["rules"] for resource in rule["resources"]} == resources
    assert not {verb for rule in role["rules"] for verb in rule["verbs"]} - {"list", "watch", "create", "patch"}


@pytest.mark.parametrize("by_runs", [True, False])
def test_the_rollout_is_bound_to_runs_where_they_roll_out(tmp_path, by_runs):
    values = _deploying(kind="deployment") | {"rollout": {"byRuns": by_runs}}
    binding = one(manifests(value_set("default"), values=values, folder=tmp_path), "RoleBinding", "-rollout")
    accounts = {subject["name"] for subject in binding["subjects"]}
    assert accounts == {"safe-thinksafe-rollout"} | ({"safe-thinksafe-pipeline"} if by_runs else set())


@pytest.mark.parametrize("deploy", [{}, {"kind": "none"}, {"namespace": "serving"}])
def test_without_a_rollout_there_are_no_rights_for_it(tmp_path, deploy):
    found = manifests(value_set("default"), values=_deploying(**deploy), folder=tmp_path)
    assert not [item for item in found if item["metadata"]["name"].endswith("-rollout")]


def _deploying(**deploy):
    return {"config": {"deploy": deploy}}
