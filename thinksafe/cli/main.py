"""Entry point: the typer application, and how errors reach a person."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from thinksafe import __version__
from thinksafe.cli import people, stages
from thinksafe.errors import EXIT_FAILED, ThinkSafeError

app = typer.Typer(
    name="thinksafe",
    help="Repair the safety of a reasoning model from its own samples, and gate what reaches users.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thinksafe {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


people.add_to(app)
stages.add_to(app)


def main() -> None:
    """Run the command line and exit with its code (see :mod:`thinksafe.errors`)."""
    try:
        app()
    except ThinkSafeError as error:
        print(f"error: {error.problem}\n  {error.action}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted.\n  Start the same command again; finished work is kept.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if os.environ.get("THINKSAFE_DEBUG"):
            raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        # the message of a foreign exception may quote model text, so only its type and place are shown
        print(
            f"error: unexpected {type(error).__name__} at {os.path.basename(frame.filename)}:{frame.lineno}.\n"
            "  Set THINKSAFE_DEBUG=1 and start the same command again to see the traceback.",
            file=sys.stderr,
        )
        sys.exit(EXIT_FAILED)
