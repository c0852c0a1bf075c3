"""Which model is meant: the champion, a registered version, or a plain student."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import ValidationError

from thinksafe.config.model import RegistrySettings
from thinksafe.config.suite import SuiteConfig
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.models.references import ModelReference
from thinksafe.registry import ledger
from thinksafe.registry.registration import RUN_ID, digest_tag
from thinksafe.run.details import PlanDetails, RegisterDetails
from thinksafe.run.past import records_of
from thinksafe.run.record import find_evidence
from thinksafe.settings import StudentSettings
from thinksafe.store import Store
from thinksafe.training.details import TrainDetails

CHAMPION = "champion"
_VERSION = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


def resolve_model(text: str, suite: SuiteConfig, store: Store) -> ModelReference:
    """Return the model to evaluate, with the role ``evaluated``.

    Args:
        text: ``champion`` (of the suite's registered model), ``models:/<name>@champion``, ``models:/<name>/<version>``,
            or a student (``micro://``, folder, ``s3://``, hub id); empty takes the suite's student. The champion is
            what the promotion ledger says; a version is found through the run that made it.
        suite: Settings of a student, and the registry.
        store: Holds the ledger, and the records of the run that made a version.

    Raises:
        ConfigError: no model is named, or the name needs a registry and the suite has none.
        InputError: there is no such champion or version, or the student cannot be found or used.
        StageError: MLflow failed, or the version is not what its run made.
        StoreError: the ledger is malformed.
    """
    if text == CHAMPION:
        return _evaluated(_champion_entry(store, _registry(suite).model).target)
    if text.startswith("models:"):
        if not (found := _VERSION.fullmatch(text)) or found["alias"] not in (None, CHAMPION):
            raise ConfigError(
                f"The model {text[:200]!r} is not a registered version.",
                "Write models:/<name>@champion or models:/<name>/<version>.",
            )
        if found["alias"]:
            return _evaluated(_champion_entry(store, found["name"]).target)
        return _version(store, suite, found["name"], found["version"])
    return _student(text, suite)


def has_champion(text: str, suite: SuiteConfig, store: Store) -> bool:
    """Return whether the model exists if it is a champion: False if there is no champion yet.

    Raises:
        ConfigError: the name needs a registry and the suite has none.
        StoreError: the ledger is malformed.
    """
    found = _VERSION.fullmatch(text)
    if text == CHAMPION:
        return ledger.champion(store, _registry(suite).model) is not None
    if found is not None and found["alias"] == CHAMPION:
        return ledger.champion(store, found["name"]) is not None
    return True


def _registry(suite: SuiteConfig) -> RegistrySettings:
    if suite.registry is None:
        raise ConfigError(
            f"The suite {suite.name!r} has no registry, so it is not known whose champion is meant.",
            "Set registry.model, or write models:/<name>@champion.",
        )
    return suite.registry


def _champion_entry(store: Store, name: str) -> ledger.LedgerEntry:
    entry = ledger.newest(store, name)
    if entry is None:
        raise InputError(
            f"{name!r} has no champion: its promotion ledger in {store.root} is empty.",
            "Promote a candidate first, or name the store that contains the ledger (--artifacts).",
        )
    if entry.action == "withdraw":
        raise InputError(
            f"{name!r} has no champion: the last is {ledger.describe(entry)}.",
            "Promote another candidate, or return to a generation with `thinksafe rollback --to`.",
        )
    return entry


def _version(store: Store, suite: SuiteConfig, name: str, version: str) -> ModelReference:
    from thinksafe.registry.mlflow_client import connect, reporting, resolve_tracking_uri

    uri = resolve_tracking_uri(suite.registry.tracking_uri if suite.registry else "")
    client = connect(uri)
    with reporting(uri, f"look up version {version} of {name!r}"):
        tags = client.get_model_version(name, version).tags
    run_id = tags.get(RUN_ID, "")
    if not run_id:
        raise InputError(
            f"Version {version} of {name!r} was not registered by a realignment.", "Name a version that was."
        )
    found = made_by(store, run_id, name, version)
    trained = found.trained
    if trained is None or tags.get(digest_tag(trained)) != trained.digest:
        raise StageError(
            f"Version {version} of {name!r} is not what run {run_id} made.",
            "Do not deploy it; register the run's candidate again.",
        )
    return _evaluated(found)


class Release(NamedTuple):
    """A registered version that can be given away."""

    reference: ModelReference
    version: str
    run_id: str
    """Run that made it."""
    was_champion: bool


def find_release(store: Store, name: str, version: str = "") -> Release:
    """Return the champion of a registered model, or a version of it, by the ledger and the records of the store.

    Args:
        store: Holds the ledger and the records of the runs.
        name: Registered model.
        version: Number of the version; empty for the champion.

    Raises:
        ConfigError: the name cannot be that of a registered model.
        InputError: there is no champion, or the store knows no such version.
        StageError: records of runs name different models for the version.
        StoreError: the ledger is malformed, or the store failed.
    """
    if not version:
        entry = _champion_entry(store, name)
        return Release(entry.target, entry.version, entry.run_id, was_champion=True)
    if named := [entry for entry in ledger.entries(store, name) if entry.version == version]:
        return Release(named[-1].target, version, named[-1].run_id, was_champion=True)
    found = {}
    for record in records_of(store, "register"):
        registered = record.read(RegisterDetails).registration
        if (registered.get("name"), str(registered.get("version"))) == (name, version):
            found[str(registered.get("candidate"))] = record.run_id
    if len(found) > 1:
        raise StageError(
            f"Several runs registered a version {version} of {name!r}: {', '.join(sorted(found.values()))}.",
            "Their MLflow servers differ; keep a store for each.",
        )
    for candidate, run_id in found.items():
        reference = made_by(store, run_id, name, version)
        if reference.digest != candidate:
            raise StageError(
                f"Version {version} of {name!r} is not what run {run_id} made.", "Register the run's candidate again."
            )
        return Release(reference, version, run_id, was_champion=False)
    raise InputError(
        f"{store.root} has no version {version} of {name!r}.",
        "`thinksafe history` lists its versions; name the store of the run that made it (--artifacts).",
    )


def made_by(store: Store, run_id: str, name: str, version: str) -> ModelReference:
    """Return what a run has trained, by its records of plan and train."""
    plan, train = (find_evidence(store, run_id, task) for task in ("plan", "train"))
    if plan is None or train is None:
        raise InputError(
            f"The store {store.root} has no records of the run {run_id}, which made version {version} of {name!r}.",
            "Name the store of that run (--artifacts).",
        )
    try:
        base = ModelReference.model_validate(plan.read(PlanDetails).base)
    except ValidationError as error:
        raise StageError(f"The plan record of the run {run_id} is malformed.", "Restore it from a backup.") from error
    made = train.read(TrainDetails)
    return base.model_copy(update={
        "role": "candidate", "adapter": made.adapter, "adapter_digest": made.adapter_digest, "weights": made.weights,
        "weights_digest": made.weights_digest,
    })


def _student(text: str, suite: SuiteConfig) -> ModelReference:
    from thinksafe.models.loading import resolve_student

    settings = suite.student
    if text and (settings is None or settings.model != text):
        # a revision belongs to one model
        known = settings.model_dump(exclude={"model", "revision"}) if settings else {}
        settings = StudentSettings(model=text, **known)
    if settings is None:
        raise ConfigError("No model is named.", "Give --model, or set student.model in the suite.")
    student = resolve_student(settings)
    pinned = settings.model_copy(update={"revision": student.revision})
    return ModelReference(role="evaluated", student=pinned, base_digest=student.digest)


def _evaluated(model: ModelReference) -> ModelReference:
    return model.model_copy(update={"role": "evaluated"})
