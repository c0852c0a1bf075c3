"""Read a store for the fleet: list once, read little, several objects at a time.

Folders and ledgers come first, then the evaluations of their models. Of runs only the plan and the report are read.
Whatever does not change is read once (:mod:`thinksafe.fleet.kept`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from thinksafe.errors import StoreError, ThinkSafeError
from thinksafe.fleet.details import add_details
from thinksafe.fleet.facts import FINAL, ModelFacts, Point, RunNote, StoreFacts, moment, numbers_of
from thinksafe.fleet.kept import KeptStore
from thinksafe.fleet.runs import read_note
from thinksafe.models.references import ModelReference
from thinksafe.registry import evaluations, ledger
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.run.details import MetricsDetails
from thinksafe.run.record import find_evidence, find_record
from thinksafe.store import Store, check_reachable, open_store
from thinksafe.store.several import WORKERS

I = TypeVar("I")  # noqa: E741
T = TypeVar("T")

RESTORE = "Restore it from a backup."
PASSED = {"passed": True, "regressed": False}
"""Verdicts of monitor, for evaluations that do not say themselves whether their checks held."""


def read_store(root: str, kept: KeptStore, now: float) -> tuple[StoreFacts, KeptStore]:
    """Return what a store says, and what of it need not be read again.

    Whatever cannot be read is a problem of its model or of the store, and costs nothing else.

    Raises:
        ConfigError: the address is malformed, or there are no credentials.
    """
    try:
        check_reachable(root)
        if "://" not in root and not Path(root).is_dir():
            raise StoreError(f"There is no folder {root}.", "Check the address.")
        with ThreadPoolExecutor(WORKERS) as pool:
            return _Reader(open_store(root), pool, kept).read(now)
    except StoreError as error:
        return StoreFacts(root, problem=str(error)), kept


class _Reader:
    """Reads one store, once."""

    def __init__(self, store: Store, pool: Executor, kept: KeptStore) -> None:
        self._store, self._pool, self._kept = store, pool, kept
        self._facts = StoreFacts(store.root)
        self._models: dict[str, ModelFacts] = {}

    def read(self, now: float) -> tuple[StoreFacts, KeptStore]:
        listed = self._pool.map(self._store.folders, ("promotions/", "runs/", "evaluations/"))
        names, runs, digests = listed
        self._ledgers(names)
        promoted = self._promoted()
        found = self._evaluations(digests)
        measured = {point.run_id for _, point in found.values()}
        notes = self._notes(run for run in runs if run not in measured)
        self._each(lambda model: add_details(self._store, model, now), self._models.values(), self._of_model)
        self._facts.models = list(self._models.values())
        final = {run: note for run, note in notes.items() if note.outcome in FINAL and note.planned}
        return self._facts, KeptStore(evaluations=found, promoted=promoted, notes=final)

    def _ledgers(self, names: Iterable[str]) -> None:
        for name in names:
            self._models[name] = ModelFacts(self._store.root, name)
        entries = self._each(lambda name: ledger.entries(self._store, name, 1), list(self._models), self._of_name)
        for name, of in entries.items():
            model = self._models[name]
            model.entries = of
            model.times = [moment(entry.created) for entry in of]
            model.problems += [
                f"{self._store.uri(ledger.entry_key(name, entry.generation))} has no readable time. {RESTORE}"
                for entry, time in zip(of, model.times, strict=True) if time is None
            ]

    def _promoted(self) -> dict[str, tuple[str, Point]]:
        """Read what the runs in the ledgers measured of their candidates."""
        wanted = {
            entry.run_id: (model, entry) for model in self._models.values() for entry in model.entries
            if entry.action != "withdraw"
        }
        known = {
            run: old for run, (_, entry) in wanted.items()
            if (old := self._kept.promoted.get(run)) is not None and old[0] == entry.digests.metrics != ""
        }
        missing = [run for run in wanted if run not in known]
        read = self._each(self._candidate, missing, lambda run: wanted[run][0])
        found = known | {
            run: (wanted[run][1].digests.metrics, point) for run, point in read.items() if point is not None
        }
        for run, (_, point) in found.items():
            model, entry = wanted[run]
            model.promoted[run] = point.model_copy(update={"time": self._time(model, entry)})
        return found

    def _time(self, model: ModelFacts, entry: LedgerEntry) -> float:
        return model.times[entry.generation - 1] or 0.0

    def _candidate(self, run: str) -> Point | None:
        record = find_evidence(self._store, run, "metrics-candidate")
        metrics = record.require(MetricsDetails).metrics if record is not None else None
        if metrics is None:
            return None
        return Point(run_id=run, time=0, suite=metrics.suite, passed=None, numbers=numbers_of(metrics))

    def _evaluations(self, digests: Sequence[str]) -> dict[str, tuple[str, Point]]:
        targets = {
            entry.target.digest: (model, entry) for model in self._models.values() for entry in model.entries
        }
        owners = {digest: model for digest, (model, _) in targets.items()}
        known = [digest for digest in digests if digest in owners]
        self._facts.others = len(digests) - len(known)
        listed = self._each(
            lambda digest: self._store.tags(f"evaluations/{digest}/"), known, lambda digest: owners[digest]
        )
        tags = {
            key: tag for of in listed.values() for key, tag in of.items()
            if key.count("/") == 3 and key.endswith(".json")
        }
        found = {
            key: old for key, tag in tags.items() if (old := self._kept.evaluations.get(key)) and old[0] == tag
        }
        read = self._each(
            lambda key: self._evaluation(key, targets[key.split("/")[1]][1].target),
            [key for key in tags if key not in found], lambda key: owners[key.split("/")[1]],
        )
        found |= {key: (tags[key], point) for key, point in read.items()}
        for key in sorted(found):
            digest = key.split("/")[1]
            owners[digest].evaluations.setdefault(digest, []).append(found[key][1])
        return found

    def _evaluation(self, key: str, model: ModelReference) -> Point:
        found = evaluations.read(self._store, key)
        of = found.model
        ours = (of.base_digest, of.adapter_digest, of.weights_digest)
        if ours != (model.base_digest, model.adapter_digest, model.weights_digest):
            raise StoreError(f"{self._store.uri(key)} is of another model.", RESTORE)
        time = moment(found.created)
        if time is None:
            raise StoreError(f"{self._store.uri(key)} has no readable time.", RESTORE)
        passed = found.passed
        if passed is None and (record := find_record(self._store, found.run_id, "monitor")):
            passed = PASSED.get(record.verdict)
        return Point(
            run_id=found.run_id, time=time, suite=found.metrics.suite, passed=passed, numbers=numbers_of(found.metrics)
        )

    def _notes(self, runs: Iterable[str]) -> dict[str, RunNote]:
        wanted = list(runs)
        found = {run: note for run in wanted if (note := self._kept.notes.get(run)) is not None}
        read = self._each(
            lambda run: read_note(self._store, run), [run for run in wanted if run not in found], lambda _: None
        )
        found |= {run: note for run, note in read.items() if note is not None}
        for note in sorted(found.values(), key=lambda note: (note.started, note.run_id)):
            if not note.planned:
                self._facts.lost.append(note)
            elif note.model:
                self._models.setdefault(note.model, ModelFacts(self._store.root, note.model)).notes.append(note)
        return found

    def _of_model(self, model: ModelFacts) -> ModelFacts:
        return model

    def _of_name(self, name: str) -> ModelFacts:
        return self._models[name]

    def _each(
        self, work: Callable[[I], T], items: Iterable[I], owner: Callable[[I], ModelFacts | None]
    ) -> Mapping[I, T]:
        """Do some work for each item, several at a time; what fails is a problem of the item's model or the store."""

        def tried(batch: Sequence[I]) -> list[tuple[I, T | None, str]]:
            done: list[tuple[I, T | None, str]] = []
            for item in batch:
                try:
                    done.append((item, work(item), ""))
                except ThinkSafeError as error:
                    done.append((item, None, str(error)))
            return done

        waiting = list(items)
        size = max(1, min(50, len(waiting) // (4 * WORKERS)))
        found: dict[I, T] = {}
        for done in self._pool.map(tried, [waiting[at : at + size] for at in range(0, len(waiting), size)]):
            for item, result, problem in done:
                if problem:
                    model = owner(item)
                    (self._facts.problems if model is None else model.problems).append(problem)
                else:
                    found[item] = result  # type: ignore[assignment]
        return found
