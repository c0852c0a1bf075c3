"""Signing a set of files by name and digest, and every way in which a signature does not count."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signed_worlds import Key, certificate, pem_of

from thinksafe.config.sign import SignSettings
from thinksafe.digests import digest_bytes
from thinksafe.errors import ConfigError, SignatureError, StageError
from thinksafe.signing.bundles import sign_files, subject_of, verify_files
from thinksafe.signing.signers import Trust, trust_of

FILES = {"adapter_config.json": digest_bytes(b"config"), "sub/adapter_model.safetensors": digest_bytes(b"weights")}
WHAT = "the adapter"


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path, "2026")


@pytest.fixture
def bundle(key: Key) -> bytes:
    return sign_files(FILES, "m@3", key.settings())


def check(bundle: bytes, sign: SignSettings, files: dict[str, str] = FILES, subject: str = "m@3") -> str:
    return verify_files(bundle, files, subject, trust_of(sign), WHAT)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_what_was_signed_verifies(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = Key(tmp_path, "ours", curve)
    bundle = sign_files(FILES, "m@3", key.settings())
    assert check(bundle, key.settings()) == "ours"
    assert check(bundle, key.settings(), subject="") == "ours"
    assert subject_of(bundle, WHAT) == "m@3"


def test_the_bundle_is_openssfs_and_holds_no_private_key(key: Key, bundle: bytes, tmp_path: Path) -> None:
    from model_signing import verifying

    folder = tmp_path / "m@3"
    (folder / "sub").mkdir(parents=True)
    (folder / "adapter_config.json").write_bytes(b"config")
    (folder / "sub/adapter_model.safetensors").write_bytes(b"weights")
    (tmp_path / "public.pem").write_text(key.public)
    (tmp_path / "bundle").write_bytes(bundle)
    config = verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "public.pem")
    config.verify(folder, tmp_path / "bundle")
    assert json.loads(bundle)["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    secret = "".join(key.pem.decode().splitlines()[1:-1])
    assert secret not in bundle.decode()
    assert base64.b64decode(secret) not in base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({**FILES, "adapter_config.json": digest_bytes(b"other")}, r"adapter_config\.json differs"),
        ({"adapter_config.json": FILES["adapter_config.json"]}, r"sub/adapter_model\.safetensors is missing"),
        ({**FILES, ".gitattributes": digest_bytes(b"")}, r"'\.gitattributes' was added"),
        ({**FILES, "model.sig": digest_bytes(b"")}, r"'model\.sig' was added"),
        ({}, r"adapter_config\.json is missing, sub/adapter_model\.safetensors is missing"),
    ],
)
def test_the_file_that_differs_is_named(key: Key, bundle: bytes, files: dict[str, str], said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        check(bundle, key.settings(), files)


def test_a_signature_is_of_one_subject(key: Key, bundle: bytes) -> None:
    for other in ("m@4", "m@30", "n@3", "m"):
        with pytest.raises(SignatureError, match=f"is of 'm@3', not of '{other}'"):
            check(bundle, key.settings(), subject=other)


def test_an_unknown_key_is_named_by_its_fingerprint(tmp_path: Path, bundle: bytes) -> None:
    other = Key(tmp_path, "other")
    with pytest.raises(SignatureError, match=r"by the unknown key [0-9a-f]{16}") as caught:
        check(bundle, other.settings())
    assert "Trusted: other" in caught.value.action


def test_a_key_counts_on_its_days_only(key: Key, bundle: bytes, tmp_path: Path) -> None:
    other = Key(tmp_path, "2027")
    sign = SignSettings.model_validate({"trusted": [
        key.trusted(not_before="2026-01-01", not_after="2026-12-31"), other.trusted(not_before="2026-12-01"),
    ]})

    def on(day: str, bundle: bytes = bundle) -> str:
        return verify_files(bundle, FILES, "m@3", Trust(sign, datetime.date.fromisoformat(day)), WHAT)

    for day in ("2026-01-01", "2026-12-31"):
        assert on(day) == "2026"
    for day in ("2025-12-31", "2027-01-01"):
        with pytest.raises(SignatureError, match=f"trusted from 2026-01-01 until 2026-12-31; it is checked on {day}"):
            on(day)
    new = sign_files(FILES, "m@3", other.settings())
    assert on("2027-06-01", new) == "2027"
    with pytest.raises(SignatureError, match=r"trusted from 2026-12-01; it is checked on 2026-11-30"):
        on("2026-11-30", new)


def test_every_truncated_bundle_is_refused(key: Key, bundle: bytes) -> None:
    for end in [*range(0, len(bundle), 97), len(bundle) - 1]:
        with pytest.raises(SignatureError, match="is damaged"):
            check(bundle[:end], key.settings())


@pytest.mark.parametrize("junk", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"dsseEnvelope": 1}'])
def test_what_is_no_bundle_is_refused(key: Key, junk: bytes) -> None:
    with pytest.raises(SignatureError, match="is damaged"):
        check(junk, key.settings())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_of_a_bundle_makes_it_say_something_else(key: Key, bundle: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(bundle) - 1))
    flipped = bytearray(bundle)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        check(bytes(flipped), key.settings())
    except SignatureError:
        return
    # where the change is meaningless, such as unused bits at the end of base64, it still says the same
    assert subject_of(bytes(flipped), WHAT) == "m@3"
    with pytest.raises(SignatureError):
        check(bytes(flipped), key.settings(), {**FILES, "sub/adapter_model.safetensors": digest_bytes(b"other")})


def resigned(key: Key, bundle: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a bundle whose statement was changed and signed again: what another tool does with our key."""
    from cryptography.hazmat.primitives import hashes
    from model_signing._signing.sign_sigstore_pb import pae

    found = json.loads(bundle)
    statement = json.loads(base64.b64decode(found["dsseEnvelope"]["payload"]))
    change(statement)
    raw = json.dumps(statement).encode()
    found["dsseEnvelope"]["payload"] = base64.b64encode(raw).decode()
    found["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(
        key.key.sign(pae(raw), ec.ECDSA(hashes.SHA256()))
    ).decode()
    return json.dumps(found).encode()


def test_a_statement_that_was_changed_and_signed_again_is_read_as_such(key: Key, bundle: bytes) -> None:
    same = resigned(key, bundle, lambda statement: None)
    assert check(same, key.settings()) == "2026"
    moved = resigned(key, bundle, lambda statement: statement["subject"][0].update(name="m@9"))
    assert check(moved, key.settings(), subject="m@9") == "2026"


@pytest.mark.parametrize(
    "change",
    [
        lambda statement: statement["predicate"]["serialization"].update(ignore_paths=["evil"]),
        lambda statement: statement["predicate"]["serialization"].update(allow_symlinks=True),
        lambda statement: statement.update(predicateType="https://model_signing/Digests/v0.1"),
        lambda statement: statement["subject"].append(dict(statement["subject"][0])),
        lambda statement: statement["predicate"]["resources"].append(dict(statement["predicate"]["resources"][0])),
        lambda statement: statement["predicate"].update(resources=[]),
        lambda statement: statement["predicate"]["resources"][0].update(algorithm="blake2b"),
    ],
)
def test_a_statement_that_leaves_something_open_is_refused(
    key: Key, bundle: bytes, change: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(SignatureError):
        check(resigned(key, bundle, change), key.settings())


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(dsse_envelope=found["dsseEnvelope"]),
        lambda found: found["verificationMaterial"]["publicKey"].update(hint=""),
        lambda found: found["verificationMaterial"].pop("publicKey"),
        lambda found: found["verificationMaterial"].update(public_key={"hint": "x"}),
        lambda found: found["dsseEnvelope"].update(signatures=[]),
        lambda found: found["dsseEnvelope"]["signatures"].append(found["dsseEnvelope"]["signatures"][0]),
        lambda found: found["dsseEnvelope"].update(payloadType="text/plain"),
        lambda found: found.update(mediaType="application/json"),
    ],
)
def test_a_bundle_of_another_shape_is_refused(
    key: Key, bundle: bytes, change: Callable[[dict[str, Any]], None]
) -> None:
    found = json.loads(bundle)
    change(found)
    with pytest.raises(SignatureError):
        check(json.dumps(found).encode(), key.settings())


class Authority:
    """An authority, and a leaf for signing that it issued."""

    def __init__(self, folder: Path, name: str = "root", days: tuple[int, int] = (-1, 1)) -> None:
        self.key = Key(folder, name)
        self.root = certificate(self.key, name, days=(-400, 400))
        self.leaf_key = Key(folder, f"{name}-leaf")
        self.leaf = certificate(
            self.leaf_key, "thinksafe-signing", (self.key, self.root), days=days, mail="a@b.example"
        )
        self.file = folder / f"{name}-certificate.pem"
        self.file.write_text(pem_of(self.leaf))

    def settings(self, identity: str = "thinksafe-signing", root: str = "") -> SignSettings:
        return SignSettings.model_validate({
            "kind": "certificate", "private_key": str(self.leaf_key.path), "certificate": str(self.file),
            "trusted": [{"name": "corporate", "authority": root or pem_of(self.root), "identity": identity}],
        })


def test_a_certificate_of_the_authority_verifies(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    bundle = sign_files(FILES, "m@3", ours.settings())
    for identity in ("thinksafe-signing", "a@b.example"):
        assert check(bundle, ours.settings(identity)) == "corporate"
    with pytest.raises(SignatureError, match=r"adapter_config\.json differs"):
        check(bundle, ours.settings(), {**FILES, "adapter_config.json": digest_bytes(b"other")})


def test_a_certificate_of_another_authority_or_name_or_time_is_refused(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "theirs")
    bundle = sign_files(FILES, "m@3", ours.settings())
    for refused in (theirs.settings(), ours.settings(identity="somebody-else")):
        with pytest.raises(SignatureError, match="does not verify"):
            check(bundle, refused)
    old = Authority(tmp_path, "old", days=(-30, -2))
    with pytest.raises(SignatureError, match="does not verify"):
        check(sign_files(FILES, "m@3", old.settings()), old.settings())


def test_each_kind_refuses_the_bundles_of_the_other(tmp_path: Path, key: Key, bundle: bytes) -> None:
    ours = Authority(tmp_path)
    with pytest.raises(SignatureError, match="unknown key"):
        check(bundle, ours.settings())
    with pytest.raises(SignatureError, match="nobody who is trusted"):
        check(sign_files(FILES, "m@3", ours.settings()), key.settings())


def test_a_certificate_of_another_key_cannot_sign(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    other = ours.settings().model_copy(update={"private_key": str(Key(tmp_path, "x").path)})
    with pytest.raises(ConfigError, match="belongs to another key"):
        sign_files(FILES, "m@3", other)


def test_a_missing_or_useless_private_key_is_named_and_not_shown(
    tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = key.settings()
    for content in (b"", b"x", key.pem[:-40], key.public.encode()):
        (tmp_path / "bad.pem").write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.pem is not an elliptic private key") as caught:
            sign_files(FILES, "m@3", sign.model_copy(update={"private_key": str(tmp_path / "bad.pem")}))
        assert key.pem.decode().splitlines()[1] not in str(caught.value)
    with pytest.raises(ConfigError, match=r"There is no file .*none\.pem"):
        sign_files(FILES, "m@3", sign.model_copy(update={"private_key": str(tmp_path / "none.pem")}))
    with pytest.raises(ConfigError, match=r"sign\.private_key is empty"):
        sign_files(FILES, "m@3", sign.model_copy(update={"private_key": ""}))
    monkeypatch.setenv("THINKSAFE_SIGNING", str(tmp_path))
    with pytest.raises(ConfigError, match=r"There is no file .*private-key\.pem"):
        sign_files(FILES, "m@3", sign)
    (tmp_path / "private-key.pem").write_bytes(key.pem)
    assert check(sign_files(FILES, "m@3", sign.model_copy(update={"private_key": ""})), sign) == "2026"


def test_keyless_fails_closed_where_sigstore_cannot_be_reached(
    key: Key, bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens on the port that the proxy names: so it is without a network."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    keyless = SignSettings.model_validate({
        "kind": "keyless", "trust_config": "{}",
        "trusted": [{"name": "ci", "identity": "a@b.example", "issuer": "https://issuer.example"}],
    })
    with pytest.raises(SignatureError, match=r"nobody who is trusted|unknown key"):
        check(bundle, keyless)
    found = json.loads(bundle)
    found["verificationMaterial"] = {"certificate": {"rawBytes": ""}, "tlogEntries": []}
    with pytest.raises(StageError, match="Sigstore cannot be used"):
        check(json.dumps(found).encode(), keyless)
    with pytest.raises(StageError, match="There is no identity to sign with"):
        sign_files(FILES, "m@3", keyless)
