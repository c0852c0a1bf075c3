"""What the chart adds where several nodes train: rights that are enough and no more, and a way between the nodes."""

from __future__ import annotations

import pytest
from helm_chart import NAMESPACE, config_text, granted_to_runs, manifests, one, value_set
from kube_http import kube_api
from node_training import EXAMPLES
from trainer_controller import condition, pod

from thinksafe.config import load_config, sections_of
from thinksafe.config.shape import Shape
from thinksafe.doctor.rights import job_rights
from thinksafe.errors import StageError
from thinksafe.jsonl import write_records
from thinksafe.kube.client import connect
from thinksafe.models.references import ModelReference
from thinksafe.store.local import LocalStore
from thinksafe.training.node import NodeJob
from thinksafe.training.trainjob.launcher import TrainJobLauncher
from thinksafe.training.trainjob.manifest import train_job

KEY = "0123456789abcdef" * 4
VERBS = ("get", "list", "watch", "create", "patch", "update", "delete")
PLURALS = {"trainjobs": "trainer.kubeflow.org", "pods": "", "pods/log": ""}


def test_the_role_of_runs_is_enough_to_start_a_train_job_and_to_tell_why_it_failed(tmp_path, monkeypatch):
    found = manifests(value_set("hardened"))
    granted = granted_to_runs(found)
    config = load_config(config_text(found))
    assert config.cluster is not None
    examples = tmp_path / "examples.jsonl"
    write_records(examples, EXAMPLES)
    job = NodeJob(
        section=sections_of(config).train, base=ModelReference(role="base", student=config.student, base_digest="d"),
        examples_digest="e", key=KEY, run_id="run", task="train",
    )
    with kube_api(tmp_path, monkeypatch) as api:
        api.forbidden = {
            (verb, plural) for plural, group in PLURALS.items() for verb in VERBS
            if (group, plural, verb) not in granted
        }
        api.logs = lambda name: "the last line"

        def failed(found):
            api.pods[:] = [pod(found["metadata"]["name"], 0, 1)]
            return condition("Failed", "FailedJobs")

        api.controller = failed
        cluster = connect(NAMESPACE, section="cluster", retry_seconds=2.0)
        for _ in range(2):  # the second attempt deletes the job of the first one
            with pytest.raises(StageError, match="the last line"):
                TrainJobLauncher(
                    LocalStore(tmp_path / "store"), config.cluster, cluster, job, examples, lambda: False, 1.0
                ).run()
        used = {("create", "trainjobs"), ("delete", "trainjobs"), ("list", "trainjobs"), ("get", "pods/log")}
        assert not used & api.forbidden


def test_the_doctor_asks_for_the_rights_that_the_role_gives():
    granted = granted_to_runs(manifests(value_set("hardened")))
    assert {(group, resource, verb) for resource, group, verbs in job_rights("TrainJob") for verb in verbs} <= granted
    without = granted_to_runs(manifests(value_set("multi-user")))
    added = {right for right in granted - without if right[0] != "argoproj.io"}
    assert added == {("trainer.kubeflow.org", "trainjobs", verb) for verb in ("list", "watch", "create", "delete")}


def test_the_doctor_may_look_at_the_account_of_the_nodes(tmp_path):
    values = {"cluster": {"jobs": {"service_account": "nodes"}}}
    rules = one(manifests(value_set("hardened"), values=values, folder=tmp_path), "Role", "-publisher")["rules"]
    (rule,) = [rule for rule in rules if rule["resources"] == ["serviceaccounts"]]
    assert rule["resourceNames"] == ["safe-thinksafe-pipeline", "nodes"]


def test_nodes_may_talk_to_one_another_and_to_nobody_else_by_that():
    found = manifests(value_set("hardened"))
    policy = one(found, "NetworkPolicy", "-nodes")["spec"]
    chosen = policy["podSelector"]["matchLabels"]
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": chosen}}]}]
    assert policy["egress"] == [{"to": [{"podSelector": {"matchLabels": chosen}}]}]
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    (patch,) = train_job(cluster, KEY, "address", Shape(2, 1, 4, 4))["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    labels = job["template"]["spec"]["template"]["metadata"]["labels"]
    assert chosen.items() <= labels.items()  # the policy finds the pods
    assert not [one for one in manifests(value_set("multi-user")) if one["metadata"]["name"].endswith("-nodes")]


def test_a_runtime_of_the_namespace_may_be_looked_at_by_the_doctor(tmp_path):
    values = {"cluster": {"train_job": {"enabled": True, "runtime": {"kind": "TrainingRuntime", "name": "mine"}}}}
    found = manifests(value_set("hardened"), values=values, folder=tmp_path)
    (rule,) = [rule for rule in one(found, "Role", "-publisher")["rules"] if "trainingruntimes" in rule["resources"]]
    assert (rule["resourceNames"], rule["verbs"]) == (["mine"], ["get"])
