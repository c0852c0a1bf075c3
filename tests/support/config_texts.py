"""The text of the recipe micro, and the complaint about a configuration."""

from __future__ import annotations

from importlib import resources

import pytest

from thinksafe.config import load_config
from thinksafe.errors import ConfigError

MICRO = (resources.files("thinksafe_configs") / "micro.yaml").read_text("utf-8")


def complaint(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(text, list(overrides))
    return str(raised.value)
