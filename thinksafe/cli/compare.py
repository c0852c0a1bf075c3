"""``thinksafe compare``: the comparison pipeline's own definition, executed on this machine."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from thinksafe.cli.local import claimed, local_tracking_uri, publish, store_root
from thinksafe.cli.run import store_address
from thinksafe.config.compared import method_of
from thinksafe.config.comparison import load_comparison
from thinksafe.config.load import canonical, find_document
from thinksafe.credentials import shown
from thinksafe.deciding.feasibility import refuse_hopeless_gate
from thinksafe.digests import digest_json
from thinksafe.errors import EXIT_OK, EXIT_STOPPED, StageError
from thinksafe.store import check_reachable, open_store

if TYPE_CHECKING:
    from rich.console import Console

    from thinksafe.report.comparison.model import ComparisonSummary


def compare_methods(config: str, out: Path, overrides: list[str], artifacts: str, tracking_uri: str) -> int:
    """Run a comparison into ``out`` and return the exit code of the command.

    Args:
        config: Recipe name, path or YAML text, with a list ``compare``.
        out: Folder of the run; the same run is resumed there.
        overrides: ``key=value`` texts.
        artifacts: Store root; empty keeps the store in ``out``.
        tracking_uri: MLflow server; empty uses the config's, or else a SQLite file in ``out``.

    Raises:
        ConfigError, InputError: the configuration, an input or the folder is wrong.
        StageError: the pipeline could not be run, or ended without a result.
    """
    from rich.console import Console

    console = Console()
    document = find_document(config)
    loaded = load_comparison(config, overrides).base
    refuse_hopeless_gate(loaded)
    where = store_address(artifacts)
    tracking = tracking_uri or loaded.registry.tracking_uri or local_tracking_uri(out)
    check_reachable(where)
    import_module("thinksafe_pipelines.local.prefork").warm_up()  # its imports run in parallel with this process's
    with claimed(out, loaded.name, digest_json([canonical(loaded), "compare"]), where) as run:
        outcome = import_module("thinksafe_pipelines.commands").run_comparison(
            document.text, out, run.run_id, overrides, console, artifacts=store_root(out),
            environment={"MLFLOW_TRACKING_URI": tracking},
        )
        summary = _conclude(out, run.run_id, console, tracking, failed=outcome.failed)
    others = all(method_of(task.task) for task in outcome.tasks if task.status == "failed")
    if summary is not None and summary.result.outcome == "some pass" and others:
        return EXIT_OK  # a method that failed is named in the table
    if outcome.failed:
        typer.echo(f"error: {outcome.error}\n  {outcome.action}", err=True)
        return int(outcome.exit_code)
    if summary is None or summary.result.outcome != "none passes":
        raise StageError(f"The comparison {run.run_id} ended without a result.", "Start the same command again.")
    return EXIT_STOPPED


def _conclude(out: Path, run_id: str, console: Console, tracking: str, *, failed: bool) -> ComparisonSummary | None:
    """Copy what was published into the folder, print the table and return the summary; None without a plan."""
    from functools import partial

    from thinksafe.report.comparison.build import is_comparison, summarise_comparison
    from thinksafe.report.comparison.terminal import comparison_table
    from thinksafe.report.terminal import Places
    from thinksafe.run.details import PipelineStatus
    from thinksafe.run.outcomes import read_outcomes
    from thinksafe.run.record import list_records

    store = open_store(store_root(out))
    publish(store, run_id, out)
    records = list_records(store, run_id)
    if not is_comparison(records.found):
        return None
    status = PipelineStatus(state="FAILED") if failed else None
    summary = summarise_comparison(
        records.found, partial(read_outcomes, store), run_id=run_id, status=status, problems=records.problems
    )
    page = out / "report.html"
    places = Places(report=str(page.absolute()) if page.is_file() else "", tracking=shown(tracking))
    console.print(comparison_table(summary, places))
    return summary
