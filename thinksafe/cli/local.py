"""The folder of a local run: what it holds, and which process may use it."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thinksafe.errors import ConfigError, StageError
from thinksafe.files import TEMPORARY
from thinksafe.jsonl import read_record, write_json
from thinksafe.records import Record
from thinksafe.run.details import PlanDetails
from thinksafe.run.record import find_record, numbered_task
from thinksafe.store import Store, open_store

RUN_FILE = "run.json"
PUBLISHED = (
    "README.md", "bom.cdx.json", "comparison.json", "costs.json", "decision.json", "metrics.json", "provenance.json",
    "report.html",
)
"""What the report stage publishes; ``README.md`` and ``bom.cdx.json`` are of a candidate, ``comparison.json`` and
``costs.json`` of a comparison."""


class LocalRun(Record):
    """Identity of the run in a folder; written before anything else."""

    run_id: str
    recipe: str
    config_digest: str
    artifacts: str = ""
    """Store root if it is not inside the folder."""


def store_root(folder: Path | None) -> str:
    """Return the store root of a run folder. Raises ConfigError when there is none."""
    if folder is None:
        raise ConfigError("Neither a folder nor a store of a run is given.", "Give --out DIR or --artifacts ROOT.")
    found = local_run(folder).artifacts if (folder / RUN_FILE).is_file() else ""
    return found or str((folder / "store").absolute())


def existing_root(folder: Path | None) -> str:
    """Return the store root of a folder with a run. Raises ConfigError if there is none."""
    root = store_root(folder)
    if folder is not None and not (folder / RUN_FILE).is_file() and not (folder / "store").is_dir():
        raise ConfigError(f"There is no run in {folder}.", "Give the folder that the run had as --out DIR.")
    return root


def store_of(folder: Path | None, artifacts: str) -> Store:
    """Return the store with this root, or else that of a folder with a run. Raises ConfigError if there is none."""
    return open_store(artifacts or existing_root(folder))


def local_tracking_uri(folder: Path) -> str:
    """Return the MLflow tracking URI inside a run folder: a SQLite file."""
    return f"sqlite:///{(folder / 'mlflow.db').absolute()}"


def run_tracking_uri(folder: Path, store: Store) -> str:
    """Return the MLflow server of the run in a folder: its SQLite file, or else its configuration's; may be empty."""
    if (folder / "mlflow.db").is_file():
        return local_tracking_uri(folder)
    return planned_uri(store, local_run(folder).run_id) if (folder / RUN_FILE).is_file() else ""


def planned_uri(store: Store, run_id: str) -> str:
    """Return the MLflow server that a run's configuration names; may be empty."""
    plan = find_record(store, run_id, "plan")
    return str(plan.read(PlanDetails).registry.get("tracking_uri", "")) if plan is not None else ""


def local_run(folder: Path) -> LocalRun:
    """Return the run in a folder. Raises InputError when there is none."""
    return read_record(folder / RUN_FILE, LocalRun)


@contextmanager
def claimed(folder: Path, recipe: str, config_digest: str, artifacts: str) -> Iterator[LocalRun]:
    """Claim a folder for a run: a new one, or the same run again. One process at a time.

    Raises:
        ConfigError: the folder belongs to another run or holds other files.
        StageError: the folder is in use or cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise StageError(
            f"Another `thinksafe run` is using {folder}.", "Wait for it, or choose another --out."
        ) from error
    except OSError as error:
        raise StageError(f"Cannot write to {folder}: {error.strerror or error}.", "Choose another --out.") from error
    try:
        yield _identify(folder, recipe, config_digest, artifacts)
    finally:
        lock.release()


def _identify(folder: Path, recipe: str, config_digest: str, artifacts: str) -> LocalRun:
    if (folder / RUN_FILE).is_file():
        run = local_run(folder)
        if run.config_digest != config_digest:
            if task := numbered_task(open_store(store_root(folder)), run.run_id):
                raise ConfigError(
                    f"{folder} holds the run {run.run_id} of an earlier version of thinksafe; this one cannot resume "
                    f"it (task {task}).",
                    "Choose another --out, or resume it with that version.",
                )
            raise ConfigError(
                f"{folder} holds the run {run.run_id} of another configuration ({run.recipe}).",
                "Choose another --out, or give the same configuration to resume that run.",
            )
        if run.artifacts != artifacts:
            raise ConfigError(
                f"{folder} holds the run {run.run_id}, which uses another store ({run.artifacts or 'its own'}).",
                "Give the same --artifacts to resume that run.",
            )
        return run
    ours = (".lock", TEMPORARY)
    if others := sorted(path.name for path in folder.iterdir() if not path.name.startswith(ours)):
        raise ConfigError(
            f"{folder} is not empty but holds no run (first file: {others[0]}).", "Choose an empty or new --out."
        )
    now = datetime.datetime.now(datetime.UTC)
    run = LocalRun(
        run_id=f"{recipe}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}", recipe=recipe, config_digest=config_digest,
        artifacts=artifacts,
    )
    write_json(folder / RUN_FILE, run)
    return run


def publish(store: Store, run_id: str, folder: Path) -> list[Path]:
    """Copy what the report stage published into the run's folder; files of an earlier attempt are removed."""
    written = []
    for name in PUBLISHED:
        key, path = f"reports/{run_id}/{name}", folder / name
        if store.exists(key):
            store.get_file(key, path)
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written
