"""The interface of stores: atomic objects under POSIX-like keys, with conditional create.

It is the part of S3 that the pipeline needs. An object exists completely or not at all; ``create`` succeeds for
exactly one of several racing writers (S3: ``If-None-Match: *``), and the promotion ledger relies on that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from thinksafe.errors import ConfigError, StoreError
from thinksafe.files import TEMPORARY

REACH_SECONDS = 10.0
LONGEST_KEY, LONGEST_NAME = 700, 255
"""Bytes in UTF-8: S3 ends at 1024 with the root's prefix, file systems at 255 between two slashes."""
_PLAIN = re.compile(r"[^\\\x00-\x1f\x7f\ud800-\udfff]+")


class Store(Protocol):
    """Objects under keys such as ``chunks/<digest>/done.json`` relative to the store's root.

    All stores take the same keys (:func:`check_key`) and raise StoreError for others. Reading raises MissingError only
    where the object is known not to be there, and DamagedError where it is not what was written; anything else that
    goes wrong is a plain StoreError.
    """

    @property
    def root(self) -> str:
        """Root as the user wrote it: a folder or ``s3://bucket/prefix``."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object's content. Raises MissingError, DamagedError or StoreError."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object atomically, replacing an older one. Raises StoreError."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Write an object only if none exists. Raises ConflictError when one does, else as ``put``."""
        ...

    def exists(self, key: str) -> bool:
        """Return whether an object exists. Raises StoreError if that is unknown."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object; a missing one is not an error."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with ``prefix``, sorted, without markers of empty folders."""
        ...

    def folders(self, folder: str) -> list[str]:
        """Return the names directly below ``folder`` (``runs/``) below which there are objects, sorted.

        An empty folder may be among them. It takes as long as there are names, however many objects are below each.
        """
        ...

    def tags(self, prefix: str) -> dict[str, str]:
        """Return for each key that starts with ``prefix`` a short text that changes when the object does."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Write a file's content as an object, without reading it whole."""
        ...

    def get_file(self, key: str, path: Path) -> None:
        """Write an object's content to a file atomically, without holding it in memory. Raises as ``get``."""
        ...

    def uri(self, key: str) -> str:
        """Return the address of a key outside the store: a path or an ``s3://`` URI."""
        ...


def check_key(key: str) -> None:
    """Raise StoreError for a key that some store would refuse or confuse with another.

    One object must have one key, so the spellings that a file system would take for the same file are refused: empty
    names, ``.`` and ``..``, a slash in front or behind.
    """
    _check_names(key)
    if len(key.encode()) > LONGEST_KEY or max(len(name.encode()) for name in key.split("/")) > LONGEST_NAME:
        raise StoreError(
            f"The store key {key[:200]!r} is too long.",
            f"Use at most {LONGEST_KEY} bytes, and {LONGEST_NAME} between two slashes.",
        )


def check_prefix(prefix: str) -> None:
    """Raise StoreError for a text with which no key can start. Every key starts with the empty text."""
    folder, slash, name = prefix.rpartition("/")
    if slash:
        _check_names(folder)
    if name:
        _check_names(f"{name}_")  # "." may go on to be a plain name


def check_folder(folder: str) -> None:
    """Raise StoreError for a text that does not name a folder, as ``runs/`` does. The empty text is the root."""
    if folder and not folder.endswith("/"):
        raise StoreError(f"{folder[:200]!r} is not a folder.", "Write it with a slash at the end.")
    check_prefix(folder)


def _check_names(key: str) -> None:
    names = key.split("/")
    if any(name in ("", ".", "..") or name.startswith(TEMPORARY) for name in names) or not _PLAIN.fullmatch(key):
        raise StoreError(
            f"The store key {key[:200]!r} is not a relative path of plain names.",
            "Use keys such as runs/<run>/<task>.json.",
        )


def is_listed(key: str) -> bool:
    """Return whether a listing shows a key: not the marker of an empty folder, not an unfinished file."""
    return not key.endswith("/") and not key.rpartition("/")[2].startswith(TEMPORARY) and key != ""


def open_store(root: str, *, foreign: bool = False) -> Store:
    """Open the store at ``root``: a local folder (created when missing) or ``s3://bucket/prefix``.

    Args:
        root: Folder or address.
        foreign: People fill it with other tools (prompts, students, guards), so its objects need not have the digest
            that this project's own objects must have in S3.

    Raises:
        ConfigError: the root is empty, or its scheme is not supported.
    """
    if not root:
        raise ConfigError("There is no artifact store.", "Name a folder or s3://bucket/prefix.")
    if "://" not in root:
        from thinksafe.store.local import LocalStore

        return LocalStore(Path(root))
    if root.startswith("s3://"):
        from thinksafe.store.s3 import S3Store

        return S3Store(root, foreign=foreign)
    raise ConfigError(
        f"The artifact store {root!r} has a scheme that is not supported.", "Use a folder or s3://bucket/prefix."
    )


def check_reachable(root: str) -> None:
    """List the store once, so that a wrong address or key shows before any work, not after minutes of retries.

    Raises:
        ConfigError: the root is malformed, or there are no credentials.
        StoreError: the server does not answer within some seconds, or refuses.
    """
    if root.startswith("s3://"):
        from thinksafe.store.s3 import S3Store

        S3Store(root, retry_seconds=REACH_SECONDS).keys("runs/none/")
