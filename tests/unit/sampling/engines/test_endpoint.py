"""The endpoint engine without a server: what it refuses before it asks one."""

from __future__ import annotations

import pytest

from thinksafe.errors import ConfigError
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines.endpoint import EndpointEngine


def test_an_endpoint_continues_no_thought() -> None:
    engine = EndpointEngine.__new__(EndpointEngine)  # no client: it must not get that far
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "<think>\n"}]
    with pytest.raises(ConfigError, match="An endpoint cannot be made to continue a thought"):
        engine.generate([said], SamplingSettings(), 1, lambda _: None)
