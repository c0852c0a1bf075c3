"""The stage commands: what a container runs. Each reads files, calls one stage function, writes files.

Inputs and outputs are files; the adapter is a folder. What the commands share is in :mod:`thinksafe.cli.stage_options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from thinksafe.cli.stage_options import (
    MANUAL,
    STORE,
    Artifacts,
    Executor,
    JobId,
    RunId,
    Section,
    Task,
    add_commands,
    finish,
    parse_section,
    plan_options,
    shard_count,
    stage_context,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from thinksafe.records import Role

    S = TypeVar("S", bound=BaseModel)

stages = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the stage commands to the application, under their own heading."""
    add_commands(stages, app)


@stages.command()
def plan(
    config: Annotated[str, typer.Option(help="Recipe name, path or YAML text.")],
    base_out: Annotated[Path, typer.Option()],
    champion_out: Annotated[Path, typer.Option()],
    overrides: Annotated[str, typer.Option(help="JSON list of key=value texts.")] = "[]",
    output: Annotated[list[str] | None, typer.Option(help="NAME=PATH, repeated.")] = None,
    job_id: JobId = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Validate the config and cut it into one section per stage."""
    from thinksafe.stages import plan as stage

    changes, outputs = plan_options(overrides, output)
    context = stage_context("plan", artifacts, run_id or job_id or MANUAL, task)
    stage.run(
        context, config, changes, outputs=outputs, base_out=base_out, champion_out=champion_out, job_id=job_id
    )
    finish(executor_input)


@stages.command()
def prepare(
    section: Section, pilot_out: Annotated[Path, typer.Option()], training_out: Annotated[Path, typer.Option()],
    evaluation_out: Annotated[Path, typer.Option()], contamination_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Load, label, deduplicate and decontaminate prompts."""
    from thinksafe.config.sections import PrepareSection
    from thinksafe.stages import prepare as stage

    stage.run(
        stage_context("prepare", artifacts, run_id, task), parse_section(section, PrepareSection),
        pilot_out=pilot_out, training_out=training_out, evaluation_out=evaluation_out,
        contamination_out=contamination_out,
    )
    finish(executor_input)


@stages.command()
def sample(
    section: Section, model: Annotated[Path, typer.Option()], prompts: Annotated[Path, typer.Option()],
    samples_out: Annotated[Path, typer.Option()], shard: Annotated[int, typer.Option(min=0)] = 0,
    shards: Annotated[str, typer.Option(help="Number of shards, or the JSON list of their ids.")] = "1",
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Draw samples from a model, steered and plain, in resumable chunks."""
    from thinksafe.config.sections import SampleSection
    from thinksafe.errors import ConfigError
    from thinksafe.stages import sample as stage

    number = shard_count(shards)
    if shard >= number:
        raise ConfigError(f"--shard {shard} is not below the number of shards, {number}.", "Shards count from 0.")
    result = stage.run(
        stage_context("sample", artifacts, run_id, task), parse_section(section, SampleSection),
        model, prompts, shard, number,
        samples_out=samples_out,
    )
    finish(executor_input, samples=dict(result.counts))


@stages.command()
def judge(
    section: Section, samples: Annotated[Path, typer.Option()], verdicts_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Give every sample a verdict: safe, unsafe or unknown."""
    from thinksafe.config.sections import JudgeSection
    from thinksafe.stages import judge as stage

    result = stage.run(
        stage_context("judge", artifacts, run_id, task), parse_section(section, JudgeSection), samples,
        verdicts_out=verdicts_out,
    )
    finish(executor_input, verdicts=dict(result.counts))


@stages.command()
def grade(
    section: Section, samples: Annotated[Path, typer.Option()], grades_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Grade samples of problems against their reference answers."""
    from thinksafe.config.sections import GradeSection
    from thinksafe.stages import grade as stage

    result = stage.run(
        stage_context("grade", artifacts, run_id, task), parse_section(section, GradeSection),
        samples, grades_out=grades_out
    )
    finish(executor_input, grades=dict(result.counts))


@stages.command()
def merge(
    manifest_out: Annotated[Path, typer.Option()],
    manifest: Annotated[list[Path] | None, typer.Option(help="A shard's manifest, repeated.")] = None,
    manifests: Annotated[str, typer.Option(help="Name of the artifact list in the executor input.")] = "",
    task: Task = "", executor_input: Executor = "",  # noqa: ARG001 - all stages take a task
) -> None:
    """Merge the manifests of all shards into one that is known to be whole."""
    from thinksafe.stages import merge as stage

    paths = list(manifest or [])
    if manifests:
        from thinksafe.kube.executor import artifact_paths

        paths += artifact_paths(executor_input, manifests)
    stage.run(paths, manifest_out=manifest_out)
    finish(executor_input)


@stages.command()
def due(
    contamination: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    if_changed: Annotated[str, typer.Option(help="true: go on only where something is new.")] = "false",
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Compare what the run starts from with what the champion was made from."""
    from thinksafe.errors import ConfigError
    from thinksafe.stages import due as stage

    if if_changed.lower() not in ("true", "false"):
        raise ConfigError(f"--if-changed {if_changed[:40]!r} is neither true nor false.", "Write --if-changed true.")
    stage.run(
        stage_context("due", artifacts, run_id, task), contamination, if_changed=if_changed.lower() == "true",
        passed_out=passed_out,
    )
    finish(executor_input)


@stages.command()
def diagnose(
    section: Section, samples: Annotated[Path, typer.Option()], verdicts: Annotated[Path, typer.Option()],
    diagnosis_out: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Measure on a pilot whether steering brings out refusals at all."""
    from thinksafe.config.sections import DiagnoseSection
    from thinksafe.stages import diagnose as stage

    stage.run(
        stage_context("diagnose", artifacts, run_id, task), parse_section(section, DiagnoseSection), samples, verdicts,
        diagnosis_out=diagnosis_out, passed_out=passed_out,
    )
    finish(executor_input)


@stages.command()
def curate(
    section: Section, samples: Annotated[Path, typer.Option()], verdicts: Annotated[Path, typer.Option()],
    examples_out: Annotated[Path, typer.Option()], decision_out: Annotated[Path, typer.Option()],
    passed_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Turn accepted samples into examples and count the reasons of rejection."""
    from thinksafe.config.sections import CurateSection
    from thinksafe.stages import curate as stage

    result = stage.run(
        stage_context("curate", artifacts, run_id, task), parse_section(section, CurateSection), samples, verdicts,
        examples_out=examples_out, decision_out=decision_out, passed_out=passed_out,
    )
    finish(executor_input, examples=dict(result.counts))


@stages.command()
def train(
    section: Section, base: Annotated[Path, typer.Option()], examples: Annotated[Path, typer.Option()],
    adapter_out: Annotated[Path, typer.Option()], candidate_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Train a LoRA adapter on the examples."""
    from thinksafe.config.sections import TrainSection
    from thinksafe.stages import train as stage

    result = stage.run(
        stage_context("train", artifacts, run_id, task), parse_section(section, TrainSection), base, examples,
        adapter_out=adapter_out, candidate_out=candidate_out,
    )
    finish(executor_input, adapter={**result.counts, "digest": result.outputs.get("adapter", "")})


@stages.command()
def register(
    section: Section, candidate: Annotated[Path, typer.Option()], examples: Annotated[Path, typer.Option()],
    registration_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Register the adapter as a model version with the alias candidate."""
    from thinksafe.config.sections import RegisterSection
    from thinksafe.stages import register as stage

    stage.run(
        stage_context("register", artifacts, run_id, task), parse_section(section, RegisterSection),
        candidate, examples,
        registration_out=registration_out,
    )
    finish(executor_input)


@stages.command()
def metrics(
    section: Section, role: Annotated[str, typer.Option(help="base, candidate, champion or evaluated.")],
    samples: Annotated[Path, typer.Option()], verdicts: Annotated[Path, typer.Option()],
    grades: Annotated[Path, typer.Option()], metrics_out: Annotated[Path, typer.Option()],
    outcomes_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Turn verdicts and grades into metrics with intervals."""
    from thinksafe.config.sections import MetricsSection
    from thinksafe.errors import ConfigError
    from thinksafe.records import MetricSet
    from thinksafe.registry.tracking_names import metric_values
    from thinksafe.stages import metrics as stage

    if role not in ("base", "candidate", "champion", "evaluated"):
        raise ConfigError(f"--role {role[:40]!r} is not a role.", "Use base, candidate, champion or evaluated.")
    result = stage.run(
        stage_context("metrics", artifacts, run_id, task), parse_section(section, MetricsSection),
        cast("Role", role), samples,
        verdicts, grades, metrics_out=metrics_out, outcomes_out=outcomes_out,
    )
    values = dict(metric_values(MetricSet.model_validate(result.details["metrics"])))
    finish(executor_input, metrics=values)


@stages.command()
def gate(
    section: Section,
    base_metrics: Annotated[Path, typer.Option()], base_outcomes: Annotated[Path, typer.Option()],
    candidate_metrics: Annotated[Path, typer.Option()], candidate_outcomes: Annotated[Path, typer.Option()],
    champion_metrics: Annotated[Path, typer.Option()], champion_outcomes: Annotated[Path, typer.Option()],
    decision_out: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    contamination: Annotated[Path | None, typer.Option(help="Contamination report of prepare.")] = None,
    registration: Annotated[Path | None, typer.Option()] = None,
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Decide whether the candidate may be promoted."""
    from thinksafe.config.sections import GateSection
    from thinksafe.stages import gate as stage

    stage.run(
        stage_context("gate", artifacts, run_id, task), parse_section(section, GateSection),
        base_metrics, base_outcomes, candidate_metrics, candidate_outcomes, champion_metrics, champion_outcomes,
        contamination=contamination, registration=registration, decision_out=decision_out, passed_out=passed_out,
    )
    finish(executor_input)


@stages.command()
def promote(
    section: Section, decision: Annotated[Path, typer.Option()], registration: Annotated[Path, typer.Option()],
    candidate: Annotated[Path, typer.Option()], champion: Annotated[Path, typer.Option()],
    promotion_out: Annotated[Path, typer.Option()],
    artifacts: Artifacts = STORE, run_id: RunId = MANUAL, task: Task = "", executor_input: Executor = "",
) -> None:
    """Append to the promotion ledger and move the alias champion."""
    from thinksafe.config.sections import RegisterSection
    from thinksafe.stages import promote as stage

    stage.run(
        stage_context("promote", artifacts, run_id, task), parse_section(section, RegisterSection),
        decision, registration,
        candidate, champion, promotion_out=promotion_out,
    )
    finish(executor_input)
