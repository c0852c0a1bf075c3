"""Model versions in MLflow: what was trained is registered, tagged with the gate's decision, and given aliases.

The source of an adapter's version is a logged model with its two files, so that ``models:/<name>@champion`` can be
downloaded and served (vLLM, KServe) with nothing of this project installed. Where all weights were trained, they stay
in the store, and the logged model has a file that names their place and digest. All functions can be repeated, even
after a kill between any two of their calls.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from thinksafe.config.model import RegistrySettings
from thinksafe.errors import StageError, StoreError, ThinkSafeError
from thinksafe.jsonl import write_json
from thinksafe.models.references import ModelReference, Trained
from thinksafe.models.trained import fetch_trained, verify_trained
from thinksafe.records import Record, Text
from thinksafe.registry import ledger
from thinksafe.registry.mlflow_client import (
    all_pages,
    allowing,
    connect,
    ensure_experiment,
    error_code,
    missing_ok,
    quoted,
    reporting,
    resolve_tracking_uri,
    uploading,
)
from thinksafe.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
RUN_ID = "thinksafe.run_id"
PLACE = "weights.json"
"""File of a logged model that says where all weights are."""
ATTEMPTS = 10
"""How often set_champion follows a ledger that changes in the meantime."""


class Registration(Record):
    """One registered model version."""

    schema_version: Literal[1] = 1
    name: Text
    """Registered model."""
    version: Text
    """MLflow's number of the version."""
    run_id: Text
    candidate: Text
    """Digest of the model reference."""
    adapter_digest: str = ""
    weights_digest: str = ""
    data_digest: str
    """Digest of the training examples."""
    config_digest: str
    """Empty if the run has no plan record."""
    model_id: Text
    """Logged model in MLflow that contains the files."""
    mlflow_run: Text
    """Parent run in MLflow."""
    signature: str = Field(default="", exclude_if=lambda signature: not signature)
    """Digest of the signature of the files as this version, where they are signed."""
    tracking_uri: str = ""
    """As configured; empty if MLFLOW_TRACKING_URI decides."""


def digest_tag(trained: Trained) -> str:
    """Return the name of the tag that holds the digest of what was trained."""
    return f"thinksafe.{trained.noun}_digest"


def trained_of(reference: ModelReference) -> Trained:
    """Return what was trained of a reference. Raises StageError for an untrained student."""
    if reference.trained is None:
        raise StageError("The candidate is the student itself.", "Start the run again from training.")
    return reference.trained


def verify_candidate(store: Store, reference: ModelReference) -> None:
    """Check that what was trained is in the store and has the digest in the reference.

    Raises:
        StoreError: a file is missing or was changed.
    """
    verify_trained(store, trained_of(reference))


def register_candidate(
    store: Store, candidate: ModelReference, registry: RegistrySettings, *,
    run_id: str, data_digest: str, config_digest: str,
) -> Registration:
    """Register a candidate as a model version with the alias ``candidate``, once per run and digest.

    Args:
        store: Artifact store that contains what was trained.
        candidate: Reference of the trained student.
        registry: Registered model, experiment and server.
        run_id: Run that trained it.
        data_digest: Digest of the training examples.
        config_digest: Digest of the run's configuration; may be empty.

    Raises:
        ConfigError: no tracking URI.
        StageError: MLflow failed, or the adapter's configuration does not name the student.
        StoreError: the files are missing or changed.
    """
    from thinksafe.registry.tracking import ensure_parent_run

    trained = trained_of(candidate)
    uri = resolve_tracking_uri(registry.tracking_uri)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if trained.parameters == "lora":
            fetch_trained(store, trained, folder)
            check_base(folder, candidate)
        else:
            verify_trained(store, trained)
            student = candidate.student
            write_json(folder / PLACE, {
                "weights": store.uri(trained.place), "weights_digest": trained.digest, "base": student.model,
                "base_revision": student.revision,
            })
        parent = ensure_parent_run(registry, run_id, run_id)
        client, name = connect(uri), registry.model
        known = {
            RUN_ID: run_id,
            digest_tag(trained): trained.digest,
            "thinksafe.weights": store.uri(trained.place) if trained.parameters == "full" else "",
            "thinksafe.base": candidate.student.model,
            "thinksafe.base_revision": candidate.student.revision,
            "thinksafe.base_digest": candidate.base_digest,
            "thinksafe.data_digest": data_digest,
            "thinksafe.config_digest": config_digest,
        }
        tags = {key: value for key, value in known.items() if value}
        experiment = ensure_experiment(client, uri, registry.experiment)
        model = _ensure_model(client, uri, experiment, parent, folder, trained, tags)
    with reporting(uri, f"register a version of {name!r}"):
        version = _ensure_version(client, name, model, parent, trained, tags)
        aliases = client.get_registered_model(name).aliases
        # A repeated older run must not take the alias back from a newer version.
        if int(aliases.get(CANDIDATE, 0)) < int(version):
            client.set_registered_model_alias(name, CANDIDATE, version)
    return Registration(
        name=name, version=version, run_id=run_id, candidate=candidate.digest,
        data_digest=data_digest, config_digest=config_digest, **trained.digests,
        model_id=model.model_id, mlflow_run=parent, tracking_uri=registry.tracking_uri,
    )


def attach_card(registry: RegistrySettings, model_id: str, card: Path) -> None:
    """Put the model card beside a registered adapter, in place of an earlier one.

    Raises:
        ConfigError: no tracking URI.
        StageError: MLflow failed.
    """
    uri = resolve_tracking_uri(registry.tracking_uri)
    client = connect(uri)
    with reporting(uri, "attach the model card"), uploading(client, card.stat().st_size):
        client.log_model_artifact(model_id, str(card))


def check_base(folder: Path, candidate: ModelReference) -> None:
    """Check that an adapter names its base as the configuration does.

    PEFT records where the base was loaded from. Unchanged, a path of the training machine would be visible to everybody
    and mean another model elsewhere. So the entry must equal ``student.model``: a hub id with its revision,
    ``micro://<student>``, or, for a student in a folder, the folder as the user wrote it.

    Raises:
        StageError: the entry differs, or is unreadable.
    """
    student = candidate.student
    where = f"adapter_config.json of the adapter {candidate.adapter!r}"
    try:
        noted = json.loads((folder / "adapter_config.json").read_bytes())
        base, revision = noted["base_model_name_or_path"], noted.get("revision") or ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(f"The {where} is not readable.", "Start the run again from training.") from error
    if (base, revision) != (student.model, student.revision):
        raise StageError(
            f"The {where} names the base {base!r} at revision {revision!r}; the student is {student.model!r} at "
            f"{student.revision!r}.",
            "Set base_model_name_or_path and revision to the student's when saving the adapter.",
        )


def verify_version(client: MlflowClient, uri: str, name: str, version: str, trained: Trained) -> None:
    """Check that MLflow has a version and that it belongs to what was trained.

    MLflow lets an alias point only at a version that exists, but versions can be deleted by hand.

    Raises:
        StageError: it was deleted, belongs to something else, or MLflow failed.
    """
    try:
        with reporting(uri, f"find version {version} of {name!r}"):
            found = client.get_model_version(name, version)
    except StageError as error:
        if error_code(error.__cause__ or error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise StageError(
            f"Version {version} of {name!r} is not in MLflow.",
            "It was deleted, or this is another server; run the stage register again.",
        ) from error
    if found.tags.get(digest_tag(trained)) != trained.digest:
        raise StageError(
            f"Version {version} of {name!r} in MLflow belongs to other weights than the {trained.noun} "
            f"{trained.digest[:12]}.",
            "The ledger and this MLflow server do not belong together; check the tracking URI.",
        )


def set_champion(store: Store, model: str, client: MlflowClient, uri: str) -> ledger.LedgerEntry:
    """Make the alias ``champion`` follow the ledger's newest generation, which is returned.

    After a withdrawal there is no alias.

    The ledger is read again after the alias was set, because MLflow's alias is last-write-wins: a writer that was
    overtaken in between corrects itself.

    Raises:
        StageError: nothing has been promoted yet, or MLflow failed; the ledger is unchanged and the call can be
            repeated.
    """
    entry = ledger.newest(store, model)
    for _ in range(ATTEMPTS):
        if entry is None:
            raise StageError(f"Nothing has been promoted to {model!r} yet.", "Run the pipeline first.")
        wanted = "" if entry.action == "withdraw" else entry.version
        if champion_version(client, uri, model) != wanted:
            with reporting(uri, f"set the alias {CHAMPION!r} of {model!r}"):
                if wanted:
                    client.set_registered_model_alias(model, CHAMPION, wanted)
                else:
                    client.delete_registered_model_alias(model, CHAMPION)
        seen, entry = entry, ledger.newest(store, model)
        if entry == seen:
            return entry
    raise StageError(f"The ledger of {model!r} keeps changing.", "Start the same command again.")


def champion_version(client: MlflowClient, uri: str, model: str) -> str:
    """Return the version that the alias ``champion`` points to; empty if there is none. Raises StageError."""
    with reporting(uri, f"read the alias {CHAMPION!r} of {model!r}"):
        # Not by alias: a missing one is an error there. A number on a direct store, a string over HTTP.
        return str(client.get_registered_model(model).aliases.get(CHAMPION, ""))


def _ensure_model(
    client: MlflowClient, uri: str, experiment: str, parent: str, folder: Path, trained: Trained, tags: dict[str, str]
) -> Any:
    """Return the logged model of this run, with the files of the folder uploaded."""
    with reporting(uri, "create a logged model"):
        found = all_pages(client.search_logged_models, [experiment], filter_string=_tagged(trained, tags))
        # FAILED ones stay as the record of a failed upload; the upload of a killed attempt is repeated.
        usable = [model for model in found if str(model.status) != "FAILED"]
        ready = [model for model in usable if str(model.status) == "READY"]
        if chosen := (ready or usable):
            model = min(chosen, key=lambda found: found.creation_timestamp)
        else:
            model = client.create_logged_model(
                experiment, name=trained.noun, source_run_id=parent, model_type=trained.noun, tags=tags
            )
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    try:
        with reporting(uri, f"upload the {trained.noun}"), uploading(client, sum(sizes.values())):
            if not sizes.items() <= _uploaded(client, model.model_id).items():
                client.log_model_artifacts(model.model_id, str(folder))
            # An attempt beside this one may be writing the same files just now; none of them stays short for long.
            for wait in (0, 0.1, 0.4, 1.6):
                time.sleep(wait)
                if sizes.items() <= _uploaded(client, model.model_id).items():
                    break
            else:
                raise StoreError(
                    "MLflow's artifact store does not have the files that were uploaded.",
                    "Check the server's artifact store, then start the same command again.",
                )
    except ThinkSafeError:
        if not ready:
            # A server that is gone gets no update and is not waited for; the error that matters is the upload's.
            with allowing(client, 3.0), suppress(Exception):
                client.finalize_logged_model(model.model_id, "FAILED")
        raise
    with reporting(uri, "finalise the logged model"):
        return model if ready else client.finalize_logged_model(model.model_id, "READY")


def _tagged(trained: Trained, tags: dict[str, str]) -> str:
    return f"tags.`{RUN_ID}` = {quoted(tags[RUN_ID])} and tags.`{digest_tag(trained)}` = {quoted(trained.digest)}"


def _uploaded(client: MlflowClient, model_id: str) -> dict[str, int | None]:
    return {file.path: file.file_size for file in client.list_logged_model_artifacts(model_id)}


def _ensure_version(
    client: MlflowClient, name: str, model: Any, parent: str, trained: Trained, tags: dict[str, str]
) -> str:
    """Return the version of this run and digest; the lowest, if racing attempts both made one."""
    from mlflow.exceptions import MlflowException

    wanted = f"name = {quoted(name)} and {_tagged(trained, tags)}"
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error_code(error) not in {"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"}:
            raise
    if found := all_pages(client.search_model_versions, wanted):
        return str(min(int(version.version) for version in found))
    # The location, not models:/<id>: a direct store resolves the latter through the process-wide tracking URI.
    created = client.create_model_version(
        name, source=model.artifact_location, run_id=parent, model_id=model.model_id, tags=tags
    )
    first = str(min(int(version.version) for version in all_pages(client.search_model_versions, wanted)))
    if first != str(created.version):
        with missing_ok():
            client.delete_model_version(name, str(created.version))
    return first
