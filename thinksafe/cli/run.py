"""``thinksafe run``: the pipeline's own definition, executed on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from thinksafe.cli.local import LocalRun, claimed, local_tracking_uri, publish, store_root
from thinksafe.cli.sign_off import author_of
from thinksafe.config import RealignmentConfig, load_config
from thinksafe.config.load import canonical, find_document
from thinksafe.credentials import shown
from thinksafe.deciding.feasibility import refuse_hopeless_gate
from thinksafe.digests import digest_json
from thinksafe.errors import EXIT_OK, EXIT_STOPPED, StageError
from thinksafe.registry.ledger import entry_key
from thinksafe.report.summary import RunSummary
from thinksafe.store import Store, check_reachable, open_store

if TYPE_CHECKING:
    from rich.console import Console


def run_recipe(
    config: str, out: Path, overrides: list[str], artifacts: str, tracking_uri: str, *, if_changed: bool = False,
    runner: Literal["host", "docker"] = "host", mounts: Sequence[Path] = (),
) -> int:
    """Run a realignment into ``out`` and return the exit code of the command.

    Args:
        config: Recipe name, path or YAML text.
        out: Folder of the run; the same run is resumed there.
        overrides: ``key=value`` texts.
        artifacts: Store root; empty keeps the store in ``out``.
        tracking_uri: MLflow server; empty uses the config's, or else a SQLite file in ``out``. The environment's is not
            used: trying a recipe must not write to the company's registry by accident.
        runner: Stages are processes of this machine, or containers of its Docker daemon.
        mounts: What containers read besides ``out``.
        if_changed: Do nothing if the champion was made from the same inputs.

    Raises:
        ConfigError, InputError: the configuration, an input or the folder is wrong.
        StageError: the pipeline could not be run, or ended without a decision.
    """
    from rich.console import Console

    console = Console()
    document = find_document(config)
    loaded = load_config(config, overrides)
    refuse_hopeless_gate(loaded)
    where = store_address(artifacts)
    tracking = tracking_uri or loaded.registry.tracking_uri or local_tracking_uri(out)
    check_reachable(where)
    if runner == "host":
        import_module("thinksafe_pipelines.local.prefork").warm_up()  # its imports run in parallel with this process's
    with claimed(out, loaded.name, digest_json(canonical(loaded)), where) as run:
        root = store_root(out)
        outcome = import_module("thinksafe_pipelines.commands").run_realign(
            document.text, out, run.run_id, overrides, console, artifacts=root,
            environment={"MLFLOW_TRACKING_URI": tracking},
            arguments={"if_changed": if_changed, "author": author_of(loaded)}, runner=runner,
            mounts=mounts,
        )
        summary = conclude(
            out, run.run_id, outcome, console, tracking,
            lambda found, store: _ledger_entry(found, loaded, store.uri),
        )
    if outcome.failed:
        typer.echo(f"error: {outcome.error}\n  {outcome.action}", err=True)
        return int(outcome.exit_code)
    return _verdict(summary, run)


def conclude(
    out: Path, run_id: str, outcome: Any, console: Console, tracking: str,
    ledger_entry: Callable[[RunSummary, Store], str],
) -> RunSummary:
    """Copy what a finished pipeline published into its folder, print the table of the run and return the summary.

    Args:
        out: Folder of the run.
        run_id: The run.
        outcome: ``RunOutcome`` of the local runner.
        console: Where to print.
        tracking: Address of MLflow to show.
        ledger_entry: Returns the address of the ledger entry that the run wrote, or "".
    """
    from thinksafe.report.summary import summarise
    from thinksafe.report.terminal import Places, run_table
    from thinksafe.run.details import PipelineStatus
    from thinksafe.run.record import list_records

    store = open_store(store_root(out))
    publish(store, run_id, out)
    records = list_records(store, run_id)
    status = PipelineStatus(state="FAILED") if outcome.failed else None
    summary = summarise(records.found, run_id=run_id, status=status, problems=records.problems)
    page = out / "report.html"
    places = Places(
        report=str(page.absolute()) if page.is_file() else "", ledger=ledger_entry(summary, store),
        tracking=shown(tracking),
    )
    console.print(run_table(summary, places))
    return summary


def store_address(artifacts: str) -> str:
    """Return a store root as the run records it: a folder as an absolute path."""
    return str(Path(artifacts).absolute()) if artifacts and "://" not in artifacts else artifacts


def _ledger_entry(summary: RunSummary, config: RealignmentConfig, address: Callable[[str], str]) -> str:
    generation = summary.promotion.get("generation")
    if not isinstance(generation, int):
        return ""
    return address(entry_key(config.registry.model, generation))


def _verdict(summary: RunSummary, run: LocalRun) -> int:
    if summary.outcome in ("nothing to do", "awaiting approval"):
        return EXIT_OK
    if summary.decision is None:
        raise StageError(f"The run {run.run_id} ended without a decision.", "Start the same command again.")
    return EXIT_OK if summary.decision.passed and summary.outcome == "promoted" else EXIT_STOPPED
