"""Who signs, and whose signatures count: private keys in files, and trusted signers with their days."""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thinksafe.config.pods import SIGNING_FILES, SIGNING_VARIABLE
from thinksafe.config.sign import SignKind, SignSettings, TrustedSigner
from thinksafe.digests import digest_bytes
from thinksafe.errors import ConfigError, StageError

if TYPE_CHECKING:
    from model_signing import signing, verifying

KEY_FILE, CERTIFICATE_FILE, TOKEN_FILE = SIGNING_FILES


@dataclass(frozen=True)
class Trust:
    """Whose signatures count."""

    settings: SignSettings
    day: datetime.date
    """The day (UTC) of the check."""

    @property
    def kind(self) -> SignKind:
        return self.settings.kind


def trust_of(settings: SignSettings) -> Trust:
    """Return whose signatures count today."""
    return Trust(settings, datetime.datetime.now(datetime.UTC).date())


def fingerprint(pem: str) -> str:
    """Return what a signature calls its public key: the SHA-256 of the key in PEM, as the library writes it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    key = load_pem_public_key(pem.encode())
    return digest_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@contextmanager
def verifier(trust: Trust, signer: TrustedSigner) -> Iterator[verifying.Config]:
    """Yield the library's configuration that accepts the signatures of one signer.

    Raises:
        StageError: Sigstore's trusted roots cannot be fetched.
    """
    from model_signing import verifying

    config = verifying.Config()
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given"
        if trust.kind == "key":
            given.write_text(signer.public_key)
            config.use_elliptic_key_verifier(public_key=given)
        elif trust.kind == "certificate":
            given.write_text(signer.authority)
            config.use_certificate_verifier(certificate_chain=[given])
        else:
            with _reaching_sigstore():
                config.use_sigstore_verifier(
                    identity=signer.identity, oidc_issuer=signer.issuer,
                    trust_config=_trust_config(trust.settings, given),
                )
        yield config


@contextmanager
def signer(settings: SignSettings) -> Iterator[signing.Config]:
    """Yield the library's configuration that signs.

    The files are those in the folder that THINKSAFE_SIGNING names, where pods mount the Secret, else those that the
    settings name.

    Raises:
        ConfigError: no private key is named, or a file is missing or is not what it has to be.
        StageError: Sigstore cannot be reached, or no identity was found.
    """
    from model_signing import signing

    config = signing.Config()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if settings.kind == "keyless":
            with _reaching_sigstore():
                config.use_sigstore_signer(
                    identity_token=_identity(), trust_config=_trust_config(settings, scratch / "trust"),
                )
            yield config
            return
        key = _named(settings.private_key, KEY_FILE, "sign.private_key")
        _require_private_key(key)
        try:
            if settings.kind == "key":
                config.use_elliptic_key_signer(private_key=key)
            else:
                leaf, *between = _certificates(_named(settings.certificate, CERTIFICATE_FILE, "sign.certificate"))
                files = [scratch / f"{place}.pem" for place in range(len(between) + 1)]
                for path, pem in zip(files, (leaf, *between), strict=True):
                    path.write_bytes(pem)
                # the library takes no empty chain; the leaf in it again changes nothing
                config.use_certificate_signer(
                    private_key=key, signing_certificate=files[0], certificate_chain=files[1:] or files[:1],
                )
        except ValueError as error:  # its text names no key
            raise ConfigError(
                f"Cannot sign with {key}: the certificate belongs to another key, or the curve is not supported.",
                "Use an elliptic key (P-256, P-384 or P-521) and its own certificate.",
            ) from error
        yield config


def can_sign(settings: SignSettings) -> bool:
    """Return whether there is something to sign with here: a private key is named or mounted, or there is an identity.

    It asks a cloud's metadata service where kind is ``keyless`` and no token is mounted.
    """
    if settings.kind == "keyless":
        with suppress(StageError):  # a place that refuses an identity has none
            return bool(_token())
        return False
    return bool(settings.private_key or os.environ.get(SIGNING_VARIABLE))


def _named(given: str, name: str, setting: str) -> Path:
    """Return a file of the signer: in the mounted Secret, or the one that the setting names. Raises ConfigError."""
    mounted = os.environ.get(SIGNING_VARIABLE, "")
    if not mounted and not given:
        raise ConfigError(
            f"Signing is on, and {setting} is empty.",
            f"Name the file, or its folder in {SIGNING_VARIABLE}; on a cluster set sign.secret.",
        )
    path = Path(mounted) / name if mounted else Path(given)
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.", "Check the Secret's keys, or the path.")
    return path


def _require_private_key(path: Path) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ConfigError(
            f"{path} is not an elliptic private key in PEM without a password, or cannot be read.",
            "Make one: openssl ecparam -name prime256v1 -genkey -noout -out private-key.pem",
        ) from None


def _certificates(path: Path) -> list[bytes]:
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return [of.public_bytes(Encoding.PEM) for of in load_pem_x509_certificates(path.read_bytes())]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a certificate in PEM, or cannot be read.", "Check the file.") from error


def _trust_config(settings: SignSettings, path: Path) -> Path | None:
    if not settings.trust_config:
        return None
    path.write_text(settings.trust_config)
    return path


def _identity() -> str:
    token = _token()
    if not token:  # the library would open a browser
        raise StageError(
            "There is no identity to sign with: neither a token file nor a place that Sigstore knows.",
            f"Mount a token for the audience sigstore as {TOKEN_FILE} ({SIGNING_VARIABLE}), or use kind key.",
        )
    return token


def _token() -> str:
    """Return an OIDC token: of the mounted file, else of the place that the process runs in; empty if there is none."""
    mounted = os.environ.get(SIGNING_VARIABLE, "")
    path = Path(mounted) / TOKEN_FILE
    if mounted and path.is_file():
        return path.read_text("utf-8").strip()
    from sigstore.oidc import detect_credential

    with _reaching_sigstore():
        return str(detect_credential() or "")


@contextmanager
def _reaching_sigstore() -> Iterator[None]:
    try:
        yield
    except StageError:
        raise
    except Exception as error:
        raise StageError(
            f"Sigstore cannot be used ({type(error).__name__}).",
            "Check the network, sign.trust_config, or use kind key or certificate.",
        ) from error
