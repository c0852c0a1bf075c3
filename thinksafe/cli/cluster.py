"""The user commands for a cluster: publish, submit, schedule, doctor, and config pin."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinksafe.cli.commands import ConfigArgument, Overrides, config
from thinksafe.cli.sign_off import approved_run, author_of

if TYPE_CHECKING:
    from thinksafe.config.cluster import ClusterSettings
    from thinksafe.config.cluster_services import PlaceSettings
    from thinksafe.config.model import RealignmentConfig
    from thinksafe.config.suite import SuiteConfig

cluster = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the commands for clusters to the application."""
    app.registered_commands += cluster.registered_commands


Pipeline = Annotated[
    str,
    typer.Option(
        metavar="realign|evaluate|compare|promote", help="One pipeline only; an evaluation takes a suite, too."
    ),
]


@cluster.command()
def publish(config: ConfigArgument, override: Overrides = None, pipeline: Pipeline = "") -> None:
    """Make the pipelines, versions, experiment and schedules on the cluster match the config.

    The realignment and the evaluation are published, if the config lists methods their comparison, and if it requires
    approvals the promotion. A second call changes nothing.
    """
    from thinksafe.config import RealignmentConfig
    from thinksafe.config.load import load_either

    settings, document = _cluster_of(config, override or [], pipeline)
    publishing = _kfp("publishing")
    loaded, author = load_either(config, override), ""
    wanted = {"realign", "evaluate", pipeline}
    if isinstance(loaded, RealignmentConfig):
        author = author_of(loaded) if pipeline in ("", "realign") else ""
        wanted |= {name for name, use in (
            ("compare", loaded.compare), ("promote", loaded.promotion.approval.required),
        ) if use}
    names = [name for name in _pipelines(pipeline) if name in wanted]
    for name, told in _estimates(config, override or [], names).items():
        typer.echo(f"{name}: {told}")
    for name in names:
        done = publishing.publish(settings, document, override or [], name, author=author if name == "realign" else "")
        typer.echo("\n".join(done.changes) if done.changes else "nothing to change: everything is published")
        typer.echo(f"pipeline {done.name} ({done.pipeline_id}), version {done.version} ({done.version_id})")
        if done.recurring_run_id:
            typer.echo(f"runs at {done.cron!r} ({done.recurring_run_id})")
        for item, runs in done.waiting.items():
            typer.echo(f"recurring run {item} is disabled; a later publish removes it: {_listed(runs)} under way")


@cluster.command()
def submit(
    config: ConfigArgument, override: Overrides = None,
    name: Annotated[str, typer.Option(help="Name of the run in Kubeflow; the config's by default.")] = "",
    pipeline: Annotated[str, typer.Option(metavar="realign|evaluate|compare", help="Which pipeline.")] = "realign",
    model: Annotated[
        str, typer.Option(help="What to evaluate: champion, models:/NAME@champion, models:/NAME/VERSION or a student.")
    ] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Evaluate new samples.")] = False,
    promote: Annotated[
        str, typer.Option("--promote", metavar="N", help="Promote version N, which people approved, and roll it out.")
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the run's end, and end it if a pod of it does not start.")
    ] = False,
) -> None:
    """Start one run of a config on the cluster, and print its id.

    With --wait, exits with 1 if the run does not succeed.
    """
    from thinksafe.config import load_config, load_suite
    from thinksafe.config.model import RealignmentConfig
    from thinksafe.config.placeholders import holds_placeholder
    from thinksafe.errors import ConfigError

    if promote and pipeline != "realign":
        raise ConfigError("--promote and --pipeline exclude each other.", "Use only one of them.")
    given = {key: value for key, value in (("model", model), ("fresh", fresh)) if value}
    if given and pipeline != "evaluate":
        raise ConfigError(f"--{next(iter(given))} is for evaluations.", "Add --pipeline evaluate, or leave it out.")
    for option, text in (("name", name), ("model", model)):
        if holds_placeholder(text):
            raise ConfigError(
                f"--{option} {text[:80]!r} contains a placeholder of Kubeflow.", "Write it without {{, $( and $$."
            )
    settings, document = _cluster_of(config, override or [], pipeline)
    author, loaded = "", (load_suite if pipeline == "evaluate" else load_config)(config, override)
    if pipeline == "realign" and isinstance(loaded, RealignmentConfig):
        if promote:
            pipeline, given = "promote", {"run_id": approved_run(settings.store, loaded.registry.model, promote)}
        else:
            author = author_of(loaded)
    for told in _estimates(config, override or [], [pipeline]).values():
        typer.echo(told)
    done, run = _kfp("publishing").submit(
        settings, document, override or [], name or loaded.name, pipeline, given, author=author
    )
    typer.echo("\n".join([*done.changes, f"submitted run {run}, version {done.version}"]))
    if wait:
        for line in _kfp("starting").follow(settings, run, loaded.alarm.webhook_env):
            typer.echo(line)


@cluster.command("end-stuck")
def end_stuck(config: ConfigArgument, override: Overrides = None) -> None:
    """End the config's runs that wait for a pod for longer than the start_within of its stage, and say why.

    Nothing else does: Kubeflow shows such a run as RUNNING for ever. The chart starts this command regularly. The
    webhook that alarm.webhook_env names is told of each.
    """
    cluster, loaded = _section_of(config, override or [])
    found = _kfp("starting").end_stuck(cluster, webhook=loaded.alarm.webhook_env)
    typer.echo("\n".join(map(str, found)) or "no pod of a run has waited too long")


@cluster.command()
def schedule(
    config: Annotated[
        str,
        typer.Argument(
            metavar="[CONFIG]",
            help="A shipped recipe's name, or a path; without it, --set cluster.kfp.* and cluster.namespace do.",
        ),
    ] = "",
    override: Overrides = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the recurring runs.")] = False,
    now: Annotated[bool, typer.Option("--now", help="With --remove: end their runs under way, too.")] = False,
    pipeline: Pipeline = "",
) -> None:
    """Show the recurring runs of a config and their latest runs, or remove them.

    `thinksafe publish` creates and updates them from the config's cluster.schedule. Kubeflow ends the runs of a
    recurring run that is removed: with runs under way it is disabled only, named, and the exit code is 1.
    """
    from thinksafe.errors import ConfigError, StageError

    if now and not remove:
        raise ConfigError("--now goes with --remove.", "Add --remove, or leave it out.")
    place, owner = _place_of(config, override or [], pipeline)
    schedules = _kfp("schedules")
    if not remove:
        _show([item for name in _pipelines(pipeline) for item in schedules.scheduled(place, name, owner)])
        return
    try:
        done = [schedules.unschedule(place, name, owner, now=now) for name in _pipelines(pipeline)]
    except StageError as error:
        raise StageError(
            error.problem, f"{error.action} Recurring runs may still be enabled; `{_removal(place)}` removes them."
        ) from error
    count = sum(len(one.removed) for one in done)
    waiting = {item: runs for one in done for item, runs in one.waiting.items()}
    if count or not waiting:
        typer.echo(f"removed {count} recurring run{'s' if count != 1 else ''}" if count else "no recurring run")
    if waiting:
        named = "; ".join(f"{item}: {_listed(runs)}" for item, runs in waiting.items())
        raise StageError(
            f"Recurring runs with runs under way are disabled and not removed, since their runs would end: {named}.",
            "Start the same command again once these runs have ended, or with --now to end them.",
        )


def _show(found: list[Any]) -> None:
    if not found:
        typer.echo("there is no recurring run; `thinksafe publish` creates those that cluster.schedule enables")
    for item in found:
        state = "enabled" if item.enabled else "disabled"
        typer.echo(f"{item.name} {item.recurring_run_id}: {state}, {item.cron!r}, version {item.version_id}")
        for run in item.runs:
            typer.echo(f"  run {run.run_id}: {run.state}")
        if item.under_way and not item.enabled:
            typer.echo(f"  the next publish after the end of {_listed(item.under_way)} removes it")


def _listed(runs: tuple[Any, ...]) -> str:
    return f"run{'s' if len(runs) > 1 else ''} {', '.join(map(str, runs))}"


def _removal(place: ClusterSettings | PlaceSettings) -> str:
    """Return the command that removes recurring runs from a workstation, by names alone."""
    kfp, far = place.kfp, {}
    if kfp.access == "in-cluster" and kfp.multi_user:  # which asks for a token
        far = {"access": "token", "host": kfp.host or "http://localhost:8888"}
    elif kfp.access == "in-cluster" and not kfp.host:
        far = {"access": "port-forward"}
    own = kfp.model_dump(exclude_defaults=True, include={"host", "namespace", "access", "ca_file", "pipeline"})
    given = {f"cluster.kfp.{name}": value for name, value in {**own, **far}.items()}
    if kfp.multi_user:
        given |= {"cluster.kfp.multi_user": "true", "cluster.namespace": place.namespace}
    return " ".join(
        ["thinksafe schedule --remove", *(f"--set {shlex.quote(f'{key}={value}')}" for key, value in given.items())]
    )


@cluster.command()
def doctor(
    config: Annotated[str, typer.Argument(metavar="[CONFIG]", help="A shipped recipe's name, or a path.")] = "",
    on_cluster: Annotated[
        bool, typer.Option("--cluster", help="Check the config's cluster instead of this machine.")
    ] = False,
    in_cluster: Annotated[
        bool, typer.Option("--in-cluster", help="Start pods that check from inside of the cluster, too.")
    ] = False,
    services: Annotated[
        bool, typer.Option("--services", help="Check the services alone, as the pods of --in-cluster do.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    override: Overrides = None,
) -> None:
    """Check what a run needs, on this machine or on the config's cluster, and say how to fix what is missing.

    Exits with 0 if nothing failed, 1 if something did, 2 for bad input.
    """
    from thinksafe.cli.doctor import run_doctor

    sys.exit(run_doctor(
        config, override or [], cluster=on_cluster, as_json=as_json, pods=in_cluster, services=services
    ))


@config.command("pin")
def config_pin(
    config: ConfigArgument, override: Overrides = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the whole config, pinned.")] = None,
) -> None:
    """Find the commit of every hub id without one; print them as --set options, or write the config with --out.

    CONFIG may be a suite.
    """
    import yaml

    from thinksafe.config.load import canonical, load_either
    from thinksafe.jsonl import write_atomic
    from thinksafe.models.pins import resolve, unpinned

    found = {pin.key: resolve(pin) for pin in unpinned(load_either(config, override))}
    changes = [f"{key}={commit}" for key, commit in found.items()]
    if out is None:
        typer.echo("\n".join(f"--set {change}" for change in changes) or "every hub id has a commit already")
        return
    # YAML would read a commit that consists of digits as a number
    pinned = load_either(config, [*(override or []), *(f"{key}='{commit}'" for key, commit in found.items())])
    write_atomic(out, yaml.safe_dump(canonical(pinned), sort_keys=False).encode())
    typer.echo(f"wrote {out}")


def _cluster_of(config: str, overrides: list[str], pipeline: str = "") -> tuple[ClusterSettings, str]:
    """Return the cluster section and the text of a configuration, which may be a suite for evaluations only."""
    from thinksafe.config import load_config, load_suite
    from thinksafe.config.load import find_document
    from thinksafe.models.pins import require_pinned, require_pinned_methods

    if pipeline == "compare":
        return require_pinned_methods(config, overrides), find_document(config).text
    loaded = (load_suite if pipeline == "evaluate" else load_config)(config, overrides)
    return require_pinned(loaded), find_document(config).text


def _estimates(config: str, overrides: list[str], pipelines: list[str]) -> dict[str, str]:
    """Return what a run of each pipeline takes, in a line; nothing of a promotion, which goes on with a run.

    Raises:
        ConfigError: one is above the config's limit.
    """
    from thinksafe.cli.estimate import estimate_of, known_of
    from thinksafe.estimating.words import require_within_limit, told

    known = known_of(config, overrides)
    found = {name: estimate_of(config, overrides, name, known) for name in pipelines if name != "promote"}
    for one in found.values():
        require_within_limit(one)
    return {name: told(one) for name, one in found.items()}


def _section_of(
    config: str, overrides: list[str], pipeline: str = ""
) -> tuple[ClusterSettings, RealignmentConfig | SuiteConfig]:
    """Return the cluster section of a configuration or a suite, and all of it. Raises ConfigError if it has none."""
    from thinksafe.config.load import load_either, load_suite
    from thinksafe.errors import ConfigError

    loaded = (load_suite if pipeline == "evaluate" else load_either)(config, overrides)
    if loaded.cluster is None:
        raise ConfigError(f"The configuration {loaded.name} has no section cluster.", "Add one (docs/cluster.md).")
    return loaded.cluster, loaded


def _place_of(config: str, overrides: list[str], pipeline: str) -> tuple[ClusterSettings | PlaceSettings, str]:
    """Return where the pipelines of a configuration are, and their owner; the owner is empty without a config."""
    from thinksafe.config.load import load_place

    if not config:
        return load_place(overrides), ""
    cluster, loaded = _section_of(config, overrides, pipeline)
    return cluster, _kfp("schedules").owner_of(cluster, loaded.name)


def _pipelines(pipeline: str) -> tuple[str, ...]:
    """Return the pipelines that a command concerns: the named one, or all."""
    from importlib import import_module

    return (pipeline,) if pipeline else import_module("thinksafe_pipelines.commands").PIPELINES


def _kfp(name: str) -> Any:
    """Import a module about Kubeflow's API."""
    from importlib import import_module

    return import_module(f"thinksafe_pipelines.kfp.{name}")
