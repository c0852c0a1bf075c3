"""Multi-user mode: what the chart's accounts may do suffices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from accepting.cluster import Cluster
from accepting.release import Release
from accepting.runs import Run


def test_multi_user_with_the_rights_of_the_chart_alone(
    cluster: Cluster, release: Callable[[], Release], request: pytest.FixtureRequest
) -> None:
    """The accounts have no other bindings than those of the release; hook and run have ended well with them."""
    if not cluster.settings.multi_user:
        pytest.skip("Kubeflow Pipelines is in single-user mode here (ACCEPT_MULTI_USER is not set)")
    first: Run = request.getfixturevalue("first")
    assert first.state == "SUCCEEDED"
    accounts = {f"{release().full}-{name}" for name in ("pipeline", "publisher")}
    bound = {
        binding["metadata"]["name"] for binding in cluster.get("rolebindings")
        if accounts & {subject["name"] for subject in binding.get("subjects") or ()}
    }
    assert bound == accounts, "no binding but the chart's, whose names are those of the accounts"
