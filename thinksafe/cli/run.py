"""``thinksafe run``: the pipeline's own definition, executed on this machine."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from thinksafe.cli.check import refuse_hopeless_gate
from thinksafe.cli.local import claimed, publish
from thinksafe.config import load_config
from thinksafe.config.load import canonical, find_document
from thinksafe.digests import digest_json
from thinksafe.errors import EXIT_FAILED, EXIT_OK, EXIT_STOPPED, StageError
from thinksafe.stages.record import read_stage_records
from thinksafe.store import open_store


def run_recipe(config: str, out: Path, overrides: list[str], artifacts: str) -> int:
    """Run a realignment into ``out`` and return the exit code of the command.

    Raises:
        ConfigError, InputError: the configuration, an input or the folder is wrong.
        StageError: the pipeline could not be run.
    """
    from rich.console import Console

    from thinksafe.report.terminal import print_summary
    from thinksafe.summary import summarise

    console = Console()
    document = find_document(config)
    loaded = load_config(config, overrides)
    refuse_hopeless_gate(loaded)
    with claimed(out, loaded.name, digest_json(canonical(loaded)), artifacts) as run:
        root = artifacts or str((out / "store").absolute())
        commands = import_module("thinksafe_pipelines.commands")
        outcome = commands.run_realign(
            document.text, out, run.run_id, overrides, console, artifacts=root
        )
        store = open_store(root)
        publish(store, run.run_id, out)
        summary = summarise(read_stage_records(store, run.run_id))
        print_summary(summary, out, console)
    if outcome.failed:
        return outcome.exit_code or EXIT_FAILED
    if summary.decision is None:
        raise StageError("The run ended without a decision.", f"See {out / 'report.html'}.")
    return EXIT_OK if summary.decision.passed else EXIT_STOPPED
