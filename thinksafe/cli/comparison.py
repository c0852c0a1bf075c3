"""``thinksafe compare``, and the stage command that only a comparison has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from thinksafe.cli.commands import Overrides
from thinksafe.cli.stage_options import (
    MANUAL,
    STORE,
    Artifacts,
    Executor,
    JobId,
    RunId,
    Task,
    add_commands,
    finish,
    parse_overrides,
    stage_context,
)

commands = typer.Typer()
stages = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.registered_commands += commands.registered_commands
    add_commands(stages, app)


@commands.command()
def compare(
    config: Annotated[str, typer.Argument(metavar="FILE", help="A config with a list compare, or a recipe's name.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of this run; the same DIR resumes it.")],
    override: Overrides = None,
    artifacts: Annotated[str, typer.Option(help="Store root; DIR/store by default.")] = "",
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow server; the config's, or a SQLite file in DIR, by default.")
    ] = "",
) -> None:
    """Compare several methods on one student: same prompts, one evaluation of the student, one page.

    Registers and promotes nothing; the page says with which command the chosen method is realigned. Exits with 0 if at
    least one method passes the gate, 3 if none does, 2 for bad input, 1 if a stage failed and no method passed.
    """
    from thinksafe.cli.compare import compare_methods

    sys.exit(compare_methods(config, out, override or [], artifacts, tracking_uri))


@stages.command("plan_comparison")
def plan_comparison(
    config: Annotated[str, typer.Option(help="Recipe name, path or YAML text.")],
    plan_out: Annotated[Path, typer.Option()], base_out: Annotated[Path, typer.Option()],
    champion_out: Annotated[Path, typer.Option()], registration_out: Annotated[Path, typer.Option()],
    shared: Annotated[str, typer.Option(help="JSON list: what the methods share in the pipeline.")],
    overrides: Annotated[str, typer.Option(help="JSON list of key=value texts.")] = "[]",
    job_id: JobId = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Validate the config of a comparison and make the plan of all its methods."""
    from thinksafe.stages import plan_comparison as stage

    changes = parse_overrides(overrides)
    stage.run(
        stage_context("plan_comparison", artifacts, run_id or job_id or MANUAL, task), config, changes, shared,
        plan_out=plan_out, base_out=base_out, champion_out=champion_out, registration_out=registration_out,
        job_id=job_id,
    )
    finish(executor_input)
