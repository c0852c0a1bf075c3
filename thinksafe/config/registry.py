"""Configuration of the registry and of the report."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from thinksafe.credentials import holds_secret
from thinksafe.settings import Name, Section


class RegistrySettings(Section):
    """Where versions are registered."""

    model: Name
    """Registered model name in MLflow, and key of the promotion ledger."""
    experiment: Annotated[str, Field(min_length=1)] = "thinksafe"
    """MLflow experiment of the runs."""
    tracking_uri: str = ""
    """MLflow server, without a password; empty uses MLFLOW_TRACKING_URI, which ``thinksafe run`` points into DIR."""

    @field_validator("tracking_uri")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        # A configuration is copied into compiled pipelines, stage records and reports.
        if holds_secret(value):
            raise ValueError(
                "contains a password; leave it empty and set MLFLOW_TRACKING_URI, or for a server over HTTP "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return value


class CardSettings(Section):
    """What only people know about a model; shown on its card."""

    licence: Annotated[str, Field(max_length=100)] = ""
    """Licence of the adapter, as an identifier of the Hugging Face Hub such as ``apache-2.0``; empty: not stated."""
    intended_use: Annotated[str, Field(max_length=4000)] = ""
    """What the model is for, and what it is not for."""
    contact: Annotated[str, Field(max_length=200)] = ""
    """Whom to ask about it."""


class ReportSettings(Section):
    """The report page."""

    reveal_harmful: bool = False
    """Show harmful prompts and responses. Off: only ids and digests."""
