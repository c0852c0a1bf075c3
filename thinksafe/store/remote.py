"""Files and folders that a config names by ``s3://``: copied next to the work, verified, cached by content."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thinksafe.digests import digest_json
from thinksafe.errors import InputError, StoreError
from thinksafe.files import TEMPORARY
from thinksafe.store.base import open_store

SCHEME = "s3://"


@contextmanager
def local_file(address: str) -> Iterator[Path]:
    """Yield a local path for a path or an ``s3://`` object; the copy is gone afterwards.

    Raises:
        InputError: the address names no object.
        StoreError: the object is missing or cannot be read.
    """
    if not address.startswith(SCHEME):
        yield Path(address)
        return
    parent, _, name = address.rpartition("/")
    if not name or parent + "/" == SCHEME:
        raise InputError(f"{address!r} does not name an object.", "Write s3://bucket/folder/file.jsonl.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object"
        open_store(parent, foreign=True).get_file(name, path)
        yield path


def local_folder(address: str) -> Path:
    """Return a local copy of an ``s3://`` prefix, from the cache when nothing changed.

    The cache (``THINKSAFE_CACHE``, else ``$XDG_CACHE_HOME/thinksafe``) is keyed by the names and entity tags of the
    objects, so a changed object is noticed; a copy is complete before it gets its name.

    Raises:
        InputError: there are no objects below the prefix.
        StoreError: the bucket cannot be read, an object changed while it was copied, or the disk is full.
    """
    store = open_store(address, foreign=True)
    tags = store.tags("")
    if not tags:
        raise InputError(f"There is nothing below {address}.", "Check the address and that the upload is complete.")
    root = os.environ.get("THINKSAFE_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "thinksafe"
    )
    folder = Path(root) / "s3" / digest_json([address, tags])
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder.parent))
    except OSError as error:
        raise StoreError(
            f"Could not write to the cache {root}: {error.strerror or error}.", "Set THINKSAFE_CACHE to another folder."
        ) from error
    try:
        for key in tags:
            store.get_file(key, partial / key)
        # otherwise a changed object would be cached under the tags of its old content
        if store.tags("") != tags:
            raise StoreError(f"{address} changed while it was copied.", "Start again when the upload is complete.")
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process may have made the same copy first
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
