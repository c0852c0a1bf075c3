"""What training made of a student (:class:`thinksafe.models.references.Trained`), in the store and fetched from it.

The files are below the place of the store that the reference names, and nothing else is: the digest over all of them
must be the reference's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from thinksafe.digests import digest_file, digest_files
from thinksafe.errors import DamagedError, MissingError
from thinksafe.models.references import Trained
from thinksafe.store import Store

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""The files of an adapter."""


def fetch_trained(store: Store, trained: Trained, folder: Path, *, checked: bool = True) -> Path:
    """Copy the files from the store into ``folder`` and return it.

    Args:
        store: Holds the files.
        trained: What was trained.
        folder: Where to.
        checked: Require that together they have the digest of what was trained.

    Raises:
        MissingError: there are none.
        DamagedError: they are not those that were trained.
        StoreError: the store failed.
    """
    names = _names(store, trained)
    for name in names:
        store.get_file(f"{trained.place}/{name}", folder / name)
    if checked:
        check_files(store, trained, {name: digest_file(folder / name) for name in names})
    return folder


def verify_trained(store: Store, trained: Trained) -> None:
    """Check that the files are in the store and have the digest, one at a time. Raises as :func:`fetch_trained`."""
    trained_files(store, trained)


def trained_files(store: Store, trained: Trained, *, checked: bool = True) -> dict[str, str]:
    """Return the digest of each file in the store, by its name, read one at a time.

    Args:
        store: Holds the files.
        trained: What was trained.
        checked: Require that together they have the digest of what was trained.

    Raises:
        MissingError: there are none.
        DamagedError: they are not those that were trained.
        StoreError: the store failed.
    """
    found = {}
    for name in _names(store, trained):
        with tempfile.TemporaryDirectory() as folder:
            store.get_file(f"{trained.place}/{name}", Path(folder) / "file")
            found[name] = digest_file(Path(folder) / "file")
    if checked:
        check_files(store, trained, found)
    return found


def weights_folder(store: Store, trained: Trained) -> Path:
    """Return a local folder with all weights: that of a local store, or a copy in the cache of ``s3://`` students.

    Raises:
        DamagedError: they are not those that were trained.
        StoreError: the store failed.
    """
    address = store.uri(trained.place)
    names = _names(store, trained)
    if address.startswith("s3://"):
        from thinksafe.store.remote import local_folder

        folder = local_folder(address)
    else:
        folder = Path(address)
    check_files(store, trained, {name: digest_file(folder / name) for name in names})
    return folder


def check_files(store: Store, trained: Trained, found: Mapping[str, str]) -> None:
    """Check the digests of files, by name, against that of what was trained. Raises DamagedError."""
    if digest_files(found) != trained.digest:
        raise DamagedError(
            f"What is at {store.uri(trained.place)} is not what was trained (digest differs).",
            "Delete the folder, then start the run again.",
        )


def _names(store: Store, trained: Trained) -> list[str]:
    prefix = f"{trained.place}/"
    names = [key.removeprefix(prefix) for key in store.keys(prefix)]
    if not names:
        raise MissingError(f"There is nothing at {store.uri(trained.place)}.", "Start the run again from training.")
    return names
