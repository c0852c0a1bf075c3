"""A store in a local folder, with the guarantees of an object store.

Atomicity comes from writing beside the target and renaming (replace) or hard-linking (create: ``link`` fails when the
name exists, also between processes). Data is flushed to disk before it gets its name, so a kill or a full disk
leaves either the old object or none.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from thinksafe.errors import ConflictError, StoreError

TEMPORARY = ".tmp-"
"""Prefix of unfinished files; never listed, and safe to delete when nothing is running."""
_PLAIN = re.compile(r"[^\\\x00-\x1f\x7f\ud800-\udfff]+")


class LocalStore:
    """Objects as files below a folder; see :class:`thinksafe.store.base.Store`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def root(self) -> str:
        return str(self._folder)

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except OSError as error:
            raise self._failure("read", key, error) from error

    def put(self, key: str, data: bytes) -> None:
        self._write(key, lambda stream: _write_all(stream, data), replace=True)

    def create(self, key: str, data: bytes) -> None:
        self._write(key, lambda stream: _write_all(stream, data), replace=False)

    def exists(self, key: str) -> bool:
        try:
            return self._path(key).is_file()
        except OSError as error:
            raise self._failure("look up", key, error) from error

    def keys(self, prefix: str) -> list[str]:
        parent = prefix.rpartition("/")[0]
        start = self._path(parent) if parent or prefix.startswith("/") else self._folder
        if not start.is_dir():
            return []
        found = (
            path.relative_to(self._folder).as_posix()
            for path in start.rglob("*")
            if path.is_file() and not path.name.startswith(TEMPORARY)
        )
        return sorted(key for key in found if key.startswith(prefix))

    def tags(self, prefix: str) -> dict[str, str]:
        found = {}
        for key in self.keys(prefix):
            status = self._path(key).stat()
            found[key] = f"{status.st_size}-{status.st_mtime_ns}"
        return found

    def put_file(self, key: str, path: Path) -> None:
        def copy(stream: BinaryIO) -> None:
            with path.open("rb") as source:
                shutil.copyfileobj(source, stream, 1 << 20)

        self._write(key, copy, replace=True)

    def get_file(self, key: str, path: Path) -> None:
        partial = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._path(key), partial)
            os.replace(partial, path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise self._failure("read", key, error) from error

    def uri(self, key: str) -> str:
        return str(self._path(key).absolute())

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        # one object must have one key, so the spellings that a file system would take for the same file are refused
        if any(part in ("", ".", "..") or part.startswith(TEMPORARY) for part in parts) or not _PLAIN.fullmatch(key):
            raise StoreError(
                f"The store key {key[:200]!r} is not a relative path of plain names.",
                "Use keys such as runs/<run>/<task>.json.",
            )
        return self._folder.joinpath(*parts)

    def _write(self, key: str, fill: Callable[[BinaryIO], None], *, replace: bool) -> None:
        target = self._path(key)
        partial = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("xb") as stream:
                fill(stream)
                stream.flush()
                os.fsync(stream.fileno())
            if replace:
                os.replace(partial, target)
            else:
                os.link(partial, target)
        except OSError as error:
            # a folder of that name, or an object in the place of a parent folder, also "exists"
            if not replace and isinstance(error, FileExistsError) and target.is_file():
                raise ConflictError(
                    f"The object {key!r} already exists in {self.root}.", "Read it and decide again."
                ) from error
            raise self._failure("write", key, error) from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _failure(self, verb: str, key: str, error: OSError) -> StoreError:
        action = {
            errno.ENOSPC: "Free disk space and start the same command again; finished work is kept.",
            errno.EDQUOT: "Raise the disk quota and start the same command again; finished work is kept.",
            errno.ENOENT: "It was deleted or never written; start the run again.",
            errno.EACCES: "Give this user access to the folder.",
        }.get(error.errno or 0, "Check the disk and start the same command again.")
        return StoreError(f"Could not {verb} {key!r} in {self.root}: {error.strerror or error}.", action)


def _write_all(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)
