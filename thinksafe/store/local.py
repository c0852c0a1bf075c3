"""A store in a local folder, with the guarantees of an object store.

Atomicity comes from writing beside the target and renaming (replace) or hard-linking (create: ``link`` fails when the
name exists, also between processes). Data is flushed to disk before it gets its name, so a kill or a full disk
leaves either the old object or none.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from thinksafe.digests import BLOCK
from thinksafe.errors import ConflictError, MissingError, StoreError
from thinksafe.files import writing
from thinksafe.store.base import check_folder, check_key, check_prefix, is_listed

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})


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

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink()
        except OSError as error:
            if error.errno not in _ABSENT:
                raise self._failure("delete", key, error) from error

    def keys(self, prefix: str) -> list[str]:
        check_prefix(prefix)
        start = self._folder / prefix.rpartition("/")[0]
        if not start.is_dir():
            return []

        def unreadable(error: OSError) -> None:
            raise self._failure("list", prefix, error) from error

        found: list[str] = []
        # unlike rglob, walk can report folders that it may not read
        for folder, _, names in os.walk(start, onerror=unreadable):
            below = Path(folder).relative_to(self._folder).as_posix()
            found += names if below == "." else [f"{below}/{name}" for name in names]
        return sorted(key for key in found if key.startswith(prefix) and is_listed(key))

    def folders(self, folder: str) -> list[str]:
        check_folder(folder)
        try:
            with os.scandir(self._folder / folder) as found:
                names = [item.name for item in found if item.is_dir() and is_listed(item.name)]
        except OSError as error:
            if error.errno in _ABSENT:
                return []
            raise self._failure("list", folder, error) from error
        return sorted(names)

    def tags(self, prefix: str) -> dict[str, str]:
        found = {}
        for key in self.keys(prefix):
            try:
                status = os.stat(os.path.join(self._folder, key))
            except FileNotFoundError:  # deleted after it was listed
                continue
            except OSError as error:
                raise self._failure("look up", key, error) from error
            found[key] = f"{status.st_size}-{status.st_mtime_ns}"
        return found

    def put_file(self, key: str, path: Path) -> None:
        def copy(stream: BinaryIO) -> None:
            with path.open("rb") as source:
                shutil.copyfileobj(source, stream, BLOCK)

        self._write(key, copy, replace=True)

    def get_file(self, key: str, path: Path) -> None:
        try:
            source = self._path(key).open("rb")
        except OSError as error:
            raise self._failure("read", key, error) from error
        try:
            with source, writing(path, durable=False) as target:
                shutil.copyfileobj(source, target, BLOCK)
        except OSError as error:
            raise self._failure("copy", key, error) from error

    def uri(self, key: str) -> str:
        return str(self._path(key).absolute())

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._folder.joinpath(*key.split("/"))

    def _write(self, key: str, fill: Callable[[BinaryIO], None], *, replace: bool) -> None:
        target = self._path(key)
        try:
            with writing(target, new=not replace) as stream:
                fill(stream)
        except OSError as error:
            # a folder of that name, or an object in the place of a parent folder, also "exists"
            if not replace and isinstance(error, FileExistsError) and target.is_file():
                raise ConflictError(
                    f"The object {key!r} already exists in {self.root}.", "Read it and decide again."
                ) from error
            raise self._failure("write", key, error) from error

    def _failure(self, verb: str, key: str, error: OSError) -> StoreError:
        action = {
            errno.ENOSPC: "Free disk space and start the same command again; finished work is kept.",
            errno.EDQUOT: "Raise the disk quota and start the same command again; finished work is kept.",
            errno.ENOENT: "It was deleted or never written; start the run again.",
            errno.EACCES: "Give this user access to the folder.",
        }.get(error.errno or 0, "Check the disk and start the same command again.")
        kind = MissingError if verb == "read" and error.errno in _ABSENT else StoreError
        return kind(f"Could not {verb} {key!r} in {self.root}: {error.strerror or error}.", action)


def _write_all(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)
