"""Whether the doctor finds what ends runs whose pods do not start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kube_api import KubeApi
from kube_http import kube_api

from thinksafe.doctor.start import start_findings
from thinksafe.kube.client import connect


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    with kube_api(tmp_path, monkeypatch) as running:
        yield running


def found() -> list[str]:
    return [one.status for one in start_findings(connect("thinksafe", section="cluster"))]


def cron_job(api: KubeApi, name: str, **spec: Any) -> None:
    manifest = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}
    api.create("cronjobs", manifest)


def test_the_charts_cron_job_is_found(api: KubeApi) -> None:
    assert found() == ["warning"]
    cron_job(api, "another")
    cron_job(api, "old-end-stuck", suspend=True)
    assert found() == ["warning"]
    cron_job(api, "safe-thinksafe-end-stuck")
    assert found() == ["ok"]


def test_an_account_that_may_not_look_says_nothing(api: KubeApi) -> None:
    api.contents.forbidden = {"/cronjobs"}
    assert found() == []
