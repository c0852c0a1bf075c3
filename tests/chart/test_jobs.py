"""What the chart adds for stages that start Jobs: rights that are enough and no more, and the way to the store."""

from __future__ import annotations

import sys

import pytest
from helm_chart import NAMESPACE, config_text, granted_to_runs, manifests, one, value_set
from job_controller import JobController
from kube_http import kube_api

from thinksafe.config import load_config
from thinksafe.errors import StageError
from thinksafe.kube.client import connect
from thinksafe.kube.indexed_job import IndexedJobLauncher, indexed_job

KEY = "0123456789abcdef" * 4
VERBS = ("get", "list", "watch", "create", "patch", "update", "delete")
PLURALS = {"jobs": "batch", "pods": "", "pods/log": ""}
JOBS = {("batch", "jobs", verb) for verb in ("list", "watch", "create", "delete")}


def test_the_role_of_runs_is_enough_to_start_a_job_and_to_tell_why_it_failed(tmp_path, monkeypatch):
    found = manifests(value_set("multi-user"))
    granted = granted_to_runs(found)
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    with kube_api(tmp_path, monkeypatch) as api:
        api.forbidden = {
            (verb, plural) for plural, group in PLURALS.items() for verb in VERBS
            if (group, plural, verb) not in granted
        }
        command = [sys.executable, "-c", "raise SystemExit('the last line')"]
        JobController(api, tmp_path, lambda job: command, backoff_seconds=0.0)
        client = connect(NAMESPACE, section="cluster", retry_seconds=2.0)
        for _ in range(2):  # the second attempt deletes the Job of the first one
            with pytest.raises(StageError, match="the last line"):
                IndexedJobLauncher(
                    client, cluster, "sample", KEY, "address", 2, lambda: False, lambda: None, look_seconds=1.0
                ).run()
        assert not {("create", "jobs"), ("delete", "jobs"), ("list", "jobs"), ("get", "pods/log")} & api.forbidden


def test_the_rights_are_given_where_runs_start_jobs_and_no_more(tmp_path):
    granted = granted_to_runs(manifests(value_set("multi-user")))
    without = granted_to_runs(
        manifests(value_set("multi-user"), values={"rbac": {"jobs": False}}, folder=tmp_path)
    )
    assert granted - without == {*JOBS, ("", "pods/log", "get")}
    assert not without - granted


def test_the_network_policy_finds_the_pods_of_jobs():
    found = manifests(value_set("hardened"))
    chosen = one(found, "NetworkPolicy", "-pipeline")["spec"]["podSelector"]["matchLabels"]
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    for stage in ("sample", "judge", "grade"):
        template = indexed_job(cluster, stage, KEY, "address", 4)["spec"]["template"]
        assert chosen.items() <= template["metadata"]["labels"].items()
    assert indexed_job(cluster, "sample", KEY, "address", 4)["spec"]["template"]["spec"]["runtimeClassName"] == "gvisor"
