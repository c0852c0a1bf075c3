"""Keys, certificates, and runs whose adapters and ledger are signed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from registry_runs import Run, World

from thinksafe.config.sign import SignSettings
from thinksafe.registry import ledger
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.registration import trained_of
from thinksafe.registry.rollback import rollback
from thinksafe.registry.signed import Seal
from thinksafe.signing.trained import bundle_key, ensure_signed, subject

TODAY = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Key:
    """A private key in a file, and its public key."""

    def __init__(self, folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> None:
        self.name, self.key = name, ec.generate_private_key(curve or ec.SECP256R1())
        self.path = folder / f"{name}.pem"
        self.pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.path.write_bytes(self.pem)
        self.public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def trusted(self, **changed: Any) -> dict[str, Any]:
        """Return the key as a trusted signer."""
        return {"name": self.name, "public_key": self.public, **changed}

    def settings(self, *trusted: dict[str, Any]) -> SignSettings:
        """Return the section ``sign`` of who signs with this key; by default nobody else is trusted."""
        return SignSettings.model_validate({"private_key": str(self.path), "trusted": trusted or (self.trusted(),)})


def certificate(
    key: Key, name: str, issuer: tuple[Key, x509.Certificate] | None = None, *, days: tuple[int, int] = (-1, 1),
    mail: str = "",
) -> x509.Certificate:
    """Return a certificate of a key: of an authority by itself, else a leaf for signing."""
    subject_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    by_key, by_name = (key, subject_name) if issuer is None else (issuer[0], issuer[1].subject)
    usage = dict.fromkeys((
        "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"
    ), False)
    made = (
        x509.CertificateBuilder().subject_name(subject_name).issuer_name(by_name).public_key(key.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(TODAY + days[0] * DAY).not_valid_after(TODAY + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(
            digital_signature=issuer is not None, key_cert_sign=issuer is None, crl_sign=issuer is None, **usage
        ), critical=True)
    )
    if mail:
        made = made.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(mail)]), critical=False)
    return made.sign(by_key.key, hashes.SHA256())


def pem_of(*certificates: x509.Certificate) -> str:
    """Return certificates in PEM, one after the other."""
    return "".join(of.public_bytes(Encoding.PEM).decode() for of in certificates)


class SignedWorld(World):
    """A world in which everything is signed with one key."""

    def __init__(self, folder: Path, root: str = "", model: str = "m", key: Key | None = None) -> None:
        super().__init__(folder, root=root, model=model)
        self.key = key or Key(folder, "2026")
        self.sign = self.key.settings()

    @property
    def seal(self) -> Seal:
        return Seal(self.store, self.model, self.sign)

    sign: SignSettings

    def registered(self, run_id: str, adapter: str = "", *, full: bool = False) -> Run:
        """Return a run whose candidate was registered and signed."""
        run = Run(self, run_id, adapter, full=full)
        run.register()
        return run

    def promoted(self, run_id: str, adapter: str = "", *, full: bool = False) -> Run:
        """Return a run whose candidate was promoted."""
        run = self.registered(run_id, adapter, full=full)
        run.promote()
        return run

    def registered_by_hand(self, run_id: str, adapter: str = "", *, full: bool = False) -> Run:
        """Return a run whose candidate was signed, without MLflow: its version is its generation."""
        run = Run(self, run_id, adapter, full=full)
        version = run.register_by_hand(str(len(ledger.entries(self.store, self.model)) + 1)).version
        ensure_signed(self.store, trained_of(run.candidate), subject(self.model, version), self.sign)
        return run

    def signed(self, run_id: str, adapter: str = "", *, full: bool = False) -> Run:
        """Return a run whose candidate was signed and promoted, without MLflow."""
        run = self.registered_by_hand(run_id, adapter, full=full)
        ledger.append(self.store, run.entry(int(run.registered), run.registered))
        self.seal.ensure_signed(int(run.registered))
        return run

    def back(self, to: int | None = None, *, signs: bool = False) -> LedgerEntry:
        """Roll back as with ``--config``, and with ``signs`` as with ``--private-key``."""
        return rollback(
            self.store, self.model, to=to, reason="worse", who="ann", tracking_uri=self.settings.tracking_uri,
            seal=self.seal, signs=signs,
        )

    def bundle(self, run: Run) -> str:
        """Return the store key of the signature of a run's files."""
        return bundle_key(trained_of(run.candidate), subject(self.model, run.registered))
