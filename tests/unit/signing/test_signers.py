"""Who can sign here: a private key that is named or mounted, or an identity."""

from __future__ import annotations

from pathlib import Path

import pytest
from id import AmbientCredentialError
from signed_worlds import Key

from thinksafe.config.pods import SIGNING_VARIABLE
from thinksafe.config.sign import SignSettings
from thinksafe.signing.signers import can_sign

KEYLESS = SignSettings.model_validate(
    {"kind": "keyless", "trusted": [{"name": "ann", "identity": "ann@example.com", "issuer": "https://issuer"}]}
)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cloud's or CI's identity."""
    monkeypatch.delenv(SIGNING_VARIABLE, raising=False)
    for name in ("GITHUB_ACTIONS", "BUILDKITE", "GITLAB_CI", "CIRCLECI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("id.detect_credential", lambda _audience: None)


def test_a_key_is_named_or_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Key(tmp_path, "2026")
    assert can_sign(key.settings(key.trusted()))
    bare = key.settings(key.trusted()).model_copy(update={"private_key": ""})
    assert not can_sign(bare)
    monkeypatch.setenv(SIGNING_VARIABLE, str(tmp_path))
    assert can_sign(bare)


def test_a_place_that_refuses_an_identity_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_audience: str) -> None:
        raise AmbientCredentialError("no permission")

    monkeypatch.setattr("id.detect_credential", refused)
    assert not can_sign(KEYLESS), "a rollback that needs no signature goes on"


def test_keyless_needs_an_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_sign(KEYLESS)
    monkeypatch.setenv(SIGNING_VARIABLE, str(tmp_path))
    assert not can_sign(KEYLESS)
    (tmp_path / "token").write_text("x.y.z\n")
    assert can_sign(KEYLESS)
