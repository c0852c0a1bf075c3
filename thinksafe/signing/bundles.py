"""Sign a set of files, and verify such a signature: a Sigstore bundle around an in-toto statement.

Files are given by name and SHA-256, so that they may be anywhere. The statement's subject, which the library only
informs about, is part of what is verified here: it says which model the files belong to.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from thinksafe.config.sign import SignSettings, TrustedSigner
from thinksafe.errors import SignatureError
from thinksafe.signing.signers import Trust, fingerprint, signer, verifier

if TYPE_CHECKING:
    from model_signing.hashing import Config

PREDICATE = "https://model_signing/signature/v1.0"
SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
SIGN_AGAIN = "Do not use it. Restore it from a backup, or sign it again after you have found out what happened."
_SHOWN = 5


class _Claims(NamedTuple):
    """What a bundle says, before anything of it is believed."""

    statement: Mapping[str, Any]
    key: str
    """Fingerprint of the public key; empty if it has none."""
    leaf: bytes
    """The signing certificate, DER; empty if it has none."""


def sign_files(files: Mapping[str, str], subject: str, settings: SignSettings) -> bytes:
    """Return a signature.

    Args:
        files: SHA-256 of each file, by its name relative to the folder.
        subject: What the files are.
        settings: Who signs.

    Raises:
        ConfigError: the private key is missing or unsuitable.
        StageError: Sigstore failed.
    """
    with signer(settings) as config, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        config.set_hashing_config(_listed(files, subject)).sign(Path(subject), path)
        return path.read_bytes()


def verify_files(bundle: bytes, files: Mapping[str, str], subject: str, trust: Trust, what: str) -> str:
    """Check that a trusted signer signed exactly these files as ``subject``, and return the signer's name.

    Args:
        bundle: The signature.
        files: See :func:`sign_files`.
        subject: What the files have to be; empty for anything.
        trust: Whose signatures count.
        what: What the signature is of, for messages.

    Raises:
        SignatureError: the bundle is malformed, its signer is not trusted or not today, or a file differs, is missing
            or was added; names it.
        StageError: Sigstore's trusted roots cannot be fetched.
    """
    claims = _claims(bundle, what)
    name = _authentic(bundle, claims, trust, what)
    signed = _signed_files(claims.statement, what)
    if subject and subject_of(bundle, what) != subject:
        raise SignatureError(
            f"The signature of {what} is of {subject_of(bundle, what)[:120]!r}, not of {subject!r}.", SIGN_AGAIN
        )
    if differences := _differences(files, signed):
        raise SignatureError(f"What is in {what} is not what {name} signed: {differences}.", SIGN_AGAIN)
    return name


def subject_of(bundle: bytes, what: str) -> str:
    """Return what a bundle says that its files are; nobody vouches for it until it is verified."""
    return str(_claims(bundle, what).statement["subject"][0]["name"])


def _claims(bundle: bytes, what: str) -> _Claims:
    """Read a bundle. Fields that the library reads under two names are accepted under one, so that both read the same.

    Raises:
        SignatureError: it is not a bundle that the library writes.
    """
    try:
        found = json.loads(bundle)
        material, envelope = found["verificationMaterial"], found["dsseEnvelope"]
        known = (
            set(found) == {"mediaType", "verificationMaterial", "dsseEnvelope"}
            and set(envelope) == {"payload", "payloadType", "signatures"} and len(envelope["signatures"]) == 1
            and set(material) <= {
                "publicKey", "x509CertificateChain", "certificate", "tlogEntries", "timestampVerificationData",
            }
        )
        statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
        subjects = statement["subject"]
        known = known and statement["predicateType"] == PREDICATE and len(subjects) == 1
        chain = material.get("x509CertificateChain", {}).get("certificates", [])
        leaf = base64.b64decode(chain[0]["rawBytes"], validate=True) if chain else b""
        key = str(material.get("publicKey", {}).get("hint") or "")
        known = known and isinstance(subjects[0]["name"], str)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        known = False
    if not known:
        raise SignatureError(f"The signature of {what} is damaged: it is no bundle of this format.", SIGN_AGAIN)
    return _Claims(statement, key, leaf)


def _authentic(bundle: bytes, claims: _Claims, trust: Trust, what: str) -> str:
    """Return the name of the trusted signer who signed the statement. Raises SignatureError."""
    candidates = [of for of in trust.settings.trusted if _may_be(of, claims, trust)]
    if not candidates:
        by = f"by the unknown key {claims.key[:16]}" if claims.key else "by nobody who is trusted"
        raise SignatureError(
            f"The signature of {what} is {by}.", f"Trusted: {', '.join(of.name for of in trust.settings.trusted)}."
        )
    current = [of for of in candidates if of.on(trust.day)]
    if not current:
        raise SignatureError(
            f"The signature of {what} is by {candidates[0].name}, who is trusted "
            f"{_days(candidates[0])}; it is checked on {trust.day}.",
            "Sign it again with a current key (thinksafe sign), or correct the dates in sign.trusted.",
        )
    for candidate in current:
        if _verifies(bundle, claims, trust, candidate):
            return candidate.name
    raise SignatureError(f"The signature of {what} does not verify; it is not by {current[0].name}.", SIGN_AGAIN)


def _may_be(trusted: TrustedSigner, claims: _Claims, trust: Trust) -> bool:
    if trust.kind == "key":
        return bool(claims.key) and not claims.leaf and fingerprint(trusted.public_key) == claims.key
    # Sigstore's own certificates are examined by its verifier
    return bool(claims.leaf) if trust.kind == "certificate" else not claims.key


def _verifies(bundle: bytes, claims: _Claims, trust: Trust, candidate: TrustedSigner) -> bool:
    if trust.kind == "certificate" and not _names(claims.leaf, candidate.identity, trust):
        return False
    with verifier(trust, candidate) as config, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        path.write_bytes(bundle)
        listed = _listed(_resources(claims.statement), str(claims.statement["subject"][0]["name"]))
        try:
            config.set_hashing_config(listed).verify(Path(folder), path)
        except Exception:  # the library raises those of four others; none means that it verified
            return False
    return True


def _names(der: bytes, identity: str, trust: Trust) -> bool:
    """Return whether a certificate is of an identity, and valid on the day of the check, which the library leaves out.

    It looks at the certificate as on its first day, as if every signature were of that day.
    """
    from cryptography import x509

    try:
        leaf = x509.load_der_x509_certificate(der)
        names = {str(of.value) for of in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
        for extension in leaf.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names |= {str(of.value) for of in extension.value}
    except ValueError:
        return False
    return identity in names and leaf.not_valid_before_utc.date() <= trust.day <= leaf.not_valid_after_utc.date()


def _resources(statement: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that a statement lists; empty for one that is malformed, which then verifies as nothing."""
    try:
        return {str(of["name"]): str(bytes.fromhex(of["digest"]).hex()) for of in statement["predicate"]["resources"]}
    except (KeyError, TypeError, ValueError):
        return {}


def _signed_files(statement: Mapping[str, Any], what: str) -> dict[str, str]:
    """Return the files that an authentic statement lists. Raises SignatureError for a list that others would read."""
    predicate, found = statement["predicate"], _resources(statement)
    plain = (
        predicate.get("serialization") == SERIALIZATION and found and len(found) == len(predicate["resources"])
        and all(of.get("algorithm") == "sha256" for of in predicate["resources"])
    )
    if not plain:
        raise SignatureError(
            f"The signature of {what} leaves files out, follows links or hashes in another way.", SIGN_AGAIN
        )
    return found


def _differences(files: Mapping[str, str], signed: Mapping[str, str]) -> str:
    said = [
        *(f"{name} differs" for name in sorted(files.keys() & signed.keys()) if files[name] != signed[name]),
        *(f"{name} is missing" for name in sorted(signed.keys() - files.keys())),
        *(f"{name[:120]!r} was added" for name in sorted(files.keys() - signed.keys())),
    ]
    return ", ".join(said[:_SHOWN]) + (f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else "")


def _days(trusted: TrustedSigner) -> str:
    said = [f"from {trusted.not_before}"] if trusted.not_before else []
    return " ".join([*said, *([f"until {trusted.not_after}"] if trusted.not_after else [])])


def _listed(files: Mapping[str, str], subject: str) -> Config:
    """Return a hashing configuration of the library that lists these files, wherever they are."""
    from model_signing import hashing, manifest
    from model_signing._hashing.hashing import Digest  # the manifest's public classes take no other

    class Listed(hashing.Config):
        def __init__(self) -> None:
            """Set nothing up: the digests are there, nothing is hashed."""

        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> manifest.Manifest:
            kind = manifest.SerializationType.from_args(dict(SERIALIZATION))
            items = [kind.new_item(name, Digest("sha256", bytes.fromhex(value))) for name, value in files.items()]
            return manifest.Manifest(subject, items, kind)

    return Listed()
