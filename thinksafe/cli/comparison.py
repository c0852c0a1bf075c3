"""The stage command that only a comparison has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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

stages = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the stage command to the application, beside the others."""
    add_commands(stages, app)


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
