"""The commands of a rollout: the stage, the command of its pods' init container, and the manual rollout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    stage_context,
)

if TYPE_CHECKING:
    from thinksafe.config.sections import DeploySection
    from thinksafe.registry.ledger import LedgerEntry
    from thinksafe.store import Store

stages = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    add_commands(stages, app)


@stages.command()
def deploy(
    plan: PlanFile, promotion: Annotated[Path, typer.Option(help="Ledger entry of this run's promotion.")],
    prompts: Annotated[Path, typer.Option(help="Evaluation prompts.")],
    samples: Annotated[Path, typer.Option(help="Manifest of the candidate's greedy responses.")],
    rollout_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Serve the champion on a cluster, verify it there, and roll back if it fails."""
    from thinksafe.config.sections import DeploySection
    from thinksafe.stages import deploy as stage

    stage.run(
        *open_stage("deploy", DeploySection, plan, section, artifacts, run_id, task), promotion, prompts, samples,
        rollout_out=rollout_out,
    )
    finish(executor_input)


@stages.command("plan_promotion")
def plan_promotion(
    plan_out: Annotated[Path, typer.Option()], decision_out: Annotated[Path, typer.Option()],
    registration_out: Annotated[Path, typer.Option()], candidate_out: Annotated[Path, typer.Option()],
    champion_out: Annotated[Path, typer.Option()],
    job_id: JobId = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Read plan, decision, registration and models of a run that awaits approval from its records."""
    from thinksafe.stages import plan_promotion as stage

    stage.run(
        stage_context("plan_promotion", artifacts, run_id or job_id or MANUAL, task), plan_out=plan_out,
        decision_out=decision_out, registration_out=registration_out, candidate_out=candidate_out,
        champion_out=champion_out,
    )
    finish(executor_input)


@stages.command("fetch-trained")
def fetch_trained(
    place: Annotated[str, typer.Option(help="s3://bucket/prefix/adapters/... or s3://bucket/prefix/weights/...")],
    digest: Annotated[str, typer.Option(help="Digest over the files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    signed_as: Annotated[str, typer.Option(help="NAME@VERSION that the files must be signed as.")] = "",
    sign: Annotated[str, typer.Option(help="Whose signatures count: the section sign, as JSON.")] = "",
) -> None:
    """Copy an adapter or all weights from the store and check digest and signature (init container of serving pods)."""
    from thinksafe.deploy.target import fetch

    fetch(place, digest, out, signed_as, sign)
    typer.echo(f"{digest[:12]} is complete")


def deploy_rollback(store: Store, entry: LedgerEntry, config: str) -> str:
    """Roll a generation out by hand and return the message to print.

    Args:
        store: Ledger, adapters and stage records.
        entry: Generation to serve; after a withdrawal nothing is served.
        config: Recipe or path with the section ``deploy``; by default that of the run that made the generation.

    Raises:
        ConfigError: there is no such section, or its kind is ``none``.
        StageError: the cluster refused the request, or the pods did not become ready.
    """
    from thinksafe.config import load_config, sections_of
    from thinksafe.deploy.rollout import Roller
    from thinksafe.errors import ConfigError, StageError
    from thinksafe.kube.client import connect

    section = sections_of(load_config(config)).deploy if config else _planned(store, entry)
    if section.deploy.kind == "none":
        raise ConfigError("deploy.kind is none: there is nothing to roll out.", "Give the configuration with --config.")
    cluster = connect(section.deploy.namespace, section.deploy.context, section="deploy")
    roller = Roller(store, section, cluster)
    where = f"{section.deploy.namespace}/{section.deploy.name}"
    if entry.action == "withdraw":
        roller.withdraw(entry)
        return "\n".join([f"{where} serves nothing.", *roller.notes])
    state = roller.serve(entry)
    if not state.ready:
        raise StageError(
            f"Generation {entry.generation} was applied to {where} and is not ready: {state.reason}.",
            f"Check the pods; repeat with `thinksafe rollback --deploy --to {entry.generation - 1}` or an earlier "
            "generation.",
        )
    return "\n".join([f"{where} serves generation {entry.generation}; it was not verified.", *roller.notes])


def _planned(store: Store, entry: LedgerEntry) -> DeploySection:
    """Return the section of the run that made a generation, as its plan recorded it. Raises ConfigError."""
    from pydantic import ValidationError

    from thinksafe.config.sections import DeploySection
    from thinksafe.errors import ConfigError
    from thinksafe.run.details import PlanDetails
    from thinksafe.run.record import find_record

    plan = find_record(store, entry.run_id, "plan")
    try:
        return DeploySection.model_validate(plan.read(PlanDetails).sections["deploy"] if plan is not None else None)
    except (ValidationError, KeyError, TypeError) as error:
        raise ConfigError(
            f"The store has no section deploy of the run {entry.run_id}.", "Give the configuration with --config."
        ) from error
