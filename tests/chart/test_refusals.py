"""Values that cannot be meant are refused, with the place and what to do."""

from __future__ import annotations

import pytest
from helm_chart import refusal, template, value_set

BY_SCHEMA = [
    ({"imagess": {}}, ["imagess", "not allowed"]),
    ({"cluster": {"kfp": {"acces": "token"}}}, ["/cluster/kfp", "acces", "not allowed"]),
    ({"cluster": {"kfp": {"access": "open"}}}, ["/cluster/kfp/access", "'in-cluster', 'token', 'port-forward'"]),
    ({"cluster": {"stages": {"sampel": {}}}}, ["/cluster/stages", "sampel", "not allowed"]),
    ({"cluster": {"stages": {"train": {"gpu": {"count": -1}}}}}, ["/cluster/stages/train/gpu/count", "-1"]),
    ({"cluster": {"stages": {"train": {"limits": {"memory": "16 GB"}}}}}, ["/cluster/stages/train/limits/memory"]),
    ({"cluster": {"store": "thinksafe/runs"}}, ["/cluster/store", "thinksafe/runs"]),
    ({"cluster": {"mlflow": {"uri": "mlflow:5000"}}}, ["/cluster/mlflow/uri"]),
    ({"cluster": {"images": {"cpu": "a/b:1"}}}, ["/cluster", "images", "not allowed"]),
    ({"images": {"pullPolicy": "Sometimes"}}, ["/images/pullPolicy", "'IfNotPresent', 'Always', 'Never'"]),
    ({"images": {"cpu": {"digest": "sha256:12"}}}, ["/images/cpu/digest"]),
    ({"images": {"cpu": {"repository": "https://example.com/cpu"}}}, ["/images/cpu/repository"]),
    ({"images": {"cpu": {"repository": "example.com/cpu:1.0"}}}, ["/images/cpu/repository"]),
    ({"images": {"cpu": {"repository": "a\"\n    evil: x"}}}, ["/images/cpu/repository"]),
    ({"extraLabels": {"a b": "c"}}, ["/extraLabels", "a b"]),
    ({"extraLabels": {"a": "x\ny: z"}}, ["/extraLabels/a"]),
    ({"hooks": {"backoffLimit": "many"}}, ["/hooks/backoffLimit", "integer"]),
    ({"hooks": {"annotations": {"a": 1}}}, ["/hooks/annotations/a", "string"]),
    ({"hooks": {"resources": {"limits": {"memory": "lots"}}}}, ["/hooks/resources/limits/memory"]),
    ({"mlflow": {"persistence": {"size": "big"}}}, ["/mlflow/persistence/size"]),
    ({"mlflow": {"allowedHosts": ["a b"]}}, ["/mlflow/allowedHosts/0"]),
    ({"networkPolicy": {"egress": [{"two": []}]}}, ["/networkPolicy/egress/0", "two"]),
    ({"networkPolicy": {"egressPorts": [70000]}}, ["/networkPolicy/egressPorts/0", "65,535"]),
    ({"serviceAccounts": {"pipeline": {"name": "Not_A_Name"}}}, ["/serviceAccounts/pipeline/name"]),
    ({"rollout": {"enabled": True}}, ["/rollout", "enabled", "not allowed"]),
    ({"config": {"training": {"nodes": 2, "processes": 1}}}, ["/cluster/train_job/enabled", "true"]),
    (
        {"config": {"training": {"nodes": 2}}, "cluster": {"train_job": {"enabled": True}}},
        ["/config/training", "missing property 'processes'"],
    ),
    ({"cluster": {"train_job": {"enabled": True}}}, ["/config", "missing property 'training'"]),
    (
        {"config": {"extends": "micro-kl", "student": None, "deploy": {"kind": "deployment"}}},
        ["/config/deploy", "missing property 'model'"],
    ),
    (
        {"config": {"student": {"model": "micro://default"}, "deploy": {"kind": "inference-service"}}},
        ["/config/deploy", "missing property 'model'"],
    ),
]


@pytest.mark.parametrize(("values", "parts"), BY_SCHEMA, ids=[" ".join(parts[:2]) for _, parts in BY_SCHEMA])
def test_the_schema_names_the_place(tmp_path, values, parts):
    said = refusal(value_set("default"), values=values, folder=tmp_path)
    for part in parts:
        assert part in said


BY_TEMPLATE = [
    ({"config": {"cluster": {}}}, "move it to the value `cluster`"),
    ({"cluster": {"store": ""}}, "cluster.store is empty"),
    ({"cluster": {"mlflow": {"uri": ""}}}, "set mlflow.enabled for a trial"),
    ({"cluster": {"mlflow": {"uri": "http://me:hunter2@mlflow:5000"}}}, "cluster.mlflow.uri holds a user or password"),
    ({"config": {"registry": {"tracking_uri": "http://me:hunter2@mlflow:5000"}}}, "an address with a password"),
    ({"cluster": {"annotations": {"proxy": "http://me:hunter2@proxy"}}}, "an address with a password"),
    ({"mlflow": {"enabled": True}}, "choose one"),
    ({"images": {"trainer": {"tag": "latest"}}}, "images.trainer.tag is latest"),
    ({"images": {"sampler": {"repository": ""}}}, "images.sampler.repository is empty"),
    ({"cluster": {"kfp": {"access": "port-forward"}}}, "works from a workstation only"),
    ({"cluster": {"kfp": {"access": "token"}}}, "name the secret that holds it in kfpToken.secret"),
    ({"kfpToken": {"secret": "kfp"}}, "set cluster.kfp.access to token"),
    (
        {"cluster": {"kfp": {"access": "token", "token_file": "/token"}}, "kfpToken": {"secret": "kfp"}},
        "kfpToken.secret and cluster.kfp.token_file are both set",
    ),
    ({"cluster": {"mlflow": {"secret": {"name": "login"}}}}, "token, or username and password"),
    (
        {"cluster": {"mlflow": {"secret": {"name": "login", "token": "t", "username": "u", "password": "p"}}}},
        "token, or username and password",
    ),
    ({"cluster": {"mlflow": {"secret": {"name": "login", "username": "u"}}}}, "username and password go together"),
    ({"cluster": {"mlflow": {"secret": {"token": "t"}}}}, "cluster.mlflow.secret.name is empty"),
    (
        {"serviceAccounts": {"pipeline": {"name": "ours"}, "publisher": {"name": "ours"}}},
        "pipeline and publisher would both make the account ours",
    ),
    ({"cluster": {"schedule": {"cron": "0 3 * * 0"}}}, "cluster.schedule.cron has 5 fields; Kubeflow's has six"),
    ({"cluster": {"schedule": {"cron": "0 0 3 * * 1-7"}}}, "Kubeflow takes no 7"),
    ({"cluster": {"schedule": {"cron": "0 0 3 L# * 1"}}}, "is no field of a cron"),
    ({"cluster": {"annotations": {"a": "{{x}}"}}}, "cluster.annotations: a holds a placeholder"),
    ({"cluster": {"schedule": {"evaluate": {"cron": "@daily"}}}}, "cluster.schedule.evaluate.cron has 1 fields"),
    ({"cluster": {"model_cache": {"kind": "claim"}}}, "name the PersistentVolumeClaim"),
    ({"cluster": {"model_cache": {"claim": "models"}}}, "set cluster.model_cache.kind to claim"),
    ({"serviceAccounts": {"pipeline": {"create": False}}}, "name the account that exists"),
]


@pytest.mark.parametrize(("values", "said"), BY_TEMPLATE, ids=[said for _, said in BY_TEMPLATE])
def test_the_templates_say_what_to_do(tmp_path, values, said):
    message = refusal(value_set("default"), values=values, folder=tmp_path)
    assert said in message
    assert "hunter2" not in message


def test_all_that_is_missing_is_said_at_once(tmp_path):
    said = refusal(values={}, folder=tmp_path)
    for name in ("config", "cluster.store", "cluster.mlflow.uri", "images.cpu.repository", "images.trainer.repository"):
        assert f"- {name} is empty: " in said


@pytest.mark.parametrize(
    ("missing", "place", "name"),
    [
        ({"hooks": None}, "''", "hooks"), ({"hooks": {"deadlineSeconds": None}}, "'/hooks'", "deadlineSeconds"),
        ({"cluster": {"schedule": {"cron": None}}}, "'/cluster/schedule'", "cron"),
    ],
)
def test_values_of_an_older_chart_are_refused_for_what_they_lack(tmp_path, missing, place, name):
    """`helm upgrade --reuse-values` takes the older chart's defaults; null takes a default away just so."""
    said = refusal(value_set("default"), values=missing, folder=tmp_path)
    assert f"at {place}: missing property '{name}'" in said


def test_an_amount_can_be_taken_away(tmp_path):
    values = {"hooks": {"resources": {"limits": {"cpu": None}}}}
    assert template(value_set("default"), values=values, folder=tmp_path).returncode == 0


def test_pods_of_runs_and_the_release_share_a_namespace(tmp_path):
    said = refusal(value_set("default"), values={}, folder=tmp_path, namespace="other")
    assert "install with --namespace kubeflow" in said


def test_a_profile_is_a_namespace_of_its_own():
    assert template(value_set("multi-user"), namespace="team-a").returncode == 0
