"""``thinksafe verify`` and ``thinksafe sign``: signatures of models, for people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from thinksafe.config.sign import SignSettings
    from thinksafe.registry.signed import Seal
    from thinksafe.store import Store

signatures = typer.Typer()
Config = Annotated[str, typer.Option(metavar="CONFIG", help="Config with the section sign: whose signatures count.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.registered_commands += signatures.registered_commands


@signatures.command()
def verify(
    what: Annotated[str, typer.Argument(metavar="MODEL|DIR", help="Registered model, or a folder with its files.")],
    key: Annotated[
        list[Path] | None, typer.Option(metavar="PUB", help="Trusted public key in PEM, repeated; has no dates.")
    ] = None,
    config: Config = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of a local run.")] = None,
    artifacts: Annotated[str, typer.Option(help="Store root, where the run was not local.")] = "",
    signature: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signature of the folder; model.sig in it by default.")
    ] = None,
    signed_as: Annotated[str, typer.Option("--as", metavar="NAME@VERSION", help="What the folder has to be.")] = "",
) -> None:
    """Check that a model's ledger, records and files, or a folder, are what a trusted signer signed.

    Exits with 0 if they are, 3 if anything differs or is not signed, 2 for bad input.
    """
    from thinksafe.cli.local import store_of
    from thinksafe.errors import EXIT_STOPPED, SignatureError

    settings = _trusted(key or [], config)
    try:
        if Path(what).is_dir():
            lines = _folder(Path(what), signature, signed_as, settings)
        else:
            lines = _model(store_of(out, artifacts), what, settings)
    except SignatureError as error:
        typer.echo(f"refused: {error.problem}\n  {error.action}", err=True)
        sys.exit(EXIT_STOPPED)
    for line in lines:
        typer.echo(line)


@signatures.command()
def sign(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Registered model.")],
    config: Config,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of a local run.")] = None,
    artifacts: Annotated[str, typer.Option(help="Store root, where the run was not local.")] = "",
    private_key: Annotated[
        str, typer.Option(metavar="FILE", help="Private key; that of the config by default.")
    ] = "",
    anew: Annotated[
        bool, typer.Option("--anew", help="Sign it as it is, even where earlier signatures do not verify.")
    ] = False,
) -> None:
    """Sign a model's ledger and the files of all its generations: for a new key, or when signing is turned on."""
    from thinksafe.cli.local import store_of
    from thinksafe.errors import InputError
    from thinksafe.registry import ledger
    from thinksafe.registry.registration import trained_of
    from thinksafe.signing.trained import bundle_key, sign_trained, subject

    store = store_of(out, artifacts)
    seal = _seal(store, model, config, private_key)
    past = ledger.entries(store, model)
    if not past:
        raise InputError(f"Nothing has been promoted to {model!r} yet.", "Check the name and the store.")
    versions = {entry.version: trained_of(entry.target) for entry in past}
    if not anew:
        seal.require_history()
        for version, trained in versions.items():
            if store.exists(bundle_key(trained, subject(model, version))):
                seal.require_files(trained, version)
    for version, trained in versions.items():
        sign_trained(store, trained, subject(model, version), seal.settings)
        typer.echo(f"{trained.place} is signed as {subject(model, version)}")
    seal.sign(len(past))
    typer.echo(f"the ledger of {model} is signed up to generation {len(past)}")


def seal_for(store: Store, model: str, config: str, private_key: str) -> Seal | None:
    """Return what signs and checks the ledger, if the configuration has a section ``sign``; None without one.

    Raises:
        ConfigError: the ledger has signatures or a private key is given, and no section says whose count.
    """
    from thinksafe.config import load_config
    from thinksafe.errors import ConfigError
    from thinksafe.registry.signed import signature_keys

    if config and load_config(config).sign is not None:
        return _seal(store, model, config, private_key)
    if private_key or signature_keys(store, model):
        raise ConfigError(
            f"The ledger of {model!r} is signed, and it is not known whose signatures count.",
            "Give the configuration with the section sign (--config).",
        )
    return None


def _seal(store: Store, model: str, config: str, private_key: str) -> Seal:
    from thinksafe.registry.signed import Seal

    settings = _section(config)
    given: dict[str, Any] = {"private_key": private_key} if private_key else {}
    return Seal(store, model, settings.model_copy(update=given))


def _section(config: str) -> SignSettings:
    from thinksafe.config import load_config
    from thinksafe.errors import ConfigError

    settings = load_config(config).sign
    if settings is None:
        raise ConfigError(f"{config} has no section sign.", "Say in it whose signatures count (docs/governance.md).")
    return settings


def _trusted(keys: list[Path], config: str) -> SignSettings:
    """Return whose signatures count: those of the keys given, or of the configuration. Raises ConfigError."""
    from pydantic import ValidationError

    from thinksafe.config.sign import SignSettings, TrustedSigner
    from thinksafe.errors import ConfigError

    if bool(keys) == bool(config):
        raise ConfigError("It is not known whose signatures count.", "Give --key PUB or --config CONFIG.")
    if config:
        return _section(config)
    try:
        return SignSettings(trusted=tuple(
            TrustedSigner(name=f"key-{number}", public_key=path.read_text("utf-8"))
            for number, path in enumerate(keys, 1)
        ))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {', '.join(map(str, keys))}.", "Check --key.") from error
    except ValidationError:  # its text would show what the file holds
        raise ConfigError(
            f"{', '.join(map(str, keys))}: not an elliptic public key in PEM (P-256, P-384 or P-521).",
            "openssl ec -in private-key.pem -pubout -out public-key.pem",
        ) from None


def _folder(folder: Path, signature: Path | None, signed_as: str, settings: SignSettings) -> list[str]:
    from thinksafe.signing.signers import trust_of
    from thinksafe.signing.trained import BUNDLE, verify_folder

    name, found = verify_folder(folder, signature or folder / BUNDLE, signed_as, trust_of(settings))
    return [f"{folder} is {found}, signed by {name}"]


def _model(store: Store, model: str, settings: SignSettings) -> list[str]:
    """Return what was found of a model. Raises SignatureError, InputError and StoreError."""
    from thinksafe.errors import InputError, SignatureError
    from thinksafe.registry import ledger
    from thinksafe.registry.registration import trained_of
    from thinksafe.registry.signed import Seal, changed_evidence
    from thinksafe.signing.bundles import SIGN_AGAIN

    if ledger.newest(store, model) is None:
        raise InputError(f"{store.root} has no ledger of {model!r}.", "Check the name and the store (--artifacts).")
    seal = Seal(store, model, settings)
    past = seal.entries()
    entry = past[-1]
    lines = [f"ledger: {len(past)} generations are signed, or follow from what is"]
    if entry.action == "withdraw":
        return [*lines, f"generation {entry.generation} is a withdrawal: there is no champion"]
    name = seal.require_files(trained_of(entry.target), entry.version)
    lines.append(f"files: {model}@{entry.version} (generation {entry.generation}), signed by {name}")
    if changed := changed_evidence(store, entry):
        raise SignatureError(
            f"Records of the run {entry.run_id} are not those that the ledger names: {', '.join(changed)}.", SIGN_AGAIN
        )
    if entry.digests.evidence:
        lines.append(f"records: {len(entry.digests.evidence)} of the run {entry.run_id} are as they were promoted")
    return lines
