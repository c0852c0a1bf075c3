"""Signatures of the promotion ledger, and what may be served.

A signature covers the whole ledger of a model up to a generation: ``signatures/<model>/<generation>.json`` lists
``000001.json`` to that generation by digest. So an entry that was changed, removed, put in another's place or
repeated under a new number is none that was signed. The stages ``register`` and ``promote`` have the private key, the
stage ``deploy`` has not; what it appends is accepted unsigned as far as it follows from what is signed: a withdrawal,
and the return from a signed promotion to the generation before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thinksafe.config.sign import SignSettings
from thinksafe.digests import digest_bytes, digest_json
from thinksafe.errors import ConfigError, MissingError, SignatureError
from thinksafe.models.references import Trained
from thinksafe.registry import ledger
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.registration import trained_of
from thinksafe.run.record import StageRecord, find_record, list_records
from thinksafe.signing.bundles import SIGN_AGAIN, sign_files, verify_files
from thinksafe.signing.signers import Trust, signer, trust_of
from thinksafe.signing.trained import require_signed, subject
from thinksafe.store import Store

MADE_LATER = ("promote", "deploy", "report")
"""Stages whose records a promotion cannot name: they end after it."""


@dataclass(frozen=True)
class Seal:
    """Signs a model's ledger, and says what of it is authentic.

    Args:
        store: Holds the ledger.
        model: Registered model.
        settings: Who signs, and whose signatures count.
    """

    store: Store
    model: str
    settings: SignSettings

    @property
    def trust(self) -> Trust:
        return trust_of(self.settings)

    def require_history(self, generations: int | None = None) -> None:
        """Check the ledger as :meth:`entries` does, for one who is about to sign; without any signature it passes.

        What was written before signing was turned on has none.

        Args:
            generations: How many of its entries; all by default.

        Raises:
            SignatureError, StoreError: see :meth:`entries`.
        """
        if self._signed(generations):
            self.entries(generations)

    def entries(self, generations: int | None = None) -> list[LedgerEntry]:
        """Return the ledger, oldest first, of which each entry is signed or follows from what is.

        Args:
            generations: How many of its entries; all by default.

        Raises:
            SignatureError: it is not signed, not by a trusted signer, an entry differs or is missing, or one that needs
                a signature has none; names it.
            StoreError: an entry is malformed, or the store failed.
        """
        signed, past = self._signed(generations), ledger.entries(self.store, self.model)[:generations]
        what = f"the ledger of {self.model!r}"
        if not signed:
            raise SignatureError(
                f"There is no signature of {what}.", "Sign it with `thinksafe sign` if you know where it is from."
            )
        newest = signed[-1]
        if newest > len(past):
            raise SignatureError(
                f"Generation {newest} of {self.model!r} was signed, and the ledger ends at {len(past)}.", SIGN_AGAIN
            )
        self.signed_by(newest)
        for place in range(newest, len(past)):
            if not follows(past[:place], past[place]):
                raise SignatureError(
                    f"{self.store.uri(ledger.entry_key(self.model, place + 1))} is not signed: "
                    f"{ledger.describe(past[place])}.",
                    SIGN_AGAIN,
                )
        return past

    def signed_by(self, generation: int) -> str:
        """Return who signed the ledger up to a generation. Raises SignatureError and StoreError."""
        bundle = self.store.get(signature_key(self.model, generation))
        return verify_files(bundle, self._files(generation), self.model, self.trust, f"the ledger of {self.model!r}")

    def require_servable(self, generation: int | None = None) -> LedgerEntry:
        """Return a generation, by default the newest, if it and the files that it names are signed.

        Raises:
            SignatureError: see :meth:`entries`, or the files are not signed as this version.
            StoreError: an entry or file is missing or malformed, or the store failed.
        """
        entry = self.entries()[(generation or 0) - 1]
        self.require_files(trained_of(entry.target), entry.version)
        return entry

    def require_files(self, trained: Trained, version: str) -> str:
        """Return who signed what was trained as a version of the model. Raises SignatureError and StoreError."""
        return require_signed(self.store, trained, subject(self.model, version), self.trust)

    def require_signer(self) -> None:
        """Check that the private key is there and that its signatures count today, before anything is written.

        With Sigstore only the former: each signature goes into its public log.

        Raises:
            ConfigError: the private key is missing or unsuitable.
            SignatureError: the signer is none of the trusted ones, or not today.
            StageError: Sigstore failed.
        """
        if self.settings.kind == "keyless":
            with signer(self.settings):
                return
        trial, what = {"trial": digest_bytes(b"")}, "a trial of the private key"
        verify_files(sign_files(trial, "trial", self.settings), trial, "trial", self.trust, what)

    def ensure_signed(self, generation: int) -> None:
        """Sign the ledger up to a generation, unless a trusted signer has.

        Raises:
            SignatureError: what was signed before does not verify, or the signer is none of the trusted ones.
            ConfigError: the private key is missing or unsuitable.
            StageError: Sigstore failed, or the store did.
        """
        try:
            self.signed_by(generation)
        except (MissingError, SignatureError):
            self.require_history(generation - 1)
            self.sign(generation)

    def sign(self, generation: int) -> str:
        """Sign the ledger up to a generation as it is, and return the digest of the signature.

        Raises:
            SignatureError: the signer is none of the trusted ones, or not today.
            ConfigError: the private key is missing or unsuitable.
            StageError: Sigstore failed, or the store did.
        """
        files = self._files(generation)
        bundle = sign_files(files, self.model, self.settings)
        verify_files(bundle, files, self.model, self.trust, f"the ledger of {self.model!r}")
        self.store.put(signature_key(self.model, generation), bundle)
        return digest_bytes(bundle)

    def _files(self, generations: int) -> dict[str, str]:
        """Return the digests of the entries by their names below the ledger's folder."""
        keys = [ledger.entry_key(self.model, number) for number in range(1, generations + 1)]
        return {key.rpartition("/")[2]: digest_bytes(self.store.get(key)) for key in keys}

    def _signed(self, generations: int | None = None) -> list[int]:
        """Return the generations with a signature, in order; objects that are none are left out."""
        names = [key.rpartition("/")[2].removesuffix(".json") for key in signature_keys(self.store, self.model)]
        found = sorted(int(name) for name in names if name.isdecimal() and int(name))
        return found if generations is None else [number for number in found if number <= generations]


def signature_key(model: str, generation: int) -> str:
    """Return the store key of the signature of a ledger up to a generation. Raises ConfigError for a bad name."""
    return f"signatures/{ledger.entry_key(model, generation).removeprefix('promotions/')}"


def signature_keys(store: Store, model: str) -> list[str]:
    """Return the store keys of all signatures of a ledger. Raises ConfigError for a bad name, StoreError."""
    return list(store.keys(f"{signature_key(model, 1).rpartition('/')[0]}/"))


def follows(past: Sequence[LedgerEntry], entry: LedgerEntry) -> bool:
    """Return whether an entry needs no signature, because it only takes back what is signed.

    Args:
        past: All generations before it, of which each is signed or follows.
        entry: The next generation.
    """
    from thinksafe.registry.rollback import earlier

    if entry.action == "withdraw":
        return entry.target == past[-1].target and entry.version == past[-1].version
    if entry.action != "rollback" or past[-1].action != "promote":
        return False
    try:
        target = earlier(list(past))
    except ConfigError:
        return False
    same = ("target", "version", "run_id", "digests", "waivers", "approvals")
    return all(getattr(entry, name) == getattr(target, name) for name in same)


def evidence_of(store: Store, run_id: str) -> dict[str, str]:
    """Return the digests of a run's stage records, by task: what provenance and report are made from.

    Of each record the verdict and the digests of all inputs and outputs count; times and counts of work that was found
    done differ when a run is resumed.
    """
    found = list_records(store, run_id).found
    return {task: _evidence(record) for task, record in sorted(found.items()) if record.stage not in MADE_LATER}


def changed_evidence(store: Store, entry: LedgerEntry) -> list[str]:
    """Return the tasks whose records are not, or no longer, what a ledger entry names."""
    return [
        task for task, digest in entry.digests.evidence.items()
        if (record := find_record(store, entry.run_id, task)) is None or _evidence(record) != digest
    ]


def _evidence(record: StageRecord) -> str:
    return digest_json({"verdict": record.verdict, "inputs": record.inputs, "outputs": record.outputs})
