"""Entry point: the typer application, and how errors are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import typer

from thinksafe import __version__
from thinksafe.cli import (
    audit,
    benchmarks,
    cluster,
    commands,
    comparison,
    estimate,
    evaluation_stages,
    export,
    fleet,
    guards,
    rollout_stages,
    sign_off,
    signatures,
    stages,
)
from thinksafe.errors import ThinkSafeError, known_error
from thinksafe.run import attempts

EXIT_INTERRUPTED = 130

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


commands.add_to(app)
cluster.add_to(app)
sign_off.add_to(app)
audit.add_to(app)
estimate.add_to(app)
export.add_to(app)
fleet.add_to(app)
signatures.add_to(app)
guards.add_to(app)
benchmarks.add_to(app)
stages.add_to(app)
evaluation_stages.add_to(app)
comparison.add_to(app)
rollout_stages.add_to(app)


@cache
def command() -> Callable[[], Any]:
    """Return the built application. Building takes longer than many stages; a forked process inherits it."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line and exit with its code (see :mod:`thinksafe.errors`).

    In a pod whose stage is retried this process only starts the stage, in a child, and starts it again if need be.
    """
    if retries := attempts.wanted(os.environ):
        replacing = attempts.replaces(os.environ.get(attempts.NODE_VARIABLE, ""))
        ended = attempts.supervise(retries, replacing=replacing)
        if ended is not None:
            sys.exit(ended)
    try:
        command()()
    except ThinkSafeError as error:
        _complain(error.problem, error.action)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code == EXIT_INTERRUPTED:  # typer's answer to a KeyboardInterrupt
            _complain("interrupted.", "Start the same command again; finished work is kept.")
        raise
    except Exception as error:
        if os.environ.get("THINKSAFE_DEBUG"):
            raise
        known = known_error(error, "Set THINKSAFE_DEBUG=1 and start the same command again to see the traceback.")
        _complain(known.problem, known.action)
        sys.exit(known.exit_code)


def _complain(problem: str, action: str) -> None:
    typer.echo(f"error: {problem}\n  {action}", err=True)
