"""``thinksafe export``: a registered model as a folder that loads elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

exporting = typer.Typer()


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.registered_commands += exporting.registered_commands


@exporting.command()
def export(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Registered model name.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; it must not exist, or be empty.")],
    artifacts: Annotated[str, typer.Option(help="Store root: that of the runs, a local run's is DIR/store.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Version to export; by default the champion.")
    ] = None,
    config: Annotated[
        str, typer.Option(metavar="CONFIG", help="Config with the section sign: whose signatures count.")
    ] = "",
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge the adapter into the weights of its base.")
    ] = False,
) -> None:
    """Write a registered model into a folder: adapter or weights, tokenizer, README.md (the card) and bom.cdx.json.

    It loads with PEFT's PeftModel.from_pretrained and vLLM's --lora-modules; all weights, or --merge, load by
    themselves. Every file is checked by its digest and, where versions are signed, by its signature.
    """
    from thinksafe.cli.signatures import seal_for
    from thinksafe.deploy.export import export as write
    from thinksafe.errors import ConfigError
    from thinksafe.registry.versions import find_release
    from thinksafe.store import open_store

    if "://" not in artifacts and not Path(artifacts).is_dir():
        raise ConfigError(f"There is no folder {artifacts}.", "Name the store of the run as --artifacts.")
    store = open_store(artifacts)
    found = find_release(store, model, "" if version is None else str(version))
    seal = seal_for(store, model, config, "")
    if not found.was_champion:
        typer.echo(f"{model} version {found.version} never was champion; README.md says what was decided")
    folder = write(store, found, out, merge=merge, tell=typer.echo, seal=seal)
    digest = found.reference.adapter_digest or found.reference.weights_digest
    typer.echo(f"wrote {folder}: {model} version {found.version}, {digest[:12]}{', merged' if merge else ''}")
