"""Orders: what the workers of a stage need to know, in the store.

``work/<key>/`` holds the keys of the chunks (``keys-<set>.json``) and, for each run, a folder with the order, the
stage's input files (compressed) and the errors of workers. The key is the digest of everything that determines the
chunks, as far as the stage knows it without the libraries of its workers. So a second stage with the same order finds
the keys, and starts no worker where all chunks are there.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, ValidationError

from thinksafe.digests import digest_file, digest_json
from thinksafe.errors import ConfigError, ConflictError, InputError, MissingError, StageError
from thinksafe.jsonl import write_atomic
from thinksafe.records import Record
from thinksafe.run.formats import format_of
from thinksafe.run.manifests import Chunk
from thinksafe.run.record import Advance
from thinksafe.store import Store, open_store

ORDER = "order.json"


class Announced(Record):
    """What the first worker says of a set of chunks."""

    keys: tuple[str, ...]
    """Key of each chunk, in index order."""
    facts: dict[str, str] = {}
    """What the stage records of the maker, such as the name and the digest of a guard."""


class ChunkSet(Protocol):
    """Chunks that one engine or guard makes."""

    @property
    def keys(self) -> Sequence[str]:
        """Key of each chunk: the digest of everything that determines it."""
        ...

    @property
    def facts(self) -> dict[str, str]:
        """What the stage records of the maker, such as the name and the digest of a guard."""
        ...

    def make(self, wanted: Iterator[int], advance: Advance) -> Iterator[Chunk]:
        """Make chunks, and yield each as soon as it is stored.

        Args:
            wanted: Indices, taken as there is room.
            advance: Called with the number of finished rows.
        """
        ...


class Order(Record):
    """The work of one stage."""

    schema_version: Literal[1] = 1
    stage: str
    run_id: str
    task: str
    section: dict[str, Any]
    """The stage's section of the plan."""
    inputs: dict[Annotated[str, Field(pattern=r"^[a-z]+\.jsonl?$")], str]
    """Digest of each input file by its name in the order's folder."""
    maker: str
    """What the workers run: their image, or the digest of the libraries' versions on this machine."""
    workers: Annotated[int, Field(ge=1)]

    @property
    def key(self) -> str:
        """Digest of everything that determines the chunks."""
        return digest_json([self.stage, self.section, self.inputs, self.maker, format_of(self.stage)])

    def scope(self, number: int) -> str:
        """Return the scope of the claims in one of its sets."""
        return digest_json([self.run_id, self.key, number])


def place(store: Store, order: Order, files: dict[str, Path]) -> str:
    """Write an order with its input files into the store, and return its address."""
    for name, path in files.items():
        store.put(f"{_folder(order)}/{name}.gz", gzip.compress(path.read_bytes(), mtime=0))
    for key in error_keys(store, order):
        store.delete(key)  # of an earlier attempt
    key = f"{_folder(order)}/{ORDER}"
    store.put(key, order.model_dump_json(indent=2).encode() + b"\n")
    return store.uri(key)


def clear(store: Store, order: Order) -> None:
    """Delete what only the workers needed. The keys of the chunks stay, for a later run."""
    for key in store.keys(f"{_folder(order)}/"):
        store.delete(key)


def read_order(address: str, folder: Path) -> tuple[Store, Order]:
    """Fetch an order's input files into a folder, and return its store and the order.

    Raises:
        ConfigError: the address is not that of an order.
        InputError: the order or a file is not what the stage wrote.
        StoreError: the store failed.
    """
    root, found, rest = address.rpartition("/work/")
    if not root or not found or rest.count("/") != 2 or not rest.endswith(f"/{ORDER}"):
        raise ConfigError(f"{address[:200]!r} is not the address of an order.", "The stage that waits for it makes it.")
    store = open_store(root)
    try:
        order = Order.model_validate_json(store.get(f"work/{rest}"))
    except ValidationError as error:
        raise InputError(f"{address} is not an order.", "Start the stage again.") from error
    for name, digest in order.inputs.items():
        with suppress(OSError, EOFError, zlib.error):  # what it becomes then has another digest
            write_atomic(folder / name, gzip.decompress(store.get(f"{_folder(order)}/{name}.gz")))
        if not (folder / name).is_file() or digest_file(folder / name) != digest:
            raise InputError(f"The file {name} of the order {address} was changed.", "Start the stage again.")
    return store, order


def announce(store: Store, order: Order, number: int, chunks: ChunkSet) -> None:
    """Write the keys of the chunks of one set, once.

    Raises:
        StageError: another worker has other keys.
    """
    said, key = Announced(keys=tuple(chunks.keys), facts=chunks.facts), _keys_key(order, number)
    try:
        store.create(key, said.model_dump_json().encode())
    except ConflictError as conflict:
        found = announced(store, order, number)
        if found is None:
            store.put(key, said.model_dump_json().encode())  # what is there cannot be read
        elif found.keys != said.keys:
            raise StageError(
                f"The workers of {order.task} do not agree on the chunks: their libraries or models differ.",
                f"Give all of them one image, by its digest, delete {store.uri(key)} and start the run again.",
            ) from conflict


def announced(store: Store, order: Order, number: int) -> Announced | None:
    """Return what workers said of one set, None where none has, or it cannot be read."""
    with suppress(MissingError, ValidationError):
        return Announced.model_validate_json(store.get(_keys_key(order, number)))
    return None


def error_key(order: Order, worker: int) -> str:
    """Return the store key of the error that ended a worker."""
    return f"{_folder(order)}/error-{worker}.json"


def error_keys(store: Store, order: Order) -> list[str]:
    """Return the store keys of the errors of an order's workers."""
    return store.keys(f"{_folder(order)}/error-")


def _folder(order: Order) -> str:
    return f"work/{order.key}/{order.run_id}"


def _keys_key(order: Order, number: int) -> str:
    return f"work/{order.key}/keys-{number}.json"
