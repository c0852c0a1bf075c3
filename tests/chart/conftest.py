from __future__ import annotations

import pytest
from helm_chart import VALUE_SETS, Manifest, manifests, value_set


@pytest.fixture(scope="session", params=VALUE_SETS)
def value_set_name(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def rendered(value_set_name) -> list[Manifest]:
    """The manifests of one of the value sets."""
    return manifests(value_set(value_set_name))
