"""``thinksafe benchmarks``: the known benchmarks, and what their graders say on responses of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

benchmarks = typer.Typer(help="List the known benchmarks, or try their graders on responses of your own.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(benchmarks, name="benchmarks")


@benchmarks.callback(invoke_without_command=True)
def list_benchmarks(context: typer.Context) -> None:
    """List the known benchmarks: metric, prompts, licence, and where they come from."""
    if context.invoked_subcommand is not None:
        return
    from thinksafe.benchmarks.definitions import definition, definition_names

    for name in definition_names():
        known = definition(name)
        origin = f"{known.repo}@{known.revision[:12]}" if known.repo else "shipped"
        gate = ", gated: needs HF_TOKEN" if known.gated else ""
        typer.echo(f"{name}: {known.title}\n    {known.metric}, {known.rows:,} prompts, version {known.version}")
        typer.echo(f"    {origin}{gate}; licence {known.licence}")


@benchmarks.command("grade")
def grade(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON Lines with response, answer and, if lettered, options.")
    ],
    explain: Annotated[
        bool, typer.Option("--explain", help="Add to each row in words why it counts as right or wrong.")
    ] = False,
) -> None:
    """Grade responses, and write the same rows with extracted, correct and reading to standard output.

    A response without think tags is an answer as it stands; of one with a closed thought the rest is judged; an open
    thought has no answer. `options` is the number of lettered options, or a list of their texts.
    """
    from thinksafe.judging.rows import graded_rows

    for row in graded_rows(file, explain=explain):
        typer.echo(json.dumps(row))
