"""Where the page goes, and how it links to the reports: a folder or ``s3://bucket/prefix``."""

from __future__ import annotations

import posixpath
from pathlib import Path
from urllib.parse import quote

from thinksafe.errors import ConfigError, MissingError, StoreError
from thinksafe.fleet.page import Link
from thinksafe.jsonl import write_atomic
from thinksafe.store import open_store
from thinksafe.store.remote import SCHEME

PAGE, KEPT = "index.html", "read.json"


def write(address: str, data: bytes) -> None:
    """Write a file or an ``s3://`` object.

    Raises:
        ConfigError: the address names no object, or its scheme is not supported.
        StoreError: it cannot be written.
    """
    if not _remote(address):
        try:
            Path(address).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(Path(address), data)
        except OSError as error:
            raise StoreError(
                f"Could not write {address}: {error.strerror or error}.", "Name a place where you may write."
            ) from error
        return
    parent, name = _split(address)
    open_store(parent).put(name, data)


def read(address: str) -> bytes:
    """Return the content of a file or an ``s3://`` object; empty where there is none or it cannot be read."""
    try:
        if not _remote(address):
            return Path(address).read_bytes()
        parent, name = _split(address)
        return open_store(parent).get(name)
    except (OSError, MissingError):
        return b""


def inside(folder: str, name: str) -> str:
    """Return the address of a name in a folder. Raises ConfigError for a scheme that is not supported."""
    return f"{folder.rstrip('/')}/{name}" if _remote(folder) else str(Path(folder) / name)


def links(out: str) -> Link:
    """Return where reports are, seen from a page in ``out``.

    A page links to the reports that are on the same file system or in the same bucket, so that both can be copied
    together. No browser opens an ``s3://`` address.
    """
    def link(root: str, run_id: str) -> str:
        if _remote(out) != _remote(root):
            return ""
        if _remote(out):
            there, here = root.removeprefix(SCHEME), out.removeprefix(SCHEME)
            if there.partition("/")[0] != here.partition("/")[0]:
                return ""
        else:
            there, here = Path(root).absolute().as_posix(), Path(out).absolute().as_posix()
        way = posixpath.relpath(f"/{there.strip('/')}", f"/{here.strip('/')}")
        return quote(f"{way}/reports/{run_id}/report.html")

    return link


def _remote(address: str) -> bool:
    if "://" in address and not address.startswith(SCHEME):
        raise ConfigError(f"{address!r} has a scheme that is not supported.", "Use a path or s3://bucket/name.")
    return address.startswith(SCHEME)


def _split(address: str) -> tuple[str, str]:
    parent, _, name = address.rpartition("/")
    if not name or f"{parent}/" == SCHEME:
        raise ConfigError(f"{address!r} does not name an object.", "Write s3://bucket/folder/name.")
    return parent, name
