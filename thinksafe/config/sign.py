"""Configuration of signatures: who signs adapters and ledger entries, and whose signatures are trusted, and when.

It never contains a private key: on a cluster it names the Secret, on a workstation the file. Public keys and the
certificates of authorities are written into it.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from thinksafe.config.kubernetes import OptionalName
from thinksafe.settings import Section

SignKind = Literal["key", "certificate", "keyless"]
GIVEN: dict[SignKind, tuple[str, ...]] = {
    "key": ("public_key",), "certificate": ("authority", "identity"), "keyless": ("identity", "issuer"),
}
"""What a trusted signer of each kind is known by."""
_ALL = sorted({name for names in GIVEN.values() for name in names})


class TrustedSigner(Section):
    """A signer whose signatures count, and the days on which they do."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    """How messages call it, such as ``2026``."""
    public_key: str = ""
    """Kind ``key``: the public key in PEM (``-----BEGIN PUBLIC KEY-----``), elliptic: P-256, P-384 or P-521."""
    authority: str = ""
    """Kind ``certificate``: the authority's root certificate in PEM; several may follow one another."""
    identity: str = ""
    """Kind ``certificate``: the common name, or an alternative name, that the signing certificate must have. Kind
    ``keyless``: the identity that Sigstore confirmed, such as an e-mail address or a workload's URI."""
    issuer: str = ""
    """Kind ``keyless``: address of the OIDC issuer that confirmed it."""
    not_before: datetime.date | None = None
    """First day (UTC) on which its signatures are accepted; by default there is none."""
    not_after: datetime.date | None = None
    """Last day (UTC) on which they are. It is the day of the check that counts: the day of signing is not proved."""

    def on(self, day: datetime.date) -> bool:
        """Return whether signatures of this signer are accepted on a day."""
        return (self.not_before or day) <= day <= (self.not_after or day)


class SignSettings(Section):
    """Signatures of adapters (or weights) and of the promotion ledger. Without this section nothing is signed."""

    kind: SignKind = "key"
    """``key``: a private key. ``certificate``: a private key and its certificate. ``keyless``: Sigstore's short-lived
    certificates, for an identity that an OIDC issuer confirms."""
    secret: OptionalName = ""
    """Secret that only the stages ``register`` and ``promote`` mount, with ``private-key.pem``, and for kind
    ``certificate`` also ``certificate.pem``; for ``keyless``, where needed, ``token``."""
    private_key: str = ""
    """On a workstation instead of the Secret: absolute path of the file with the private key in PEM, not encrypted."""
    certificate: str = ""
    """Likewise, for kind ``certificate``: the file with its certificate, and after it those between it and the
    authority."""
    trust_config: str = ""
    """Kind ``keyless`` with a private Sigstore: its trust configuration (``ClientTrustConfig``) as JSON text; empty for
    the public one."""
    trusted: Annotated[tuple[TrustedSigner, ...], Field(min_length=1)]
    """Signers whose signatures count; two at a time while keys are changed."""

    # errors of the whole section, not of a field: those would show what was given, and it might be a private key
    @model_validator(mode="after")
    def _consistent(self) -> SignSettings:
        for signer in self.trusted:
            _check(signer, self.kind)
        names = [signer.name for signer in self.trusted]
        if len(set(names)) != len(names):
            raise ValueError("trusted: two signers have one name")
        if self.certificate and self.kind != "certificate":
            raise ValueError("certificate is for kind certificate")
        if self.trust_config and self.kind != "keyless":
            raise ValueError("trust_config is for kind keyless")
        if self.private_key and self.kind == "keyless":
            raise ValueError("private_key is for the kinds key and certificate")
        return self


def _check(signer: TrustedSigner, kind: SignKind) -> None:
    """Raise ValueError for a trusted signer of another kind, with malformed keys, or with no day on which it counts."""
    named = f"trusted signer {signer.name}"
    given = {name for name in _ALL if getattr(signer, name)}
    if given != set(GIVEN[kind]):
        raise ValueError(f"{named}: kind {kind} takes exactly {' and '.join(GIVEN[kind])}")
    if signer.not_before and signer.not_after and signer.not_before > signer.not_after:
        raise ValueError(f"{named}: not_before is after not_after")
    if kind == "key":
        _require_public_key(signer.public_key, named)
    elif kind == "certificate":
        _require_certificates(signer.authority, named)


def _require_public_key(pem: str, named: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if "PRIVATE KEY" in pem:
        raise ValueError(f"{named}: public_key holds a private key; remove it, and make a new one: it was written down")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    curves = ("secp256r1", "secp384r1", "secp521r1")
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in curves:
        raise ValueError(f"{named}: public_key is not an elliptic public key in PEM (P-256, P-384 or P-521)") from None


def _require_certificates(pem: str, named: str) -> None:
    from cryptography.x509 import load_pem_x509_certificates

    if "PRIVATE KEY" in pem:
        raise ValueError(f"{named}: authority holds a private key; remove it, and make a new one: it was written down")
    try:
        load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError(f"{named}: authority is not a certificate in PEM") from None
