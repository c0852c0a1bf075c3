"""Configuration of the services that a cluster's pods use: Kubeflow Pipelines, S3, MLflow, the hub, and mirrors.

Secrets and their keys are named; a configuration never contains the value of a secret.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from thinksafe.config.kubernetes import DataKey, DnsLabel, OptionalKey, OptionalName
from thinksafe.config.placeholders import without_placeholders
from thinksafe.credentials import holds_secret
from thinksafe.settings import Section


def _address(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        raise ValueError("an address starts with http:// or https:// and has no query and no fragment")
    if holds_secret(value):
        raise ValueError("contains a password, which a config must not; name a secret instead")
    try:
        given = urlsplit(value)
        named = not value or (bool(given.hostname) and given.port != 0)
    except ValueError:
        named = False
    if not named:
        raise ValueError("an address needs a host, and a port is from 1 to 65535")
    return without_placeholders(value.rstrip("/"))


def _s3(value: str) -> str:
    if value and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#]*)?", value):
        raise ValueError("write s3://bucket or s3://bucket/prefix")
    return without_placeholders(value.rstrip("/"))


Address = Annotated[str, AfterValidator(_address)]
S3Address = Annotated[str, AfterValidator(_s3)]
SentText = Annotated[str, AfterValidator(without_placeholders)]
"""Text that is compiled in unchanged."""


def _refuse_without(section: Section, name: str, *keys: str) -> None:
    """Raise ValueError if keys of an object are given without its name: they would have no effect."""
    if getattr(section, name):
        return
    for key in keys:
        if getattr(section, key) != type(section).model_fields[key].default:
            raise ValueError(f"{key} has no effect without {name}; give both")


REACH = ("host", "access", "token_file", "ca_file")
"""Keys of ``cluster.kfp`` that say how its API is reached from one place; they are not part of a pipeline's version."""


class KfpSettings(Section):
    """Kubeflow Pipelines: where its API is, and the names to use there."""

    host: Address = ""
    """Address of the API; empty uses the service ``ml-pipeline`` in ``namespace``."""
    namespace: DnsLabel = "kubeflow"
    """Namespace in which Kubeflow Pipelines itself is installed."""
    multi_user: bool = False
    """On: pipelines, experiments and runs belong to ``cluster.namespace``."""
    access: Literal["in-cluster", "token", "port-forward"] = "in-cluster"
    """``in-cluster``: from a pod, with its service account's token if one is mounted. ``token``: a bearer token.
    ``port-forward``: from a workstation, through the Kubernetes API."""
    token_file: str = ""
    """File with the token for ``access: token``; if empty, the environment variable ``KFP_TOKEN`` holds the token."""
    ca_file: str = ""
    """Certificates of the API's authority, if the system does not trust it."""
    experiment: Annotated[str, Field(min_length=1, max_length=128)] = "thinksafe"
    """Experiment of the runs; created if missing."""
    pipeline: Annotated[DnsLabel, Field(max_length=54)] = "thinksafe-realign"
    """Name of the published pipeline and of its recurring run. Those of evaluation, comparison and promotion follow
    from it: ``thinksafe-evaluate``, ``thinksafe-compare``, ``thinksafe-promote``."""

    @model_validator(mode="after")
    def _token_used(self) -> KfpSettings:
        if self.token_file and self.access != "token":
            raise ValueError(f"token_file is read only with access: token, but access is {self.access}")
        return self

    @property
    def evaluation_pipeline(self) -> str:
        """Name of the evaluation pipeline and of its recurring run."""
        return f"{self.pipeline.removesuffix('-realign')}-evaluate"

    @property
    def comparison_pipeline(self) -> str:
        """Name of the comparison pipeline and of its recurring run."""
        return f"{self.pipeline.removesuffix('-realign')}-compare"

    @property
    def promotion_pipeline(self) -> str:
        """Name of the pipeline that promotes what people approved."""
        return f"{self.pipeline.removesuffix('-realign')}-promote"


class PlaceSettings(Section):
    """The settings of ``cluster`` that are needed to reach Kubeflow Pipelines and find a pipeline by its name."""

    namespace: DnsLabel = "thinksafe"
    """Where the pods of runs live."""
    kfp: KfpSettings = KfpSettings()


class S3SecretSettings(Section):
    """Secret with the credentials of the object store."""

    name: OptionalName = ""
    """Secret; empty if the service account is a workload identity."""
    access_key_id: DataKey = "AWS_ACCESS_KEY_ID"
    """Its key with the access key id."""
    secret_access_key: DataKey = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a name
    """Its key with the secret access key."""
    session_token: OptionalKey = ""
    """Its key with a session token, if there is one."""

    @model_validator(mode="after")
    def _named(self) -> S3SecretSettings:
        _refuse_without(self, "name", "access_key_id", "secret_access_key", "session_token")
        return self


class S3Settings(Section):
    """The object store behind ``store``."""

    endpoint: Address = ""
    """Address of the S3 API; empty for AWS."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    """Region."""
    secret: S3SecretSettings = S3SecretSettings()


class MlflowSecretSettings(Section):
    """Secret with the credentials of MLflow: a token, or user name and password."""

    name: OptionalName = ""
    """Secret; empty if the server needs no credentials."""
    token: OptionalKey = ""
    """Its key with a bearer token."""
    username: OptionalKey = ""
    """Its key with a user name."""
    password: OptionalKey = ""
    """Its key with a password."""

    @model_validator(mode="after")
    def _one_way(self) -> MlflowSecretSettings:
        if bool(self.username) != bool(self.password):
            raise ValueError("username and password go together")
        if self.name and bool(self.token) == bool(self.username):
            raise ValueError("give either token, or username and password: the secret's keys for them")
        if not self.name and (self.token or self.username):
            raise ValueError("keys without the secret's name")
        return self


class MlflowSettings(Section):
    """The MLflow server."""

    uri: Annotated[Address, Field(min_length=1)]
    """Its address as seen from pods."""
    secret: MlflowSecretSettings = MlflowSecretSettings()


class HubSettings(Section):
    """The Hugging Face hub, or a server that speaks its API."""

    endpoint: Address = ""
    """Address of a private hub (``HF_ENDPOINT``); empty for the public one."""
    secret: OptionalName = ""
    """Secret with the token for gated models and sets; empty for none."""
    secret_key: DataKey = "token"  # noqa: S105 - a name
    """Its key with the token."""

    @model_validator(mode="after")
    def _named(self) -> HubSettings:
        _refuse_without(self, "secret", "secret_key")
        return self


class CertificateSettings(Section):
    """Certificates of a private authority, mounted into all pods."""

    config_map: OptionalName = ""
    """ConfigMap with the bundle, including the system's authorities; empty for none."""
    key: DataKey = "ca.crt"
    """Its key with the certificates in PEM."""

    @model_validator(mode="after")
    def _named(self) -> CertificateSettings:
        _refuse_without(self, "config_map", "key")
        return self


class MirrorSettings(Section):
    """Where an air-gapped cluster finds what others fetch from the internet."""

    images: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*)?$")] = ""
    """Registry, with an optional path, that replaces the registry of every image."""
    hub: S3Address = ""
    """Copy of the hub: ``<hub>/<id>/<commit>/`` for models, ``<hub>/datasets/<id>/<commit>/`` for data sets. Pods then
    never contact the hub."""
