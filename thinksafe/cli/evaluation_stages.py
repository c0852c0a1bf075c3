"""The stage commands that only a separate evaluation has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from thinksafe.cli.stage_options import (
    MANUAL,
    STORE,
    Artifacts,
    Executor,
    JobId,
    PlanFile,
    RunId,
    Section,
    Task,
    add_commands,
    finish,
    open_stage,
    parse_flag,
    parse_overrides,
    stage_context,
)

if TYPE_CHECKING:
    from thinksafe.run.details import AlarmDetails

stages = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the stage commands to the application, beside the others."""
    add_commands(stages, app)


@stages.command("plan_evaluation")
def plan_evaluation(
    suite: Annotated[str, typer.Option(help="Suite: recipe name, path or YAML text.")],
    plan_out: Annotated[Path, typer.Option()], model_out: Annotated[Path, typer.Option()],
    previous_out: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    model: Annotated[
        str, typer.Option(help="champion, models:/NAME@champion, models:/NAME/VERSION, or a student.")
    ] = "",
    fresh: Annotated[str, typer.Option(help="true: draw new samples in this run.")] = "false",
    if_champion: Annotated[
        str, typer.Option(help="true: do nothing if the champion is asked for and there is none.")
    ] = "false",
    overrides: Annotated[str, typer.Option(help="JSON list of key=value texts.")] = "[]",
    job_id: JobId = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Validate a suite, find the model, and make the plan of the evaluation, with one section per stage."""
    from thinksafe.stages import plan_evaluation as stage

    drawn, only_champion = parse_flag("--fresh", fresh), parse_flag("--if-champion", if_champion)
    changes = parse_overrides(overrides)
    stage.run(
        stage_context("plan_evaluation", artifacts, run_id or job_id or MANUAL, task), suite, changes, model,
        fresh=drawn, plan_out=plan_out, model_out=model_out, previous_out=previous_out, passed_out=passed_out,
        if_champion=only_champion, job_id=job_id,
    )
    finish(executor_input)


@stages.command()
def monitor(
    plan: PlanFile, model: Annotated[Path, typer.Option()], metrics: Annotated[Path, typer.Option()],
    outcomes: Annotated[Path, typer.Option()], samples: Annotated[Path, typer.Option()],
    verdicts: Annotated[Path, typer.Option()], grades: Annotated[Path, typer.Option()],
    previous_metrics: Annotated[Path, typer.Option()], previous_outcomes: Annotated[Path, typer.Option()],
    decision_out: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Compare an evaluation with the model's last one and with its limits."""
    from thinksafe.config.sections import MonitorSection
    from thinksafe.stages import monitor as stage

    stage.run(
        *open_stage("monitor", MonitorSection, plan, section, artifacts, run_id, task), model, metrics, outcomes,
        samples, verdicts, grades, previous_metrics, previous_outcomes,
        decision_out=decision_out, passed_out=passed_out,
    )
    finish(executor_input)


@stages.command()
def alarm(
    plan: PlanFile, decision: Annotated[Path, typer.Option()], model: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Report a regression and fail: exits with 3."""
    from thinksafe.config.sections import AlarmSection
    from thinksafe.errors import EXIT_STOPPED
    from thinksafe.jsonl import read_record
    from thinksafe.records import Decision
    from thinksafe.stages import alarm as stage

    result = stage.run(
        *open_stage("alarm", AlarmSection, plan, section, artifacts, run_id, task), decision, model,
    )
    finish(executor_input)
    webhook = cast("AlarmDetails", result.details).webhook
    typer.echo(
        f"error: {read_record(decision, Decision).summary} Webhook: {webhook}.\n"
        "  Look at the report. No alias was moved; `thinksafe rollback` returns to an earlier generation.",
        err=True,
    )
    sys.exit(EXIT_STOPPED)
