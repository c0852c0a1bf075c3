"""``thinksafe benchmarks``: what graders say, on responses of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

benchmarks = typer.Typer(no_args_is_help=True, help="Try the graders of benchmarks on responses of your own.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(benchmarks, name="benchmarks")


@benchmarks.callback()
def _group() -> None:
    pass


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
