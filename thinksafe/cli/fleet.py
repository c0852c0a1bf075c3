"""``thinksafe fleet``: everything in some stores on one page."""

from __future__ import annotations

from typing import Annotated

import typer

fleet = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.registered_commands += fleet.registered_commands


@fleet.command("fleet")
def fleet_(
    artifacts: Annotated[list[str], typer.Option(metavar="ROOT", help="Store root, repeated for several stores.")],
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder, or s3://bucket/prefix, that gets index.html.")
    ] = "",
    openmetrics: Annotated[
        str, typer.Option(metavar="FILE", help="Also write the numbers as OpenMetrics text, to a file or s3:// object.")
    ] = "",
) -> None:
    """Show all registered models of some stores: champions, their numbers over time, and what needs a person.

    Exits with 0 if everything could be read, 1 if something could not, which the page then says, 2 for bad input.
    """
    import time

    from thinksafe.errors import ConfigError, StoreError
    from thinksafe.fleet import kept, places
    from thinksafe.fleet.page import render_fleet
    from thinksafe.fleet.survey import survey

    if not out and not openmetrics:
        raise ConfigError("There is nothing to write.", "Give --out DIR, --openmetrics FILE or both.")
    memory = places.inside(out, places.KEPT) if out else ""
    found, learnt = survey(artifacts, time.time(), kept.parse(places.read(memory) if memory else b""))
    if out:
        page = places.inside(out, places.PAGE)
        places.write(page, render_fleet(found, places.links(out)).encode())
        places.write(memory, learnt.model_dump_json().encode())
        typer.echo(f"wrote {page}")
    if openmetrics:
        from thinksafe.fleet.openmetrics import exposition

        places.write(openmetrics, exposition(found))
        typer.echo(f"wrote {openmetrics}")
    if problems := found.problems:
        more = f" {len(problems) - 1} more are on the page." if len(problems) > 1 and out else ""
        raise StoreError(f"Not everything could be read: {problems[0]}{more}", "Repair it and start again.")
