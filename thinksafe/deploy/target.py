"""What to serve: one generation of the ledger, in the form that the manifests need."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from thinksafe.config.deploy import DeploySettings
from thinksafe.config.sign import SignSettings
from thinksafe.errors import ConfigError, StoreError, ThinkSafeError
from thinksafe.models.ranks import max_lora_rank
from thinksafe.models.references import FOLDERS, NOUNS, Trained
from thinksafe.models.trained import check_files, fetch_trained
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.registration import trained_of
from thinksafe.settings import Parameters
from thinksafe.store import Store
from thinksafe.training.trained_store import TrainedManifest

if TYPE_CHECKING:
    from thinksafe.signing.signers import Trust

_ADDRESS = re.compile(rf"(?P<root>.*[^/])/(?P<place>(?P<folder>{'|'.join(FOLDERS.values())})/.+)")


@dataclass(frozen=True)
class Target:
    """One generation, ready to be served."""

    generation: int
    run_id: str
    version: str
    parameters: Parameters
    """``lora``: an adapter on top of the student. ``full``: weights in its place."""
    place: str
    """Address of the folder: ``s3://bucket/prefix/adapters/...`` or ``s3://bucket/prefix/weights/...``."""
    digest: str
    """Digest over its files."""
    size: int
    """Bytes of all weights; 0 for an adapter, which is small."""
    rank: int
    """Smallest ``max_lora_rank`` of vLLM that covers the adapter's rank; 0 without an adapter."""
    model: str
    """Where vLLM loads the student from."""
    revision: str
    """Commit of a hub id; empty for a folder."""
    dtype: str
    trust_remote_code: bool
    signed_as: str = ""
    """What the files must be signed as; empty where nothing is signed."""
    sign: str = ""
    """Whose signatures count, as JSON, for the init container."""

    @property
    def noun(self) -> str:
        """``adapter`` or ``weights``."""
        return NOUNS[self.parameters]

    @property
    def path(self) -> str:
        """Path of the files in the pod; its digest identifies the served model."""
        return f"/{FOLDERS[self.parameters]}/{self.digest}"


def target_of(
    store: Store, entry: LedgerEntry, settings: DeploySettings, sign: SignSettings | None = None
) -> Target:
    """Return a generation as a target. Reads the adapter's configuration, or the size of all weights, from the store.

    Args:
        store: Holds what is served.
        entry: The generation.
        settings: Where and how to serve.
        sign: Whose signatures the pods accept; None where nothing is signed.

    Raises:
        ConfigError: a pod cannot read this store.
        StoreError: the adapter's configuration or the manifest of the weights is missing or malformed, or vLLM does not
            support the adapter's rank.
    """
    trained = trained_of(entry.target)
    address = store.uri(trained.place)
    if not address.startswith("s3://"):
        raise ConfigError(
            f"A pod cannot read {address}, which it would serve.", "Roll out from a store at s3://bucket/prefix."
        )
    rank, size = (_rank(store, trained), 0) if trained.parameters == "lora" else (0, _size(store, trained))
    student = entry.target.student
    own = not settings.model or settings.model == student.model
    return Target(
        generation=entry.generation, run_id=entry.run_id, version=entry.version,
        parameters=trained.parameters, place=address,
        digest=trained.digest, size=size, rank=rank, model=settings.model or student.model,
        revision=student.revision if own else "", dtype=student.dtype, trust_remote_code=student.trust_remote_code,
        **(_signed(entry, sign) if sign is not None else {}),
    )


def _signed(entry: LedgerEntry, sign: SignSettings) -> dict[str, str]:
    from thinksafe.signing.trained import subject

    public = sign.model_dump_json(include={"kind", "trust_config", "trusted"}, exclude_defaults=True)
    return {"signed_as": subject(entry.model, entry.version), "sign": public}


def _rank(store: Store, trained: Trained) -> int:
    key = f"{trained.place}/adapter_config.json"
    try:
        return max_lora_rank(json.loads(store.get(key))["r"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{store.uri(key)} contains no rank.", "Start the run again from training.") from error


def _size(store: Store, trained: Trained) -> int:
    key = f"{trained.place.rpartition('/')[0]}/manifest.json"
    try:
        return TrainedManifest.model_validate_json(store.get(key)).size
    except ValidationError as error:
        raise StoreError(f"{store.uri(key)} is no manifest.", "Start the run again from training.") from error


def fetch(address: str, digest: str, folder: Path, signed_as: str = "", sign: str = "") -> None:
    """Copy an adapter, or all weights, into a folder and check them: the work of the init container.

    Args:
        address: ``ROOT/adapters/KEY/DIGEST`` or ``ROOT/weights/KEY/DIGEST``, below the root of a store.
        digest: Digest over the files.
        folder: Created here; vLLM loads from it.
        signed_as: What the files must be signed as; empty where nothing is signed.
        sign: Whose signatures count, as JSON.

    Raises:
        ConfigError: the address is not of that form, ``sign`` is not a section of that name, or only one of
            ``signed_as`` and ``sign`` is given.
        SignatureError, StoreError: see :func:`release`.
    """
    from thinksafe.store import open_store

    found = _ADDRESS.fullmatch(address.rstrip("/"))
    if found is None:
        raise ConfigError(
            f"{address[:200]!r} is not the address of an adapter or of weights.",
            "Write s3://bucket/prefix/adapters/KEY/DIGEST or s3://bucket/prefix/weights/KEY/DIGEST.",
        )
    if bool(signed_as) != bool(sign):
        raise ConfigError("Only one of --signed-as and --sign is given.", "Give both, or neither.")
    trust = None
    if sign:
        from thinksafe.signing.signers import trust_of

        try:
            trust = trust_of(SignSettings.model_validate_json(sign))
        except ValidationError as error:
            raise ConfigError("--sign is not the JSON of a section sign.", "The stage deploy writes it.") from error
    parameters = next(kind for kind, name in FOLDERS.items() if name == found["folder"])
    release(open_store(found["root"]), Trained(parameters, found["place"], digest), folder, signed_as, trust)


def release(
    store: Store, trained: Trained, folder: Path, signed_as: str = "", trust: Trust | None = None
) -> None:
    """Copy what was trained out of the store, to be served or given away, and check it.

    Whatever leaves the store goes through here: serving pods (``fetch-trained``) and ``thinksafe export``.

    Args:
        store: Holds it.
        trained: Its place and digest.
        folder: Created here.
        signed_as: What it must be signed as (:func:`thinksafe.signing.trained.subject`).
        trust: Whose signatures count; None where nothing is signed.

    Raises:
        SignatureError: it is not signed by a trusted signer, or a file differs; the folder is removed then.
        StoreError: there are no files, or they are not those that the digest names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if trust is None:
        fetch_trained(store, trained, folder)
        return
    from thinksafe.signing.trained import folder_files, require_signed

    try:
        # what is verified is what was copied; the signature names the file that differs, so it comes first
        files = folder_files(fetch_trained(store, trained, folder, checked=False))
        require_signed(store, trained, signed_as, trust, files)
        check_files(store, trained, files)
    except ThinkSafeError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
