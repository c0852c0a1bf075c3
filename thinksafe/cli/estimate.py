"""``thinksafe estimate``: what a run takes, before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from thinksafe.cli.commands import ConfigArgument, Overrides

if TYPE_CHECKING:
    from thinksafe.estimating.build import Known
    from thinksafe.estimating.model import Estimate

estimating = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.registered_commands += estimating.registered_commands


@estimating.command()
def estimate(
    config: ConfigArgument, override: Overrides = None,
    artifacts: Annotated[
        str, typer.Option(help="Store root with earlier runs; the config's cluster.store by default.")
    ] = "",
    pipeline: Annotated[str, typer.Option(metavar="realign|evaluate|compare", help="Which pipeline.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON.")] = False,
) -> None:
    """Say what a run takes: prompts, samples, tokens, hours with a range, memory, storage and money.

    Lengths and times are those that the last runs of the same student measured, else the config's limits. Exits with 2
    if the estimate is above the config's cost.limit_gpu_hours.
    """
    from thinksafe.estimating.words import lines, require_within_limit

    found = estimate_of(config, override or [], pipeline, known_of(config, override or [], artifacts))
    typer.echo(found.model_dump_json(indent=2) if as_json else "\n".join(lines(found)))
    require_within_limit(found)


def known_of(config: str, overrides: list[str], artifacts: str = "") -> Known:
    """Return what a store knows of a configuration's student.

    Args:
        config: Recipe name, path, or YAML text; may be a suite.
        overrides: ``key=value`` texts.
        artifacts: Store root; the configuration's ``cluster.store`` by default.
    """
    from thinksafe.config.load import load_either
    from thinksafe.estimating.known import known_here

    loaded = load_either(config, overrides)
    return known_here(loaded, artifacts or (loaded.cluster.store if loaded.cluster is not None else ""))


def estimate_of(config: str, overrides: list[str], pipeline: str, known: Known) -> Estimate:
    """Return the estimate of a configuration or a suite.

    Args:
        config: Recipe name, path, or YAML text.
        overrides: ``key=value`` texts.
        pipeline: Which pipeline; if empty a realignment or, for a suite, an evaluation.
        known: What is known of the student.

    Raises:
        ConfigError: the configuration is wrong, or there is no such pipeline.
        InputError: a local file of prompts is missing or malformed.
    """
    from thinksafe.config.comparison import load_comparison
    from thinksafe.config.load import load_either, load_suite
    from thinksafe.config.suite import SuiteConfig
    from thinksafe.errors import ConfigError
    from thinksafe.estimating.build import estimate as build

    if pipeline not in ("", "realign", "evaluate", "compare"):
        raise ConfigError(f"There is no pipeline {pipeline!r}.", "Pipelines: realign, evaluate, compare.")
    if pipeline == "compare":
        return build(load_comparison(config, overrides), known)
    loaded = load_suite(config, overrides) if pipeline == "evaluate" else load_either(config, overrides)
    if isinstance(loaded, SuiteConfig) and pipeline == "realign":
        raise ConfigError(f"{loaded.name} is a suite, which only evaluates.", "Leave --pipeline out.")
    return build(loaded, known)
