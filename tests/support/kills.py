"""Kills of this process right before or after a step of a promotion or rollback."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

import pytest


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


ALIAS = "mlflow.MlflowClient.set_registered_model_alias"


STEPS = [
    (step, when)
    for step in ("thinksafe.registry.ledger.append", "thinksafe.store.local.LocalStore.create", ALIAS)
    for when in ("before", "after")
]


def kill(monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    """Kill the caller right before or after a function."""
    real: Callable[..., Any] = pkgutil.resolve_name(step)

    def killing(*args: Any, **kwargs: Any) -> None:
        if when == "after":
            real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(step, killing)
