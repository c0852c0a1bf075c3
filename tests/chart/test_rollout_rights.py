"""The role of a rollout, enforced by a stand-in for the Kubernetes API, is enough for a rollout."""

from __future__ import annotations

import itertools

import pytest
from helm_chart import manifests, one, value_set
from kube_api import ready_deployment
from kube_http import kube_api
from rollouts import TARGET, settings_of

from thinksafe.deploy.manifests import KINDS
from thinksafe.deploy.manifests import manifests as served
from thinksafe.deploy.readiness import wait_until_ready
from thinksafe.doctor.rollout import rights_of
from thinksafe.errors import StageError
from thinksafe.kube.client import connect
from thinksafe.kube.resources import RESOURCES

VERBS = ("get", "list", "watch", "create", "patch", "update", "delete")


def _ready(found):
    if found["kind"] == "Deployment":
        return ready_deployment(found)
    generation = found["metadata"]["generation"]
    return {"observedGeneration": generation, "conditions": [{"type": "Ready", "status": "True"}]}


def _rollout(api, settings):
    cluster = connect(settings.namespace, section="deploy", retry_seconds=2.0)
    for manifest in served(settings, TARGET):
        cluster.apply(manifest, force=False)
    # KServe's object counts as ready when its pods have the adapter, so the pods are listed, too
    api.pods = [{
        "metadata": {"name": "guarded-1"},
        "spec": {"containers": [{"args": [TARGET.path]}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }]
    assert wait_until_ready(cluster, settings, TARGET.digest, seconds=20).ready
    cluster.find("Pod", {"app.kubernetes.io/name": settings.name})
    cluster.post("Event", {"metadata": {"name": "guarded.1"}, "reason": "RolledOut"})
    return cluster


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_role_is_enough(tmp_path, monkeypatch, kind):
    settings = settings_of(kind=kind)
    values = {"config": {"deploy": {"kind": kind, "namespace": settings.namespace}}}
    role = one(manifests(value_set("default"), values=values, folder=tmp_path), "Role", "-rollout")
    assert role["metadata"]["namespace"] == settings.namespace
    allowed = {
        (group, resource, verb) for rule in role["rules"]
        for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }
    wanted = {(group, resource, verb) for resource, group, verbs in rights_of(kind) for verb in verbs}
    assert allowed == wanted, "what the doctor asks for"
    known = {(resource.group, resource.plural) for resource in RESOURCES.values()}
    assert {(group, resource) for group, resource, _ in allowed} <= known
    with kube_api(tmp_path, monkeypatch) as api:
        api.controller = _ready
        api.forbidden = {
            (verb, plural) for group, plural in known for verb in VERBS if (group, plural, verb) not in allowed
        }
        _rollout(api, settings)
        assert api.events
        asked = {(request.path.split("/")[2] if request.path.startswith("/apis/") else "") for request in api.requests}
        assert asked <= {group for group, _, _ in allowed}


def test_the_stand_in_enforces(tmp_path, monkeypatch):
    with kube_api(tmp_path, monkeypatch) as api:
        api.controller = _ready
        api.forbidden = {("patch", "deployments")}
        with pytest.raises(StageError, match="may not patch"):
            _rollout(api, settings_of())
