"""The CronJob that makes the page of all models, and the dashboard of its numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml
from fleets import World
from helm_chart import CHART, manifests, one, refusal, value_set

from thinksafe.fleet.openmetrics import exposition
from thinksafe.fleet.survey import Fleet
from thinksafe.store.local import LocalStore

ON = {"fleet": {"enabled": True}}


def job(found):
    pod = one(found, "CronJob", "-fleet")["spec"]["jobTemplate"]["spec"]["template"]
    return pod, pod["spec"]["containers"][0]


@pytest.mark.parametrize("name", ["default", "trial", "multi-user"])
def test_off_by_default_and_nothing_else_when_on(tmp_path, name):
    off, on = manifests(value_set(name)), manifests(value_set(name), values=ON, folder=tmp_path)
    added = [(item["kind"], item["metadata"]["name"].split("-")[-1]) for item in on if item not in off]
    assert sorted(added) == [("CronJob", "fleet"), ("ServiceAccount", "fleet")]
    assert not [item for item in off if item not in on]


def test_it_has_no_right_in_kubernetes_and_the_credentials_of_the_store_alone(tmp_path):
    found = manifests(value_set("hardened"))
    pod, container = job(found)
    account = pod["spec"]["serviceAccountName"]
    assert account.endswith("-fleet")
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert one(found, "ServiceAccount", "-fleet")["automountServiceAccountToken"] is False
    bound = [item for item in found if item["kind"] == "RoleBinding" if account in json.dumps(item["subjects"])]
    assert bound == []
    assert {item["valueFrom"]["secretKeyRef"]["name"] for item in container["env"] if "valueFrom" in item} == {
        "thinksafe-s3"
    }
    selector = one(found, "NetworkPolicy", "-fleet")["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()


def test_it_reads_all_stores_and_writes_into_its_own(tmp_path):
    values = {"fleet": {"enabled": True, "stores": ["s3://bbb/x", "s3://ccc"]}, "cluster": {"store": "s3://aaa/runs/"}}
    _, container = job(manifests(value_set("default"), values=values, folder=tmp_path))
    assert container["command"] + container["args"] == [
        "thinksafe", "fleet", "--artifacts", "s3://aaa/runs", "--artifacts", "s3://bbb/x", "--artifacts", "s3://ccc",
        "--out", "s3://aaa/runs/fleet", "--openmetrics", "s3://aaa/runs/fleet/metrics.prom",
    ]


def test_its_command_runs(tmp_path):
    _, container = job(manifests(value_set("default"), values=ON, folder=tmp_path))
    store = LocalStore(tmp_path / "store")
    World(store).append("safe", "one", 5)
    arguments = [argument.replace("s3://thinksafe/runs", store.root) for argument in container["args"]]
    done = subprocess.run(
        [sys.executable, "-m", "thinksafe", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert store.keys("fleet/") == ["fleet/index.html", "fleet/metrics.prom", "fleet/read.json"]


@pytest.mark.parametrize("length", [1, 42, 43, 52])
def test_the_name_is_short_enough_for_the_jobs_that_come_of_it(tmp_path, length):
    found = manifests(value_set("default"), values=ON | {"fullnameOverride": "n" * length}, folder=tmp_path)
    assert len(one(found, "CronJob", "-fleet")["metadata"]["name"]) <= 52


def test_a_proxy_and_certificates_reach_it(tmp_path):
    cluster = {
        "config_maps": [{"name": "proxy", "keys": {"https": "HTTPS_PROXY"}}],
        "certificates": {"config_map": "authority"},
    }
    _, container = job(manifests(value_set("default"), values=ON | {"cluster": cluster}, folder=tmp_path))
    names = {item["name"] for item in container["env"]}
    assert {"HTTPS_PROXY", "AWS_CA_BUNDLE"} <= names
    assert "/etc/thinksafe/certificates" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_dashboard_is_a_config_map_that_grafana_finds(tmp_path):
    values = {"fleet": {"dashboard": {"enabled": True, "labels": {"grafana_dashboard": "yes"}}}}
    found = one(manifests(value_set("default"), values=values, folder=tmp_path), "ConfigMap", "-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "yes"
    (text,) = found["data"].values()
    assert json.loads(text) == json.loads((CHART / "dashboards" / "fleet.json").read_text("utf-8"))


def test_the_dashboard_asks_for_metrics_that_there_are():
    dashboard = json.loads((CHART / "dashboards" / "fleet.json").read_text("utf-8"))
    known = set(re.findall(r"^# TYPE (\S+)", exposition(Fleet(0, (), ())).decode(), re.MULTILINE))
    asked = set(re.findall(r"thinksafe_\w+", json.dumps([dashboard["panels"], dashboard["templating"]])))
    assert asked <= known
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) >= 8
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]


def test_the_schedule_is_checked(tmp_path):
    for wrong in ("", "daily", "0 0 3 * * 0"):
        said = refusal(value_set("default"), values={"fleet": {"enabled": True, "schedule": wrong}}, folder=tmp_path)
        assert "/fleet/schedule" in said
    assert yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))["fleet"]["enabled"] is False
