"""What the doctor finds of signing: the Secret, and whose signatures count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kube_contents import KubeContents
from signed_worlds import Key

from thinksafe.config.sign import SignSettings
from thinksafe.doctor.checks import Finding, findings
from thinksafe.doctor.signing import signing_checks
from thinksafe.kube.client import connect

NAMESPACE = "thinksafe"


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path, "2026")


def found(key: Key, days: dict[str, Any] | None = None, **changed: Any) -> list[Finding]:
    sign = SignSettings.model_validate({"secret": "signing", "trusted": [key.trusted(**(days or {}))], **changed})
    return list(findings(signing_checks(sign, connect(NAMESPACE, section="cluster", retry_seconds=0))))


def test_nothing_is_looked_for_where_nothing_is_signed(server: KubeContents) -> None:
    assert signing_checks(None, connect(NAMESPACE, section="cluster", retry_seconds=0)) == []


def test_the_secret_has_the_key(server: KubeContents, key: Key) -> None:
    missing, counts = found(key)
    assert (missing.status, missing.message) == ("failed", "There is no Secret signing in thinksafe.")
    assert (counts.status, counts.message) == ("ok", "Signatures count today by 2026.")
    server.secret("signing", NAMESPACE, key="x")
    assert found(key)[0].message == "The Secret signing has no private-key.pem."
    server.secret("signing", NAMESPACE, **{"private-key.pem": Path(key.path).read_text("utf-8")})
    good = found(key)
    assert {one.status for one in good} == {"ok"}
    assert "PRIVATE" not in "".join(one.message for one in good)


def test_who_may_not_read_the_key_is_not_told_to_ask_for_it(server: KubeContents, key: Key) -> None:
    server.forbidden = {"/secrets/signing"}
    found_of = found(key)[0]
    assert found_of.status == "ok"
    assert not found_of.action


def test_without_a_secret_there_are_the_signers(server: KubeContents, key: Key) -> None:
    assert [one.status for one in found(key, secret="")] == ["ok"]


@pytest.mark.parametrize("days", [{"not_after": "2020-01-01"}, {"not_before": "2999-01-01"}])
def test_somebody_must_count_today(server: KubeContents, key: Key, days: dict[str, str]) -> None:
    failure, = [one for one in found(key, days, secret="") if one.status == "failed"]
    assert "No trusted signer counts today" in failure.message
    assert "sign.trusted" in failure.action
