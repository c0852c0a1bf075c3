"""What the pods of a stage get on a cluster: plain environment variables, and variables from Secrets.

Pure functions of the ``cluster`` section; the pipelines compile them in, the doctor checks that the Secrets exist.
"""

from __future__ import annotations

from typing import NamedTuple

from thinksafe.config.cluster import MODEL_CACHE, ClusterSettings
from thinksafe.config.cluster_services import S3Settings
from thinksafe.config.cluster_stages import StageSettings, TolerationSettings
from thinksafe.config.stage_table import spec_of
from thinksafe.digests import canonical_json

DIGEST_VARIABLE = "THINKSAFE_CLUSTER_DIGEST"
"""Digest of the ``cluster`` section that a pipeline was compiled with; ``plan`` refuses a config with another one."""
JOBS_VARIABLE = "THINKSAFE_JOBS"
"""The ``cluster`` section as JSON, for the pod of a task that starts a Job instead of doing the work itself."""
POD_NAME_VARIABLE, POD_UID_VARIABLE = "THINKSAFE_POD_NAME", "THINKSAFE_POD_UID"
"""Name and uid of that pod, which owns the Job."""
HUB_MIRROR_VARIABLE = "THINKSAFE_HUB_MIRROR"
"""Address of the hub's copy in S3 (:mod:`thinksafe.models.hub`)."""

NAME_LABELS = {"app.kubernetes.io/name": "thinksafe"}
"""Labels of all pods of runs."""
STAGE_LABEL = "app.kubernetes.io/component"
"""Label with a pod's stage."""

SIGNING = "/etc/thinksafe/signing"
"""Folder in the pods that sign, where the Secret with the private key is mounted."""
SIGNING_VARIABLE = "THINKSAFE_SIGNING"
"""That folder."""
SIGNING_FILES = ("private-key.pem", "certificate.pem", "token")
"""Keys of that Secret: for the kinds key and certificate, for certificate, and for keyless."""

CERTIFICATES = "/etc/thinksafe/certificates"
"""Folder in pods with the certificates of the cluster's own authority."""


class SecretVariable(NamedTuple):
    """An environment variable from a Secret."""

    secret: str
    key: str
    variable: str


def environment(cluster: ClusterSettings, stage: str, *, starts_job: bool = False) -> dict[str, str]:
    """Return the plain environment variables of a stage's pods.

    Args:
        cluster: The settings.
        stage: Name of the stage.
        starts_job: The pod only starts the Job whose pods do the stage's work.
    """
    found = {"AWS_REGION": cluster.s3.region, "AWS_ENDPOINT_URL": cluster.s3.endpoint}
    if cluster.certificates.config_map:
        path = f"{CERTIFICATES}/{cluster.certificates.key}"
        found |= {"AWS_CA_BUNDLE": path, "REQUESTS_CA_BUNDLE": path, "SSL_CERT_FILE": path}
    if spec_of(stage).mlflow:
        found["MLFLOW_TRACKING_URI"] = cluster.mlflow.uri
    if signing_secret(cluster, stage):
        found[SIGNING_VARIABLE] = SIGNING
    if spec_of(stage).plans:
        found[DIGEST_VARIABLE] = cluster.digest
    if spec_of(stage).reads_models:
        found |= {"HF_ENDPOINT": cluster.hub.endpoint, HUB_MIRROR_VARIABLE: cluster.mirrors.hub}
        found["HF_HUB_OFFLINE"] = "1" if cluster.mirrors.hub else ""
        if cluster.model_cache.kind != "none" and not starts_job:
            found |= {"HF_HOME": f"{MODEL_CACHE}/huggingface", "THINKSAFE_CACHE": f"{MODEL_CACHE}/thinksafe"}
    if starts_job:
        text = cluster.model_dump(mode="json", exclude={"kfp", "schedule"}, exclude_defaults=True)
        found[JOBS_VARIABLE] = canonical_json(text)
    return {name: value for name, value in found.items() if value}


def signing_secret(cluster: ClusterSettings, stage: str) -> str:
    """Return the Secret with the private key that a stage's pods mount at SIGNING; empty for none."""
    return cluster.signing if spec_of(stage).signs else ""


def pod_labels(cluster: ClusterSettings, settings: StageSettings, stage: str) -> dict[str, str]:
    """Return the labels of a stage's pods. Ours override ``cluster.labels``: network policies select by them."""
    own = {
        **NAME_LABELS, STAGE_LABEL: stage,
        "thinksafe/priority-class": settings.priority_class, "thinksafe/runtime-class": settings.runtime_class,
    }
    return {key: value for key, value in {**cluster.labels, **own}.items() if value}


def toleration(taint: TolerationSettings) -> dict[str, str | int]:
    """Return a toleration in the form of Kubernetes."""
    found = {
        "key": taint.key, "operator": taint.operator, "value": taint.value, "effect": taint.effect,
        "tolerationSeconds": taint.seconds,
    }
    return {name: value for name, value in found.items() if value not in ("", None)}


def s3_variables(s3: S3Settings) -> list[SecretVariable]:
    """Return the credentials of the object store that a pod gets from a Secret."""
    secret = s3.secret
    found = [
        SecretVariable(secret.name, secret.access_key_id, "AWS_ACCESS_KEY_ID"),
        SecretVariable(secret.name, secret.secret_access_key, "AWS_SECRET_ACCESS_KEY"),
        SecretVariable(secret.name, secret.session_token, "AWS_SESSION_TOKEN"),
    ]
    return [variable for variable in found if variable.secret and variable.key]


def secret_variables(cluster: ClusterSettings, stage: str) -> list[SecretVariable]:
    """Return the variables that a stage's pods get from Secrets."""
    mlflow, hub = cluster.mlflow.secret, cluster.hub
    found = s3_variables(cluster.s3)
    if spec_of(stage).mlflow:
        found += [
            SecretVariable(mlflow.name, mlflow.token, "MLFLOW_TRACKING_TOKEN"),
            SecretVariable(mlflow.name, mlflow.username, "MLFLOW_TRACKING_USERNAME"),
            SecretVariable(mlflow.name, mlflow.password, "MLFLOW_TRACKING_PASSWORD"),
        ]
    if spec_of(stage).reads_models:
        found.append(SecretVariable(hub.secret, hub.secret_key, "HF_TOKEN"))
    found += [
        SecretVariable(source.name, key, name) for source in cluster.secrets for key, name in source.keys.items()
    ]
    return [variable for variable in found if variable.secret and variable.key]
