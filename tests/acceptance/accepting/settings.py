"""The variables that describe the cluster to the suite; README.md lists them."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

LABEL = "thinksafe-accept"
"""Label of all objects that the suite makes, with the id of the session."""


class NotPossibleError(Exception):
    """What a case needs is not on this cluster."""


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    namespace: str
    cpu: str
    trainer: str
    sampler: str
    bucket: str
    s3: str = ""
    """Address of the S3 server as pods see it; empty for AWS."""
    s3_outside: str = ""
    """The same as this machine sees it."""
    kfp: str = ""
    """Address of Kubeflow's API as this machine sees it; empty: through the proxy of the Kubernetes API."""
    multi_user: bool = False
    mlflow: str = ""
    """Address of MLflow as pods see it; empty: the bundled one."""
    pipeline_root: str = ""
    width: int = 32
    patience: float = 1.0
    """Factor of all time limits."""
    values: dict[str, Any] = field(default_factory=dict)
    """Further values of the chart."""
    config: dict[str, Any] = field(default_factory=dict)
    """Laid over the recipe ``micro``."""
    session: str = field(default_factory=lambda: secrets.token_hex(3))
    """Id of this session; part of all names."""


def read() -> Settings:
    """Return the settings; raises NotPossibleError where one that is needed is missing."""
    given = os.environ.get
    needed = ("KUBECONFIG", "ACCEPT_NAMESPACE", "ACCEPT_IMAGE_CPU", "ACCEPT_IMAGE_TRAINER", "ACCEPT_BUCKET")
    missing = [name for name in (*needed, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not given(name)]
    if missing:
        raise NotPossibleError(f"no cluster: {', '.join(missing)} not set (tests/acceptance/README.md)")
    s3 = given("ACCEPT_S3_ENDPOINT", "")
    return Settings(
        namespace=given("ACCEPT_NAMESPACE", ""), cpu=given("ACCEPT_IMAGE_CPU", ""),
        trainer=given("ACCEPT_IMAGE_TRAINER", ""),
        sampler=given("ACCEPT_IMAGE_SAMPLER") or given("ACCEPT_IMAGE_TRAINER", ""), bucket=given("ACCEPT_BUCKET", ""),
        s3=s3, s3_outside=given("ACCEPT_S3_OUTSIDE") or s3, kfp=given("ACCEPT_KFP_HOST", ""),
        multi_user=bool(given("ACCEPT_MULTI_USER")), mlflow=given("ACCEPT_MLFLOW_URI", ""),
        pipeline_root=given("ACCEPT_PIPELINE_ROOT", ""),
        width=int(given("ACCEPT_WIDTH") or 32), patience=float(given("ACCEPT_PATIENCE") or 1),
        values=_document(given("ACCEPT_VALUES", "")), config=_document(given("ACCEPT_CONFIG", "")),
    )


def _document(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load(Path(path).read_text("utf-8")) or {}) if path else {}
