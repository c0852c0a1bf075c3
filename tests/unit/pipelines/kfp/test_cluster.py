from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.pods import JOBS_VARIABLE
from thinksafe.config.stage_table import STAGES
from thinksafe.run.attempts import NODE_VARIABLE, RETRIES_VARIABLE
from thinksafe_components.images import Images
from thinksafe_pipelines.commands import COMPARE, PIPELINES, compile_pipeline
from thinksafe_pipelines.kfp.snapshot import CLUSTERS, COMPARED

EVERYTHING: dict[str, Any] = {
    **CLUSTERS["disconnected"], "jobs": {},
    "mirrors": {"images": "registry.corp.example/mirror"},
    "hub": {"endpoint": "https://hub.corp.example", "secret": "hub", "secret_key": "hf"},
    "labels": {"team": "safety", "app.kubernetes.io/component": "ours"}, "annotations": {"note": "x y"},
    "secrets": [{"name": "s3", "keys": {"accesskey": "ALSO_THE_ID"}}],
    "stages": {
        "default": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        "train": {
            "gpu": {"count": 4}, "shared_memory": "8Gi", "node_selector": {"gpu": "h100"},
            "tolerations": [
                {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "seconds": 60}
            ],
            "affinity": [
                {"expressions": [{"key": "zone", "values": ["a", "b"]}]},
                {"expressions": [{"key": "fast", "operator": "Exists"}], "weight": 10},
            ],
            "priority_class": "high", "runtime_class": "nvidia", "retries": {"count": 2},
            "deadline": "3h",
        },
    },
}


class Compiled:
    """The two documents, and for each stage what its tasks, containers and pods are told."""

    def __init__(self, path: Path) -> None:
        self.spec, self.platform = yaml.safe_load_all(path.read_text())
        self.pods = self.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.stages: dict[str, list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]] = {}
        for group in (self.spec["root"], *self.spec["components"].values()):
            for task in group.get("dag", {}).get("tasks", {}).values():
                label = self.spec["components"][task["componentRef"]["name"]].get("executorLabel")
                if label:
                    container = self.spec["deploymentSpec"]["executors"][label]["container"]
                    found = self.stages.setdefault(container["command"][1], [])
                    found.append((task, container, self.pods.get(label, {})))


@pytest.fixture(scope="module", params=PIPELINES)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    cluster = ClusterSettings.model_validate(EVERYTHING)
    return Compiled(compile_pipeline(request.param, document(request.param), [], path, cluster=cluster))


def document(pipeline: str) -> str:
    return COMPARED if pipeline == COMPARE else "name: x\n"


def test_every_task_of_a_stage_has_the_same_settings(compiled: Compiled) -> None:
    # KFP renames executors when it merges sub-pipelines; a task must not get those of another stage
    for stage, found in compiled.stages.items():
        for _, _, pod in found:
            assert pod["podMetadata"]["labels"]["app.kubernetes.io/component"] == stage
            assert pod == found[0][2]
        for _, container, _ in found:
            assert container.get("resources") == found[0][1].get("resources")
            assert container["env"] == found[0][1]["env"]


def test_images_come_from_the_mirror(compiled: Compiled) -> None:
    cluster = ClusterSettings.model_validate(EVERYTHING)
    held = {stage: container["image"] for stage, found in compiled.stages.items() for _, container, _ in found}
    assert all(image.startswith("registry.corp.example/mirror/example/thinksafe-") for image in held.values())
    assert "thinksafe-sampler" in held["sample"]
    assert "thinksafe-sampler" in held.get("judge", held["sample"])
    assert "thinksafe-cpu" in held["report"]
    by_kind = Images(*(cluster.image(stage) for stage in ("plan", "sample", "train")))
    assert held == {stage: by_kind.image(stage) for stage in held}
    assert "train" not in held or "thinksafe-trainer" in held["train"]


def test_only_stages_that_need_them_get_credentials(compiled: Compiled) -> None:
    for stage, found in compiled.stages.items():
        variables = {entry["envVar"] for secret in found[0][2]["secretAsEnv"] for entry in secret["keyToEnv"]}
        plain = {entry["name"] for entry in found[0][1]["env"]}
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "ALSO_THE_ID"} <= variables
        assert ("MLFLOW_TRACKING_PASSWORD" in variables) == ("MLFLOW_TRACKING_URI" in plain) == (
            STAGES[stage].mlflow
        )
        assert ("HF_TOKEN" in variables) == ("HF_ENDPOINT" in plain) == STAGES[stage].reads_models
        assert ("genericEphemeralVolume" in found[0][2]) == STAGES[stage].reads_models
        assert {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_CA_BUNDLE"} <= plain


def test_only_stages_that_sign_mount_the_private_key(compiled: Compiled, tmp_path: Path) -> None:
    for found in compiled.stages.values():
        assert not [pod for _, _, pod in found if pod.get("secretAsVolume")]
    cluster = ClusterSettings.model_validate(EVERYTHING).with_signing("signing")
    path = compile_pipeline("realign", document("realign"), [], tmp_path / "signed.yaml", cluster=cluster)
    text = path.read_text()
    assert text.count("THINKSAFE_SIGNING") == 2
    stages = Compiled(path).stages
    mounted = {stage for stage, found in stages.items() if any(pod.get("secretAsVolume") for _, _, pod in found)}
    assert mounted == {"register", "promote"}
    (volume,) = stages["promote"][0][2]["secretAsVolume"]
    assert volume["mountPath"] == "/etc/thinksafe/signing"
    assert volume["secretName"] == "signing"
    assert not volume.get("optional")
    variables = [of for found in stages.values() for of in found[0][2]["secretAsEnv"] if of["secretName"] == "signing"]
    assert variables == []


def test_only_the_exit_task_starts_without_secrets_and_has_a_deadline_of_its_own(compiled: Compiled) -> None:
    for stage, found in compiled.stages.items():
        _, _, pod = found[0]
        exits = STAGES[stage].runs_after_failure
        assert {bool(secret.get("optional")) for secret in pod["secretAsEnv"]} == {exits}
        assert {bool(volume.get("optional")) for volume in pod["configMapAsVolume"]} == {exits}
        assert pod.get("activeDeadlineSeconds") == ("5400" if exits else "10800" if stage == "train" else None)


def test_retries_and_caching(compiled: Compiled) -> None:
    for stage, found in compiled.stages.items():
        for task, container, pod in found:
            told = {entry["name"]: entry["value"] for entry in container["env"]}
            fields = {entry["name"]: entry["fieldPath"] for entry in pod.get("fieldPathAsEnv", ())}
            assert ("retryPolicy" in task) == STAGES[stage].retried
            if STAGES[stage].retried:
                assert told[RETRIES_VARIABLE] == ("2,604800,30" if stage == "train" else "3,604800,30")
                assert fields[NODE_VARIABLE] == "metadata.annotations['workflows.argoproj.io/node-name']"
            else:
                assert RETRIES_VARIABLE not in told
                assert NODE_VARIABLE not in fields
            assert bool(task.get("cachingOptions", {}).get("enableCache")) == STAGES[stage].cached
    if "train" in compiled.stages:
        assert compiled.stages["train"][0][0]["retryPolicy"] == {
            "maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "604800s"
        }


def test_the_trainer_gets_all_that_the_config_says(compiled: Compiled) -> None:
    if "train" not in compiled.stages:
        pytest.skip("an evaluation trains nothing")
    (_, container, pod), *others = compiled.stages["train"]
    assert all((of["resources"], placed) == (container["resources"], pod) for _, of, placed in others)
    resources = container["resources"]
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "4"
    amounts = ("resourceCpuRequest", "resourceMemoryRequest", "resourceCpuLimit", "resourceMemoryLimit")
    assert [resources[name] for name in amounts] == ["1", "2Gi", "2", "4Gi"]
    assert pod["emptyDirMounts"] == [
        {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "8Gi"}
    ]
    assert pod["nodeSelector"]["labels"] == {"gpu": "h100"}
    (toleration,) = pod["tolerations"]
    assert toleration == {
        "key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": "60"
    }
    assert [term.get("weight") for term in pod["nodeAffinity"]] == [None, 10]
    assert pod["nodeAffinity"][0]["matchExpressions"] == [{"key": "zone", "operator": "In", "values": ["a", "b"]}]
    assert pod["activeDeadlineSeconds"] == "10800"
    labels = pod["podMetadata"]["labels"]
    assert (labels["team"], labels["thinksafe/priority-class"], labels["thinksafe/runtime-class"]) == (
        "safety", "high", "nvidia"
    )
    assert pod["podMetadata"]["annotations"] == {"note": "x y"}
    assert pod["securityContext"] == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
    assert pod["imagePullPolicy"] == "Always"
    assert pod["imagePullSecret"][0]["secretName"] == "registry-corp"


def test_a_train_stage_that_starts_a_job_is_small_and_waits_longer_than_the_job(tmp_path: Path) -> None:
    section = {**EVERYTHING, "train_job": {"enabled": True, "deadline": "2h"}}
    cluster = ClusterSettings.model_validate(section)
    path = compile_pipeline("realign", "name: x\n", [], tmp_path / "pipeline.yaml", cluster=cluster)
    found = Compiled(path).stages
    (task, container, pod), = found["train"]
    assert "accelerator" not in container["resources"]
    assert container["resources"]["resourceMemoryLimit"] == "4Gi"  # of default
    assert not {"nodeSelector", "tolerations", "nodeAffinity", "emptyDirMounts", "genericEphemeralVolume"} & pod.keys()
    assert pod["activeDeadlineSeconds"] == str(7200 + 1800)
    assert task["retryPolicy"]["maxRetryCount"] == 2
    assert "thinksafe-cpu" in container["image"]  # the Job's pods have the trainer's
    assert {entry["name"]: entry["fieldPath"] for entry in pod["fieldPathAsEnv"]} == {
        "THINKSAFE_POD_NAME": "metadata.name", "THINKSAFE_POD_UID": "metadata.uid",
    }
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert "HF_HOME" not in variables  # there is no model cache
    told = variables[JOBS_VARIABLE]
    assert ClusterSettings.model_validate_json(told).stage("train") == cluster.stage("train")
    assert RETRIES_VARIABLE not in variables
    for stage, tasks in found.items():
        assert stage == "train" or JOBS_VARIABLE not in {entry["name"] for entry in tasks[0][1]["env"]}


WIDE = ("grade", "judge_evaluate", "sample_evaluation")


def test_a_wide_task_is_small_and_starts_a_job_and_the_others_work_themselves(tmp_path: Path) -> None:
    cluster = ClusterSettings.model_validate(EVERYTHING).with_wide(WIDE)
    path = compile_pipeline("realign", "name: x\n", [], tmp_path / "pipeline.yaml", cluster=cluster)
    found = Compiled(path).stages
    starts = {
        stage: [JOBS_VARIABLE in {entry["name"] for entry in container["env"]} for _, container, _ in tasks]
        for stage, tasks in found.items()
    }
    # of sample: pilot, training, three models, rollout; of judge the same without rollout
    assert (sum(starts.pop("sample")), sum(starts.pop("judge")), starts.pop("grade")) == (3, 3, [True] * 3)
    assert not any(any(some) for some in starts.values())
    for stage, kind in (("sample", "sampler"), ("judge", "sampler"), ("grade", "cpu")):
        for _, container, pod in found[stage]:
            variables = {entry["name"]: entry["value"] for entry in container["env"]}
            wide = JOBS_VARIABLE in variables
            assert f"thinksafe-{'cpu' if wide else kind}" in container["image"]
            assert (RETRIES_VARIABLE in variables) != wide, "the Job tries again itself"
            fields = {entry["name"] for entry in pod.get("fieldPathAsEnv", ())}
            assert ({"THINKSAFE_POD_NAME", "THINKSAFE_POD_UID"} <= fields) == wide
            if wide:
                assert "genericEphemeralVolume" not in pod
                told = ClusterSettings.model_validate_json(variables[JOBS_VARIABLE])
                assert told.stage(stage) == cluster.stage(stage)


def test_only_plans_know_the_digest_of_the_cluster(compiled: Compiled) -> None:
    digest = ClusterSettings.model_validate(EVERYTHING).digest
    for stage, found in compiled.stages.items():
        values = [entry["value"] for entry in found[0][1]["env"] if entry["name"] == "THINKSAFE_CLUSTER_DIGEST"]
        assert values == ([digest] if STAGES[stage].plans else [])


def test_the_store_is_the_default_of_the_parameter(compiled: Compiled) -> None:
    parameters = compiled.spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["artifacts"]["defaultValue"] == "s3://thinksafe/prod"
    name = compiled.spec["pipelineInfo"]["name"]
    if name != "promote-approved":  # it takes the configuration of the run that waited
        assert parameters["config"]["defaultValue"] == document(name)


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_example_clusters_are_valid(name: str) -> None:
    ClusterSettings.model_validate(CLUSTERS[name])


def test_the_model_cache_by_claim(tmp_path: Path) -> None:
    cluster = ClusterSettings.model_validate(CLUSTERS["plain"])
    found = Compiled(compile_pipeline("realign", None, [], tmp_path / "p.yaml", cluster=cluster))
    (mount,) = found.stages["sample"][0][2]["pvcMount"]
    assert (mount["constant"], mount["mountPath"]) == ("model-cache", "/cache")
    assert "pvcMount" not in found.stages["gate"][0][2]


def test_a_gpu_recipe_is_compiled_with_its_gpus(tmp_path: Path) -> None:
    cluster = {name: value for name, value in CLUSTERS["plain"].items() if name != "stages"}
    config = load_config(yaml.safe_dump({"extends": "qwen3-32b", "cluster": cluster}))
    compiled = Compiled(compile_pipeline("realign", None, [], tmp_path / "p.yaml", cluster=config.cluster))
    asked = {
        stage: {container["resources"].get("accelerator", {}).get("resourceCount") for _, container, _ in found
                if "resources" in container}
        for stage, found in compiled.stages.items()
    }
    assert {stage: counts for stage, counts in asked.items() if counts} == {
        "sample": {"4"}, "judge": {"1"}, "train": {"4"},
    }
