"""The TrainJob: what of the cluster section stands where in it, and whether Trainer's own models know every field."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_configs import cluster_document
from kube_api import KubeApi
from trainer_controller import Controller

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.pods import JOBS_VARIABLE, POD_NAME_VARIABLE, POD_UID_VARIABLE, environment
from thinksafe.config.shape import Shape
from thinksafe.kube.jobs import job_settings
from thinksafe.training.trainjob.manifest import train_job

KEY = "0123456789abcdef" * 4
ADDRESS = f"s3://models/thinksafe/train-jobs/{KEY}/job.json"
ON = {"enabled": True}


def settings(name: str = "plain", **changed: Any) -> ClusterSettings:
    section = yaml.safe_load(cluster_document(name, **{"train_job": ON, **changed}))["cluster"]
    return ClusterSettings.model_validate(section)


def manifest(name: str = "plain", **changed: Any) -> dict[str, Any]:
    return train_job(settings(name, **changed), KEY, ADDRESS, Shape(4, 8, 1, 1))


def pod(found: dict[str, Any]) -> dict[str, Any]:
    (patch,) = found["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert job["name"] == "node"
    template: dict[str, Any] = job["template"]["spec"]["template"]
    return template


def test_what_the_train_stage_has_becomes_the_trainer_and_a_patch_of_the_runtime() -> None:
    found = manifest()
    assert found["metadata"]["annotations"] == {"thinksafe/adapter": KEY}
    assert len(found["metadata"]["name"] + "-node-0-9999") <= 63
    assert found["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime", "name": "torch-distributed",
    }
    trainer = found["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"], trainer["args"]) == (4, 8, [ADDRESS])
    assert trainer["image"] == settings().image("train")
    assert trainer["resourcesPerNode"] == {
        "requests": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "96Gi", "nvidia.com/gpu": "1"},
    }
    secrets = {one["name"]: one["valueFrom"]["secretKeyRef"]["name"] for one in trainer["env"] if "valueFrom" in one}
    assert secrets["AWS_SECRET_ACCESS_KEY"] == "s3-credentials"
    assert not {one["name"] for one in trainer["env"]} & {JOBS_VARIABLE, "MLFLOW_TRACKING_URI"}
    assert not any(one["name"].startswith("PET_") for one in trainer["env"])  # Trainer refuses these

    spec = pod(found)["spec"]
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["serviceAccountName"] == "thinksafe-pipeline"
    (node,) = spec["containers"]
    assert {mount["mountPath"] for mount in node["volumeMounts"]} == {"/tmp", "/dev/shm", "/cache"}
    assert "env" not in node  # Trainer refuses it in a patch of this container
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert node["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
    }


def test_a_queue_a_runtime_and_an_account_of_its_own() -> None:
    found = manifest(
        "multi-user",
        train_job={
            **ON, "runtime": {"name": "mine", "kind": "TrainingRuntime"}, "deadline": "2h",
        },
        jobs={"queue": "gpus", "service_account": "trains"},
    )
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert found["metadata"]["labels"]["cost-center"] == "4711"
    assert found["metadata"]["namespace"] == "team-safety"
    assert found["spec"]["runtimeRef"]["kind"] == "TrainingRuntime"
    assert found["spec"]["activeDeadlineSeconds"] == 7200
    spec = pod(found)["spec"]
    assert spec["serviceAccountName"] == "trains"
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert required == [{"matchExpressions": [{"key": "gpu-memory-gb", "operator": "Gt", "values": ["79"]}]}]
    assert pod(found)["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}


@pytest.mark.parametrize("name", ["plain", "disconnected", "multi-user"])
def test_trainers_own_models_know_every_field(name: str) -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models")
    found = manifest(name)
    # what a model does not know it drops
    assert models.TrainerV1alpha1TrainJob.from_dict(found).to_dict() == found


def test_the_stage_is_told_in_one_variable_which_holds_no_more_than_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert JOBS_VARIABLE not in environment(settings(), "train")
    text = environment(settings(), "train", starts_job=True)[JOBS_VARIABLE]
    assert "{{" not in text  # Argo and KFP would read a placeholder
    assert not {"kfp", "schedule"} & json.loads(text).keys()
    monkeypatch.setenv(JOBS_VARIABLE, text)
    told = job_settings()
    assert told is not None
    assert train_job(told, KEY, ADDRESS, Shape(4, 8, 1, 1)) == manifest()
    monkeypatch.setenv(JOBS_VARIABLE, "")
    assert job_settings() is None


def test_the_job_belongs_to_the_pod_of_the_task_that_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ownerReferences" not in manifest()["metadata"]
    monkeypatch.setenv(POD_NAME_VARIABLE, "realign-train-1")
    assert "ownerReferences" not in manifest()["metadata"]
    monkeypatch.setenv(POD_UID_VARIABLE, "f00d")
    assert manifest()["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "realign-train-1", "uid": "f00d"}
    ]


def test_a_stage_that_starts_a_job_needs_no_library_that_trains() -> None:
    """Its image is ``cpu``."""
    code = (
        "import sys, thinksafe.stages.train, thinksafe.training.trainjob.launcher\n"
        "print({'torch', 'transformers', 'accelerate', 'peft', 'trl'} & sys.modules.keys())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"


def test_a_config_whose_nodes_fit_is_loaded() -> None:
    text = cluster_document("multi-user", train_job=ON)
    loaded = load_config(text, ["training.nodes=2", "training.processes=8", "training.batch_size=16"])
    assert loaded.training.nodes == 2


@pytest.mark.parametrize("name", ["plain", "disconnected", "multi-user"])
def test_trainers_webhook_as_it_is_imitated_lets_the_job_in(name: str, tmp_path: Path) -> None:
    api = KubeApi()
    Controller(api, tmp_path)
    found = manifest(name)
    assert api.admit(found) is None
    found["spec"]["runtimePatches"][0]["manager"] = "thinksafe"
    refusal = api.admit(found)
    assert refusal is not None
    assert "domain-prefixed" in refusal[1]
