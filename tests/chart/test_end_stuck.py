"""The CronJob that ends runs whose pods do not start, and the rights that it needs: enough, and no more."""

from __future__ import annotations

import datetime
import itertools

import pytest
from helm_chart import config_text, manifests, one, value_set
from kfp_server import kfp_server
from kube_http import kube_api

from thinksafe.config import load_config
from thinksafe.errors import StageError
from thinksafe_pipelines.kfp.starting import RUN_LABEL, end_stuck

VERBS = ("get", "list", "watch", "create", "patch", "update", "delete")


def granted(found) -> set[tuple[str, str, str]]:
    return {
        right for rule in one(found, "Role", "-publisher")["rules"] if "resourceNames" not in rule
        for right in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


def test_it_adds_its_rights_and_no_more(tmp_path):
    off = {"endStuck": {"enabled": False}}
    for name, rights in (
        ("default", {("", "pods", "list")}),
        ("multi-user", {("", "pods", "list"), ("pipelines.kubeflow.org", "runs", "terminate")}),
    ):
        on = manifests(value_set(name))
        without = manifests(value_set(name), values=off, folder=tmp_path)
        assert granted(on) - granted(without) == rights
        assert not granted(without) - granted(on)
        assert [item["kind"] for item in without if item not in on and item["kind"] != "Role"] == []
        assert not [item for item in without if item["kind"] == "CronJob"]


def test_it_runs_the_command_on_the_config_and_starts_without_secrets(rendered):
    spec = one(rendered, "CronJob", "-end-stuck")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    assert job["ttlSecondsAfterFinished"] > 0
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] + container["args"] == ["thinksafe", "end-stuck", "/etc/thinksafe/config.yaml"]
    assert pod["serviceAccountName"].endswith("-publisher")
    sources = [item["valueFrom"] for item in container["env"] if "valueFrom" in item]
    assert all(next(iter(source.values()))["optional"] for source in sources)
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]


@pytest.mark.parametrize("length", [1, 42, 43, 52])
def test_the_name_is_short_enough_for_the_jobs_that_come_of_it(tmp_path, length):
    found = manifests(value_set("default"), values={"fullnameOverride": "n" * length}, folder=tmp_path)
    name = one(found, "CronJob", "-end-stuck")["metadata"]["name"]
    assert len(name) <= 52
    assert (name == "n" * length + "-end-stuck") == (length <= 42)


def test_the_rights_are_enough_to_end_a_run(tmp_path, monkeypatch):
    with kfp_server() as kubeflow, kube_api(tmp_path, monkeypatch) as kubernetes:
        values = {"cluster": {"kfp": {"host": kubeflow.address}}}
        found = manifests(value_set("default"), values=values, folder=tmp_path)
        kubernetes.forbidden = {
            (verb, plural) for plural in ("pods", "pods/log", "events") for verb in VERBS
            if ("", plural, verb) not in granted(found)
        }
        cluster = load_config(config_text(found)).cluster
        assert cluster is not None
        kubeflow.pipelines = [{"pipeline_id": "p", "display_name": cluster.kfp.pipeline, "namespace": ""}]
        kubeflow.runs = [{
            "run_id": "r", "state": "RUNNING", "pipeline_version_reference": {"pipeline_id": "p"},
            "runtime_config": {"parameters": {"artifacts": str(tmp_path / "store")}},
        }]
        labels = {"app.kubernetes.io/name": "thinksafe", "app.kubernetes.io/component": "plan", RUN_LABEL: "r"}
        created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        kubernetes.pods = [{
            "metadata": {"name": "p", "creationTimestamp": created.isoformat(), "labels": labels},
            "status": {"phase": "Pending"},
        }]
        assert [one.run_id for one in end_stuck(cluster)] == ["r"]
        kubernetes.forbidden.add(("list", "pods"))
        with pytest.raises(StageError, match="may not list pods"):
            end_stuck(cluster)
