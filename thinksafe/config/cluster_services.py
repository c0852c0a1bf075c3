"""Configuration of what a cluster's pods talk to: Kubeflow Pipelines, S3, MLflow, the hub, and mirrors of them.

Secrets are named, with their keys; no value of one is ever part of a configuration.
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
        raise ValueError("an address begins with http:// or https:// and has neither query nor fragment")
    if holds_secret(value):
        raise ValueError("holds a password; a config holds none, name a secret")
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
"""Text that is compiled in as it is."""


def _refuse_without(section: Section, name: str, *keys: str) -> None:
    """Raise ValueError where keys of an object are given, and its name is not: they would do nothing."""
    if getattr(section, name):
        return
    for key in keys:
        if getattr(section, key) != type(section).model_fields[key].default:
            raise ValueError(f"{key} is given without {name}, and would do nothing; give both")


REACH = ("host", "access", "token_file", "ca_file")
"""Keys of ``cluster.kfp`` that say how its API is reached from one place; they are no part of a pipeline's version."""


class KfpSettings(Section):
    """Kubeflow Pipelines: where its API is, and the names that are used there."""

    host: Address = ""
    """Address of the API; empty takes the service ``ml-pipeline`` in ``namespace``."""
    namespace: DnsLabel = "kubeflow"
    """Where Kubeflow Pipelines itself is installed."""
    multi_user: bool = False
    """On: pipelines, experiments and runs belong to ``cluster.namespace``."""
    access: Literal["in-cluster", "token", "port-forward"] = "in-cluster"
    """``in-cluster``: from a pod, with its service account's token where one is mounted. ``token``: a bearer token.
    ``port-forward``: from a workstation, through the Kubernetes API."""
    token_file: str = ""
    """File that holds the token of ``access: token``; without one the environment variable ``KFP_TOKEN`` does."""
    ca_file: str = ""
    """Certificates of the API's authority, where the system does not know it."""
    experiment: Annotated[str, Field(min_length=1, max_length=128)] = "thinksafe"
    """Experiment of the runs; made when missing."""
    pipeline: Annotated[DnsLabel, Field(max_length=54)] = "thinksafe-realign"
    """Name under which the pipeline is published, and of its recurring run. That of the evaluation follows from it:
    ``thinksafe-evaluate``."""

    @model_validator(mode="after")
    def _token_used(self) -> KfpSettings:
        if self.token_file and self.access != "token":
            raise ValueError(f"token_file is read with access: token only, and access is {self.access}")
        return self

    @property
    def evaluation_pipeline(self) -> str:
        """Name of the evaluation pipeline and of its recurring run."""
        return f"{self.pipeline.removesuffix('-realign')}-evaluate"


class S3SecretSettings(Section):
    """Secret with the credentials of the object store."""

    name: OptionalName = ""
    """Secret; empty where the service account is a workload identity."""
    access_key_id: DataKey = "AWS_ACCESS_KEY_ID"
    """Its key with the access key's id."""
    secret_access_key: DataKey = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a name
    """Its key with the secret access key."""
    session_token: OptionalKey = ""
    """Its key with a session token, where there is one."""

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
    """Secret; empty where the server asks for nothing."""
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
            raise ValueError("give either token, or username and password: the secret's keys that hold them")
        if not self.name and (self.token or self.username):
            raise ValueError("keys without the secret's name")
        return self


class MlflowSettings(Section):
    """The MLflow server."""

    uri: Annotated[Address, Field(min_length=1)]
    """Its address as pods see it."""
    secret: MlflowSecretSettings = MlflowSecretSettings()


class HubSettings(Section):
    """The Hugging Face hub, or a server that speaks its API."""

    endpoint: Address = ""
    """Address of a hub of your own (``HF_ENDPOINT``); empty for the public one."""
    secret: OptionalName = ""
    """Secret with the token for gated models and sets; empty for none."""
    secret_key: DataKey = "token"  # noqa: S105 - a name
    """Its key with the token."""

    @model_validator(mode="after")
    def _named(self) -> HubSettings:
        _refuse_without(self, "secret", "secret_key")
        return self


class CertificateSettings(Section):
    """Certificates of an authority of your own, mounted into all pods."""

    config_map: OptionalName = ""
    """ConfigMap that holds the bundle, the system's authorities included; empty for none."""
    key: DataKey = "ca.crt"
    """Its key with the certificates in PEM."""

    @model_validator(mode="after")
    def _named(self) -> CertificateSettings:
        _refuse_without(self, "config_map", "key")
        return self


class MirrorSettings(Section):
    """Where a disconnected cluster finds what others fetch from the internet."""

    images: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*)?$")] = ""
    """Registry, with a path if need be, that stands in the place of the registry of every image."""
    hub: S3Address = ""
    """Copy of the hub: ``<hub>/<id>/<commit>/`` for models, ``<hub>/datasets/<id>/<commit>/`` for data sets. Pods then
    never ask the hub."""
