"""The rendered roles, enforced by a server, are enough for what runs under them."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
from helm_chart import NAMESPACE, config_text, manifests, one, value_set
from kube_http import kube_api

from thinksafe.config import load_config
from thinksafe.config.pods import secret_variables
from thinksafe.doctor.objects import kubernetes_checks
from thinksafe.kube.client import connect

FORBIDDEN = 403, {"kind": "Status", "reason": "Forbidden"}


def _allowed(rules, verb, group, resource, name=""):
    """As RBAC: a rule with names allows no request without one."""
    return any(
        group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
        and (not rule.get("resourceNames") or name in rule["resourceNames"])
        for rule in rules
    )


@contextmanager
def _enforcing(rules, folder, monkeypatch):
    with kube_api(folder, monkeypatch) as api:
        api.forbidden = {("create", "pods")}
        server = api.contents
        answer = server.answer

        def guarded(method, path, body):
            if path.endswith("/selfsubjectaccessreviews"):
                wanted = body["spec"]["resourceAttributes"]
                here = wanted.get("namespace", "") == NAMESPACE
                allowed = here and _allowed(
                    rules, wanted["verb"], wanted.get("group", ""), wanted["resource"], wanted.get("name", "")
                )
                server.asked.append(wanted)
                return 201, {**body, "status": {"allowed": allowed}}
            if path.endswith("/localsubjectaccessreviews"):
                allowed = _allowed(rules, "create", "authorization.k8s.io", "localsubjectaccessreviews")
                return answer(method, path, body) if allowed else FORBIDDEN
            if path == "/apis/trainer.kubeflow.org/v1alpha1":  # discovery, which everybody may
                return answer(method, path, body)
            found = re.fullmatch(rf"/api/v1/namespaces/{NAMESPACE}/([a-z]+)(?:/([^/]+))?", path)
            verb = "get" if found and found[2] else "list"
            if method == "GET" and found and _allowed(rules, verb, "", found[1], found[2] or ""):
                return answer(method, path, body)
            return FORBIDDEN

        server.answer = guarded
        yield server


@pytest.mark.parametrize("name", ["disconnected", "multi-user", "hardened"])
def test_the_doctor_sees_all_that_the_values_name(tmp_path, monkeypatch, name):
    found = manifests(value_set(name))
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    with _enforcing(one(found, "Role", "-publisher")["rules"], tmp_path, monkeypatch) as server:
        keys: dict[str, dict[str, str]] = {}
        for stage in ("plan", "sample", "gate"):
            for secret, key, _ in secret_variables(cluster, stage):
                keys.setdefault(secret, {})[key] = "value"
        for secret, data in keys.items():
            server.secret(secret, NAMESPACE, **data)
        for item in cluster.config_maps:
            server.put("configmaps", item.name, namespace=NAMESPACE, data=dict.fromkeys(item.keys, "value"))
        if cluster.certificates.config_map:
            data = {cluster.certificates.key: "PEM"}
            server.put("configmaps", cluster.certificates.config_map, namespace=NAMESPACE, data=data)
        for secret in cluster.image_pull_secrets:
            server.secret(secret, NAMESPACE, **{".dockerconfigjson": '{"auths": {"mirror.example.com:5000": {}}}'})
        defaults = "spec: {templateDefaults: {retryStrategy: {retryPolicy: OnError}}}"
        server.put("configmaps", "workflow-controller-configmap", namespace=cluster.kfp.namespace,
                   data={"workflowDefaults": defaults})
        server.trainer()
        server.put("serviceaccounts", cluster.service_account, namespace=NAMESPACE)
        if cluster.model_cache.claim:
            spec = {"accessModes": ["ReadWriteMany"]}
            server.put("persistentvolumeclaims", cluster.model_cache.claim, namespace=NAMESPACE, spec=spec)
        checks = kubernetes_checks(cluster, connect(NAMESPACE, section="cluster"))
        findings = [one for _, check in checks for one in check()]
    assert not [finding for finding in findings if finding.status == "failed"]
    # nodes, classes and Trainer's runtimes are cluster-wide, which the release has no right to
    blind = {"images", "nodes", "classes", "train job"}
    assert {finding.check for finding in findings if finding.status == "warning"} <= blind
    about_jobs = [finding.status for finding in findings if finding.check == "train job"]
    assert about_jobs == (["warning", "ok"] if cluster.train_job.enabled else [])
    # in multi-user mode Argo is in another namespace, which the release has no right to, either
    about_retries = [finding.status for finding in findings if finding.check == "retries"]
    assert about_retries == ([] if cluster.kfp.multi_user else ["ok"])
    assert [finding.status for finding in findings if finding.check == "nodes"] == ["warning"], "said once"
    assert {finding.check for finding in findings if finding.status == "ok"} >= {"service account", "secrets"}


def test_a_role_without_a_secret_would_be_noticed(tmp_path, monkeypatch):
    found = manifests(value_set("hardened"))
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    rules = [rule for rule in one(found, "Role", "-publisher")["rules"] if "secrets" not in rule["resources"]]
    with _enforcing(rules, tmp_path, monkeypatch):
        checks = dict(kubernetes_checks(cluster, connect(NAMESPACE, section="cluster")))
        assert {finding.status for finding in checks["secrets"]()} == {"warning"}
