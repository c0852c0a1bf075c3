"""Manifests of chunked rows: what sample, judge and grade pass on instead of the rows.

Rows live in the store as chunks below ``chunks/<key>/``, where the key is the digest of everything that determines
them; so a retry, a second run and another parallelism find them again. Rows are written first, to
``<digest of the rows>.jsonl``, then the small ``done.json``, which names them, by conditional create: of writers that
race with different rows (two machines, two results in floating point) one wins, and the others take its rows. Every
read verifies the digest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from thinksafe.digests import digest_bytes, digest_json
from thinksafe.errors import ConflictError, DamagedError, InputError, MissingError
from thinksafe.jsonl import dump_lines, parse_records, read_record, write_json
from thinksafe.records import Record
from thinksafe.store import Store

R = TypeVar("R", bound=BaseModel)
_DIGEST = re.compile(r"[0-9a-f]{64}")
RowKind = Literal["samples", "verdicts", "grades"]


class Chunk(Record):
    """One chunk of rows in the store."""

    index: Annotated[int, Field(ge=0)]
    """Place of the chunk in the whole set."""
    key: str
    """Folder under ``chunks/``."""
    digest: str
    """SHA-256 of the rows' bytes."""
    rows: Annotated[int, Field(ge=0)]
    """0 for a chunk that has nothing of this kind, such as grades where no prompt is a problem."""


class Manifest(Record):
    """The chunks of one set of rows, all of them, in index order."""

    schema_version: Literal[1] = 1
    kind: RowKind
    absent: bool = False
    """The model does not exist (no champion); there are no chunks, and that is not an error."""
    total: Annotated[int, Field(ge=0)]
    """Number of chunks."""
    model: str
    """Digest of the model that the rows are about."""
    chunks: tuple[Chunk, ...] = ()
    instruments: dict[str, str] = {}
    """Digest of the code, the libraries and, for a guard, the weights that made the rows, and the samples that they are
    about, by what they are: ``sampler``, ``guard``, ``second guard``, ``grader``. Settings are not in it."""

    @model_validator(mode="after")
    def _is_whole(self) -> Manifest:
        if self.absent and (self.chunks or self.total):
            raise ValueError("an absent model cannot have chunks")
        if [chunk.index for chunk in self.chunks] != list(range(self.total)):
            raise ValueError(f"the chunks are not those from 0 to {self.total - 1}")
        return self

    @property
    def rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)

    @property
    def digest(self) -> str:
        """Digest of the rows."""
        return digest_json([self.kind, [chunk.digest for chunk in self.chunks]])


def write_chunk(store: Store, key: str, index: int, rows: list[R]) -> Chunk:
    """Write rows as a complete chunk and return its entry, or that of another writer that was faster.

    Safe to repeat and to race: the entry's rows are whole, and none that was returned is ever overwritten.
    """
    data = dump_lines(rows)
    chunk = Chunk(index=index, key=key, digest=digest_bytes(data), rows=len(rows))
    marker = chunk.model_dump_json().encode()
    store.put(rows_key(chunk), data)
    try:
        store.create(marker_key(key), marker)
    except ConflictError:
        if winner := find_chunk(store, key, index):
            return winner
        store.put(marker_key(key), marker)  # the existing one is damaged, or its rows are
    return chunk


def has_chunk(store: Store, key: str) -> bool:
    """Return whether a chunk was completed, without reading it."""
    return store.exists(marker_key(key))


def find_chunk(store: Store, key: str, index: int) -> Chunk | None:
    """Return a complete, intact chunk, or None when it has to be made (again).

    Raises:
        StoreError: the store could not be read; that is no reason to make the rows again.
    """
    try:
        chunk = Chunk.model_validate_json(store.get(marker_key(key)))
        if chunk.key != key or not _DIGEST.fullmatch(chunk.digest):
            return None
        data = store.get(rows_key(chunk))
    except (MissingError, DamagedError, ValidationError):
        return None
    if (chunk.digest, chunk.rows) != (digest_bytes(data), data.count(b"\n")):
        return None
    return chunk.model_copy(update={"index": index})


def ensure_chunk(store: Store, key: str, index: int, make: Callable[[], list[R]]) -> tuple[Chunk, bool]:
    """Return the chunk under ``key``, making it if needed, and whether it was reused."""
    if found := find_chunk(store, key, index):
        return found, True
    return write_chunk(store, key, index, make()), False


def read_rows(store: Store, manifest: Manifest, record: type[R]) -> Iterator[R]:
    """Yield the rows of a manifest in order, one chunk in memory at a time.

    Raises:
        MissingError, DamagedError: a chunk is not there, or not what was written.
        StoreError: the store failed.
    """
    for chunk in manifest.chunks:
        yield from read_chunk(store, chunk, record)


def read_chunk(store: Store, chunk: Chunk, record: type[R]) -> list[R]:
    """Return the rows of one chunk. Raises as :func:`read_rows`."""
    key = rows_key(chunk)
    data = store.get(key)
    if digest_bytes(data) != chunk.digest:
        raise DamagedError(
            f"{store.uri(key)} was changed after it was written (digest differs).",
            "Delete it, then start the run again.",
        )
    # split at "\n" only: other line separators are text
    lines = ((number, line) for number, line in enumerate(data.split(b"\n"), start=1) if line)
    return list(parse_records(lines, record, store.uri(key)))


def rows_key(chunk: Chunk) -> str:
    """Return the store key of a chunk's rows."""
    return f"chunks/{chunk.key}/{chunk.digest}.jsonl"


def marker_key(key: str) -> str:
    """Return the store key of the object that says that the chunk ``key`` is complete."""
    return f"chunks/{key}/done.json"


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file. Raises InputError."""
    return read_record(path, Manifest)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest file atomically."""
    write_json(path, manifest)


def save_manifest(store: Store, manifest: Manifest) -> None:
    """Store a manifest under its digest. Stage records name the digest, which leads from a run to its rows."""
    store.put(_manifest_key(manifest.digest), manifest.model_dump_json().encode() + b"\n")


def saved_manifest(store: Store, digest: str) -> Manifest:
    """Return a manifest by the digest that a stage record names.

    Raises:
        InputError: it was not kept, or is not that manifest.
        StoreError: the store failed.
    """
    key = _manifest_key(digest)
    try:
        manifest = Manifest.model_validate_json(store.get(key))
        if manifest.digest == digest:
            return manifest
    except MissingError as error:
        raise InputError(
            f"There is no {store.uri(key)}; the run was judged by a version that kept none.", "Judge it again."
        ) from error
    except ValidationError:
        pass
    raise InputError(f"{store.uri(key)} is not the original manifest.", "Delete it and judge the samples again.")


def _manifest_key(digest: str) -> str:
    return f"manifests/{digest}.json"

