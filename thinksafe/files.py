"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp-"
"""Prefix of the names of unfinished files; no object of a store is called so."""


@contextmanager
def writing(path: Path, *, new: bool = False, mode: int = 0o666, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file that gets its name when the block ends; after an error nothing is left of it.

    Args:
        path: Its name. Folders above it are made.
        new: Refuse to replace a file of that name, also one that another process made meanwhile.
        mode: Who may read it, less the umask.
        durable: Wait for the disk before the file gets its name.

    Raises:
        FileExistsError: there is something of that name, and ``new``.
        OSError: disk full, no access.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        if new:
            os.link(partial, path)  # fails when the name exists
        else:
            os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
