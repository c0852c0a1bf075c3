"""What a store must do: atomic objects under POSIX-like keys, with conditional create.

The protocol is the part of S3 that the pipeline needs. An object is either wholly there or not there; ``create``
succeeds for exactly one of any number of racing writers (S3: ``If-None-Match: *``), which is what the promotion
ledger stands on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from thinksafe.errors import ConfigError


class Store(Protocol):
    """Objects under keys such as ``chunks/<digest>/00001.jsonl`` relative to the store's root."""

    @property
    def root(self) -> str:
        """Root as the user wrote it: a folder or ``s3://bucket/prefix``."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object's content. Raises StoreError when it is missing or unreadable."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object atomically, replacing an older one. Raises StoreError."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Write an object only if none exists. Raises ConflictError when one does, else as ``put``."""
        ...

    def exists(self, key: str) -> bool:
        """Return whether an object is there."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with ``prefix``, sorted."""
        ...

    def tags(self, prefix: str) -> dict[str, str]:
        """Return for each key that starts with ``prefix`` a short text that changes when the object does."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Write a file's content as an object, without reading it whole."""
        ...

    def get_file(self, key: str, path: Path) -> None:
        """Write an object's content to a file atomically, without reading it whole."""
        ...

    def uri(self, key: str) -> str:
        """Return the address of a key outside the store: a path or an ``s3://`` URI."""
        ...


def open_store(root: str) -> Store:
    """Open the store at ``root``: a local folder (created when missing) or ``s3://bucket/prefix``.

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

        return S3Store(root)
    raise ConfigError(
        f"The artifact store {root!r} has a scheme that is not supported.", "Use a folder or s3://bucket/prefix."
    )
