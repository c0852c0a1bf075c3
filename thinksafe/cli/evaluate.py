"""``thinksafe evaluate``: the evaluation pipeline's own definition, executed on this machine."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import typer

from thinksafe.cli.local import claimed, local_tracking_uri, store_root
from thinksafe.cli.run import conclude, store_address
from thinksafe.config import load_suite
from thinksafe.config.load import canonical, find_document
from thinksafe.digests import digest_json
from thinksafe.errors import EXIT_OK, EXIT_STOPPED, StageError
from thinksafe.store import check_reachable


def run_suite(
    suite: str, model: str, out: Path, overrides: list[str], fresh: bool, artifacts: str, tracking_uri: str
) -> int:
    """Evaluate a model into ``out`` and return the exit code of the command.

    Args:
        suite: Suite or recipe: name, path or YAML text.
        model: See :func:`thinksafe.registry.versions.resolve_model`.
        out: Folder of the run; the same run is resumed there.
        overrides: ``key=value`` texts.
        fresh: Draw new samples.
        artifacts: Store root; empty keeps the store in ``out``.
        tracking_uri: MLflow server; empty uses the suite's, or else a SQLite file in ``out``.

    Raises:
        ConfigError, InputError: the suite, an input or the folder is wrong.
        StageError: the pipeline could not be run, or ended without a decision.
    """
    from rich.console import Console

    console = Console()
    document = find_document(suite)
    loaded = load_suite(suite, overrides)
    configured = loaded.registry.tracking_uri if loaded.registry is not None else ""
    tracking = tracking_uri or configured or local_tracking_uri(out)
    digest, where = digest_json([canonical(loaded), model, fresh]), store_address(artifacts)
    check_reachable(where)
    import_module("thinksafe_pipelines.local.prefork").warm_up()  # its imports run in parallel with this process's
    with claimed(out, loaded.name, digest, where) as run:
        outcome = import_module("thinksafe_pipelines.commands").run_evaluation(
            document.text, out, run.run_id, overrides, console, model=model, fresh=fresh, artifacts=store_root(out),
            environment={"MLFLOW_TRACKING_URI": tracking},
        )
        shown = tracking if loaded.registry is not None else ""
        summary = conclude(out, run.run_id, outcome, console, shown, lambda *_: "")
    if summary.outcome == "regressed":
        return EXIT_STOPPED
    if outcome.failed:
        typer.echo(f"error: {outcome.error}\n  {outcome.action}", err=True)
        return int(outcome.exit_code)
    if summary.decision is None:
        raise StageError(f"The run {run.run_id} ended without a decision.", "Start the same command again.")
    return EXIT_OK
