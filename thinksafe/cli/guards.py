"""``thinksafe guards``: which guards there are, and what one says about texts of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinksafe.cli.commands import Overrides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thinksafe.judging.guards.base import Asked

BATCH = 1024
"""Most rows that a guard gets at once."""

guards = typer.Typer(
    invoke_without_command=True,
    help="List the guards: licence, gate, back ends and what they answer; or try one on texts of your own.",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(guards, name="guards")


@guards.callback()
def list_(context: typer.Context) -> None:
    """List the guards, unless a command follows."""
    if context.invoked_subcommand is not None:
        return
    from thinksafe.config.guard_kinds import BACKENDS, KINDS

    for kind, about in KINDS.items():
        typer.echo(f"{kind}: {about.title}")
        if about.model:
            terms = "; gated: accept the terms on the hub" if about.gated else "; not gated"
            typer.echo(f"  models       {', '.join((about.model, *about.others))}")
            typer.echo(f"  licence      {about.licence}{terms}")
            typer.echo(f"  back ends    {', '.join(BACKENDS)}")
        typer.echo(f"  probability  {about.probability or 'none'}")
        typer.echo(f"  refusals     {about.refusals}")
        typer.echo(f"  categories   {about.categories or 'none'}")


@guards.command("try")
def try_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON Lines with prompt, response and, if benign, label: benign.")
    ],
    kind: Annotated[str, typer.Option("--guard", metavar="KIND", help="A guard, as guard.evaluate.kind names it.")],
    override: Overrides = None,
) -> None:
    """Print a guard's opinion on each response, as JSON Lines in the order of FILE, without any of its text.

    The keys of --set are those of guard.evaluate: --set model=/models/guard --set backend=vllm.
    """
    import json
    from dataclasses import asdict

    from thinksafe.config.load import load_guard
    from thinksafe.judging.guards import open_guard
    from thinksafe.judging.guards.base import judge_parts

    settings = load_guard(kind, override or [])
    rows = list(_rows(file))
    guard = open_guard(settings)
    for start in range(0, len(rows), BATCH):
        # a response without think tags is read as it stands
        for opinion in judge_parts(guard, rows[start : start + BATCH], "think"):
            typer.echo(json.dumps(asdict(opinion)))


def _rows(file: Path) -> Iterator[Asked]:
    """Yield what a file asks. Raises InputError (file and line)."""
    from thinksafe.errors import InputError
    from thinksafe.jsonl import read_json_rows
    from thinksafe.judging.guards.base import Asked
    from thinksafe.records import Prompt

    for number, row in read_json_rows(file):
        prompt, response, label = row.get("prompt"), row.get("response"), row.get("label", "harmful")
        if not isinstance(prompt, str) or not prompt or not isinstance(response, str):
            key = "response" if isinstance(prompt, str) and prompt else "prompt"
            raise InputError(f"{file}, line {number}: {key} is not text.", "Each line needs prompt and response.")
        if label not in ("harmful", "benign"):
            raise InputError(f"{file}, line {number}: label is neither harmful nor benign.", "Correct or leave it out.")
        yield Asked(Prompt(id=str(number), prompt=prompt, label=label, source=str(file)), response, "whole")
