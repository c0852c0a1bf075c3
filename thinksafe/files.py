"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp-"
"""Prefix of the names of unfinished files; no object of a store has such a name."""


@contextmanager
def writing(path: Path, *, new: bool = False, mode: int = 0o666, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file that gets its name when the block ends; after an error no trace of it is left.

    Args:
        path: Name of the file. Parent folders are created.
        new: Do not replace an existing file, not even one that another process has just made.
        mode: Permissions, before the umask.
        durable: Sync to disk before the file gets its name.

    Raises:
        FileExistsError: The name exists and ``new`` is set.
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
            os.link(partial, path)  # fails if the name exists
        else:
            os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
