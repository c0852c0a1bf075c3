"""The stage commands: what a container runs. Each reads files, calls one stage function, writes files.

Inputs and outputs are files; what was trained is a folder. What the commands share is in
:mod:`thinksafe.cli.stage_options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from thinksafe.cli.stage_options import (
    MANUAL,
    STORE,
    Artifacts,
    Executor,
    JobId,
    Method,
    PlanFile,
    RunId,
    Section,
    Task,
    add_commands,
    finish,
    open_stage,
    parallelism,
    parse_flag,
    parse_overrides,
    stage_context,
)

stages = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the stage commands to the application, under their own heading."""
    add_commands(stages, app)


@stages.command()
def plan(
    config: Annotated[str, typer.Option(help="Recipe name, path or YAML text.")],
    plan_out: Annotated[Path, typer.Option()], base_out: Annotated[Path, typer.Option()],
    champion_out: Annotated[Path, typer.Option()],
    overrides: Annotated[str, typer.Option(help="JSON list of key=value texts.")] = "[]",
    author: Annotated[str, typer.Option(help="Who published, submitted or started the run.")] = "",
    rounds: Annotated[int, typer.Option(help="Rounds that the pipeline was compiled for.")] = 1,
    job_id: JobId = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Validate the config and make the plan of the run, with one section per stage."""
    from thinksafe.stages import plan as stage

    changes = parse_overrides(overrides)
    context = stage_context("plan", artifacts, run_id or job_id or MANUAL, task)
    stage.run(
        context, config, changes, plan_out=plan_out, base_out=base_out, champion_out=champion_out,
        rounds=rounds, job_id=job_id, author=author,
    )
    finish(executor_input)


@stages.command()
def prepare(
    plan: PlanFile, pilot_out: Annotated[Path, typer.Option()], training_out: Annotated[Path, typer.Option()],
    evaluation_out: Annotated[Path, typer.Option()], contamination_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Load, label, deduplicate and decontaminate prompts."""
    from thinksafe.config.sections import PrepareSection
    from thinksafe.stages import prepare as stage

    stage.run(
        *open_stage("prepare", PrepareSection, plan, section, artifacts, run_id, task),
        pilot_out=pilot_out, training_out=training_out, evaluation_out=evaluation_out,
        contamination_out=contamination_out,
    )
    finish(executor_input)


@stages.command()
def sample(
    plan: PlanFile, model: Annotated[Path, typer.Option()], prompts: Annotated[Path, typer.Option()],
    samples_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", method: Method = "",
    executor_input: Executor = "",
) -> None:
    """Draw samples from a model, steered and plain, in resumable chunks."""
    from thinksafe.config.sections import SampleSection
    from thinksafe.stages import sample as stage

    result = stage.run(
        *open_stage("sample", SampleSection, plan, section, artifacts, run_id, task, method), model, prompts,
        samples_out=samples_out, parallelism=parallelism(plan, section or "sample"),
    )
    finish(executor_input, samples=dict(result.counts))


@stages.command()
def judge(
    plan: PlanFile, samples: Annotated[Path, typer.Option()], verdicts_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", method: Method = "",
    executor_input: Executor = "",
) -> None:
    """Give every sample a verdict: safe, unsafe or unknown."""
    from thinksafe.config.sections import JudgeSection
    from thinksafe.stages import judge as stage

    result = stage.run(
        *open_stage("judge", JudgeSection, plan, section, artifacts, run_id, task, method), samples,
        verdicts_out=verdicts_out, parallelism=parallelism(plan, section or "judge"),
    )
    finish(executor_input, verdicts=dict(result.counts))


@stages.command()
def grade(
    plan: PlanFile, samples: Annotated[Path, typer.Option()], grades_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", method: Method = "",
    executor_input: Executor = "",
) -> None:
    """Grade samples of problems against their reference answers."""
    from thinksafe.config.sections import GradeSection
    from thinksafe.stages import grade as stage

    result = stage.run(
        *open_stage("grade", GradeSection, plan, section, artifacts, run_id, task, method), samples,
        grades_out=grades_out, parallelism=parallelism(plan, section or "grade"),
    )
    finish(executor_input, grades=dict(result.counts))


@stages.command()
def work(
    address: Annotated[str, typer.Argument(help="Address of an order, which a stage wrote.")],
    worker: Annotated[
        int, typer.Option(min=0, envvar="JOB_COMPLETION_INDEX", help="This worker, from 0.")
    ] = 0,
) -> None:
    """Make chunks of an order of sample, judge or grade, with other workers."""
    from thinksafe.stages import grade, judge, sample
    from thinksafe.work.worker import work_on

    openers = {"sample": sample.chunk_sets, "judge": judge.chunk_sets, "grade": grade.chunk_sets}
    work_on(address, worker, openers)


@stages.command()
def due(
    plan: PlanFile, contamination: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    if_changed: Annotated[str, typer.Option(help="true: continue only if something is new.")] = "false",
    artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", executor_input: Executor = "",
) -> None:
    """Compare what the run starts from with what the champion was made from."""
    from thinksafe.config.plan_document import read_plan
    from thinksafe.stages import due as stage

    wanted = parse_flag("--if-changed", if_changed)
    context = stage_context("due", artifacts, run_id or read_plan(plan).run_id, task)
    stage.run(context, contamination, if_changed=wanted, passed_out=passed_out)
    finish(executor_input)


@stages.command()
def diagnose(
    plan: PlanFile, samples: Annotated[Path, typer.Option()], verdicts: Annotated[Path, typer.Option()],
    diagnosis_out: Annotated[Path, typer.Option()], safety_context_out: Annotated[Path, typer.Option()],
    passed_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", method: Method = "",
    executor_input: Executor = "",
) -> None:
    """Measure on a pilot whether steering brings out refusals at all, and choose the context of training, if any."""
    from thinksafe.config.sections import DiagnoseSection
    from thinksafe.stages import diagnose as stage

    stage.run(
        *open_stage("diagnose", DiagnoseSection, plan, section, artifacts, run_id, task, method), samples, verdicts,
        diagnosis_out=diagnosis_out, safety_context_out=safety_context_out, passed_out=passed_out,
    )
    finish(executor_input)


@stages.command()
def curate(
    plan: PlanFile, samples: Annotated[Path, typer.Option()], verdicts: Annotated[Path, typer.Option()],
    examples_out: Annotated[Path, typer.Option()], decision_out: Annotated[Path, typer.Option()],
    passed_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", method: Method = "",
    executor_input: Executor = "",
) -> None:
    """Turn accepted samples into examples and count the reasons of rejection."""
    from thinksafe.config.sections import CurateSection
    from thinksafe.stages import curate as stage

    result = stage.run(
        *open_stage("curate", CurateSection, plan, section, artifacts, run_id, task, method), samples, verdicts,
        examples_out=examples_out, decision_out=decision_out, passed_out=passed_out,
    )
    finish(executor_input, examples=dict(result.counts))


@stages.command()
def train(
    plan: PlanFile, base: Annotated[Path, typer.Option()], examples: Annotated[Path, typer.Option()],
    trained_out: Annotated[Path, typer.Option()], candidate_out: Annotated[Path, typer.Option()],
    decision_out: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    safety_context: Annotated[Path | None, typer.Option(help="Context that diagnose chose.")] = None,
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", method: Method = "",
    executor_input: Executor = "",
) -> None:
    """Train a LoRA adapter, or all weights, on the examples."""
    from thinksafe.config.sections import TrainSection
    from thinksafe.stages import train as stage

    result = stage.run(
        *open_stage("train", TrainSection, plan, section, artifacts, run_id, task, method), base, examples,
        safety_context=safety_context, trained_out=trained_out, candidate_out=candidate_out, decision_out=decision_out,
        passed_out=passed_out,
    )
    finish(executor_input, trained={**result.counts, "digest": result.outputs.get("trained", "")})


@stages.command()
def register(
    plan: PlanFile, candidate: Annotated[Path, typer.Option()], examples: Annotated[Path, typer.Option()],
    registration_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Register the adapter as a model version with the alias candidate."""
    from thinksafe.config.sections import RegisterSection
    from thinksafe.stages import register as stage

    stage.run(
        *open_stage("register", RegisterSection, plan, section or "registry", artifacts, run_id, task),
        candidate, examples, registration_out=registration_out,
    )
    finish(executor_input)


@stages.command()
def metrics(
    plan: PlanFile, role: Annotated[str, typer.Option(help="base, candidate, champion or evaluated.")],
    samples: Annotated[Path, typer.Option()], verdicts: Annotated[Path, typer.Option()],
    grades: Annotated[Path, typer.Option()], metrics_out: Annotated[Path, typer.Option()],
    outcomes_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", method: Method = "",
    executor_input: Executor = "",
) -> None:
    """Turn verdicts and grades into metrics with intervals."""
    from thinksafe.config.sections import MetricsSection
    from thinksafe.errors import ConfigError
    from thinksafe.jsonl import read_record
    from thinksafe.records import MetricSet, Role
    from thinksafe.registry.tracking_names import metric_values
    from thinksafe.stages import metrics as stage

    if role not in (roles := get_args(Role)):
        raise ConfigError(f"--role {role[:40]!r} is not a role.", f"Use {', '.join(roles)}.")
    stage.run(
        *open_stage("metrics", MetricsSection, plan, section, artifacts, run_id, task, method), cast("Role", role),
        samples, verdicts, grades, metrics_out=metrics_out, outcomes_out=outcomes_out,
    )
    values = dict(metric_values(read_record(metrics_out, MetricSet)))
    finish(executor_input, metrics=values)


@stages.command()
def gate(
    plan: PlanFile,
    base_metrics: Annotated[Path, typer.Option()], base_outcomes: Annotated[Path, typer.Option()],
    candidate_metrics: Annotated[Path, typer.Option()], candidate_outcomes: Annotated[Path, typer.Option()],
    champion_metrics: Annotated[Path, typer.Option()], champion_outcomes: Annotated[Path, typer.Option()],
    decision_out: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    contamination: Annotated[Path | None, typer.Option(help="Contamination report of prepare.")] = None,
    registration: Annotated[Path | None, typer.Option()] = None,
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "", method: Method = "",
    executor_input: Executor = "",
) -> None:
    """Decide whether the candidate may be promoted."""
    from thinksafe.config.sections import GateSection
    from thinksafe.stages import gate as stage

    stage.run(
        *open_stage("gate", GateSection, plan, section, artifacts, run_id, task, method),
        base_metrics, base_outcomes, candidate_metrics, candidate_outcomes, champion_metrics, champion_outcomes,
        contamination=contamination, registration=registration, decision_out=decision_out, passed_out=passed_out,
    )
    finish(executor_input)


@stages.command()
def promote(
    plan: PlanFile, decision: Annotated[Path, typer.Option()], registration: Annotated[Path, typer.Option()],
    candidate: Annotated[Path, typer.Option()], champion: Annotated[Path, typer.Option()],
    promotion_out: Annotated[Path, typer.Option()], passed_out: Annotated[Path, typer.Option()],
    section: Section = "", artifacts: Artifacts = STORE, run_id: RunId = "", task: Task = "",
    executor_input: Executor = "",
) -> None:
    """Append to the promotion ledger and move the alias champion."""
    from thinksafe.config.sections import PromoteSection
    from thinksafe.stages import promote as stage

    stage.run(
        *open_stage("promote", PromoteSection, plan, section, artifacts, run_id, task), decision, registration,
        candidate, champion, promotion_out=promotion_out, passed_out=passed_out,
    )
    finish(executor_input)
