"""Who acts: the name that the Kubernetes API confirms, over HTTP, or the user of the process."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kube_api import KubeApi
from kube_http import kube_api

from thinksafe.errors import ConfigError, StageError
from thinksafe.kube.identity import Identity, identity


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    with kube_api(tmp_path, monkeypatch) as api:
        yield api


def test_kubernetes_confirms_the_name_that_oidc_gave(api: KubeApi) -> None:
    api.contents.user = "oidc:ann@example.com"
    assert identity("kubernetes") == Identity("oidc:ann@example.com", api.url)
    (request,) = [one for one in api.requests if one.method == "POST"]
    assert request.path == "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@pytest.mark.parametrize("user", ["", None, 7, "system:anonymous", "a\nb", "ann\u202e", "x" * 201])
def test_a_name_that_is_none_is_refused(api: KubeApi, user: Any) -> None:
    api.contents.user = user
    with pytest.raises(StageError, match=r"does not say who you are|longer than 200 characters"):
        identity("kubernetes")


def test_a_refusal_of_the_api_is_an_error(api: KubeApi) -> None:
    api.contents.forbidden.add("/selfsubjectreviews")
    with pytest.raises(StageError):
        identity("kubernetes")


def test_without_credentials_nobody_is_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="There is no Kubernetes cluster"):
        identity("kubernetes")


def test_the_systems_user_is_that_of_the_process_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "THINKSAFE_ACTOR"):
        monkeypatch.setenv(name, "ann")
    assert identity("system") == Identity(pwd.getpwuid(os.geteuid()).pw_name, "")
