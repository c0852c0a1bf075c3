"""Signatures of adapters and weights: beside the folder in the store, and bound to one model version.

The bundle of ``adapters/<key>/<digest>`` as version 3 of the model ``m`` is
``adapters/<key>/<digest>.signatures/m@3.json``. Its statement lists the folder's files, and its subject is ``m@3``: the
same adapter as another version, or another adapter as this one, is not what was signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from thinksafe.config.sign import SignSettings
from thinksafe.digests import digest_bytes
from thinksafe.errors import InputError, MissingError, SignatureError
from thinksafe.models.references import Trained
from thinksafe.models.trained import trained_files
from thinksafe.signing.bundles import SIGN_AGAIN, sign_files, subject_of, verify_files
from thinksafe.signing.signers import Trust, trust_of
from thinksafe.store import Store

BUNDLE = "model.sig"
"""File of a folder on this machine that holds its signature, as the library's own command names it."""


def subject(model: str, version: str) -> str:
    """Return what a version's files are signed as."""
    return f"{model}@{version}"


def bundle_key(trained: Trained, signed_as: str) -> str:
    """Return the store key of the signature of what was trained as a subject."""
    return f"{trained.place}.signatures/{signed_as}.json"


def sign_trained(store: Store, trained: Trained, signed_as: str, settings: SignSettings) -> str:
    """Sign what was trained, in place of an earlier signature; return the digest of the new one.

    Args:
        store: Holds the files, and gets the signature.
        trained: What to sign; its files are verified first.
        signed_as: See :func:`subject`.
        settings: Who signs, and whose signatures count.

    Raises:
        SignatureError: the signature does not count: the signer is none of the trusted ones, or not today.
        StoreError: the files are missing or changed.
        ConfigError: the private key is missing or unsuitable.
        StageError: Sigstore failed.
    """
    files = trained_files(store, trained)
    bundle = sign_files(files, signed_as, settings)
    verify_files(bundle, files, signed_as, trust_of(settings), store.uri(trained.place))
    store.put(bundle_key(trained, signed_as), bundle)
    return digest_bytes(bundle)


def ensure_signed(store: Store, trained: Trained, signed_as: str, settings: SignSettings) -> str:
    """Sign what was trained, unless a trusted signer has; otherwise as :func:`sign_trained`."""
    try:
        require_signed(store, trained, signed_as, trust_of(settings))
    except SignatureError:
        return sign_trained(store, trained, signed_as, settings)
    return digest_bytes(store.get(bundle_key(trained, signed_as)))


def require_signed(
    store: Store, trained: Trained, signed_as: str, trust: Trust, files: Mapping[str, str] | None = None
) -> str:
    """Check that a trusted signer signed what was trained as a subject, and return the signer's name.

    Args:
        store: Holds files and signature.
        trained: What was trained.
        signed_as: See :func:`subject`.
        trust: Whose signatures count.
        files: SHA-256 of the files by name, where they were read already.

    Raises:
        SignatureError: it is not signed, or not by a trusted signer, or a file differs.
        StoreError: the files are missing or the store failed.
    """
    what = store.uri(trained.place)
    try:
        bundle = store.get(bundle_key(trained, signed_as))
    except MissingError as error:
        raise SignatureError(
            f"{what} is not signed as {signed_as!r}.", "Sign it with `thinksafe sign` if you know where it is from."
        ) from error
    if files is None:
        files = trained_files(store, trained, checked=False)
    return verify_files(bundle, files, signed_as, trust, what)


def folder_files(folder: Path, without: Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of all files of a folder by name, hidden ones too.

    Args:
        folder: The folder.
        without: A file to leave out, if it is in the folder: its signature.

    Raises:
        SignatureError: a link or special file is in the folder.
        InputError: a file cannot be read.
    """
    from model_signing import hashing

    left_out = []
    if without is not None and without.absolute().is_relative_to(folder.absolute()):
        left_out = [without.absolute().relative_to(folder.absolute())]
    config = hashing.Config().set_ignored_paths(paths=left_out, ignore_git_paths=False)
    try:
        found = config.hash(folder)
    except ValueError as error:
        strange = [path for path in (folder, *folder.rglob("*")) if path.is_symlink() or not _plain(path)]
        named = strange[0] if strange else folder
        raise SignatureError(f"{named} is a link or a special file, which no signature covers.", SIGN_AGAIN) from error
    except OSError as error:
        raise InputError(f"Cannot read {error.filename}: {error.strerror}.", "Check the folder.") from error
    return {item.identifier: item.digest.digest_hex for item in found.resource_descriptors()}


def verify_folder(folder: Path, signature: Path, signed_as: str, trust: Trust) -> tuple[str, str]:
    """Check a folder on this machine against its signature; return the signer's name and what it was signed as.

    Args:
        folder: The files.
        signature: The bundle.
        signed_as: What it has to be; empty for anything.
        trust: Whose signatures count.

    Raises:
        SignatureError: see :func:`thinksafe.signing.bundles.verify_files`, or there is no signature.
        InputError: a file cannot be read.
    """
    if not signature.is_file():
        raise SignatureError(f"{folder} has no signature: there is no file {signature}.", "Name it with --signature.")
    bundle = signature.read_bytes()
    name = verify_files(bundle, folder_files(folder, signature), signed_as, trust, str(folder))
    return name, subject_of(bundle, str(folder))


def _plain(path: Path) -> bool:
    return path.is_file() or path.is_dir()
