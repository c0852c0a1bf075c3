"""The alias ``champion`` and the decision of a version, in a real MLflow on a SQLite file."""

from __future__ import annotations

from typing import Any

import pytest
from registrations import DECISION, add_adapter, client_of, entry_of, register

from thinksafe.config.model import RegistrySettings
from thinksafe.errors import StageError
from thinksafe.records import WaiverUse
from thinksafe.registry import ledger, registration
from thinksafe.registry.decision_tags import tag_decision
from thinksafe.registry.registration import (
    set_champion,
)
from thinksafe.store.local import LocalStore


def test_the_decision_is_tagged(store: LocalStore, settings: RegistrySettings) -> None:
    registration = register(store, settings, add_adapter(store, "one"))
    tag_decision(registration, DECISION)
    client = client_of(settings)
    tags = client.get_model_version("m", "1").tags
    assert tags["thinksafe.decision"] == "passed"
    refused = DECISION.model_copy(update={"passed": False})
    tag_decision(registration, refused)
    tag_decision(registration, refused)
    changed = client.get_model_version("m", "1")
    assert changed.description.startswith("**The gate refused this version.**")
    assert changed.tags["thinksafe.decision"] == "refused"
    assert changed.tags["thinksafe.decision_digest"] != tags["thinksafe.decision_digest"]


def test_a_waiver_is_in_tag_and_description_and_goes_with_it(store: LocalStore, settings: RegistrySettings) -> None:
    registration = register(store, settings, add_adapter(store, "one"))
    use = WaiverUse(
        check="harm", person="Ann", reason="A known\ngap. " + "x" * 9000, expires="2999-12-31", effect="applied"
    )
    failed = DECISION.checks[0].model_copy(update={"passed": False, "status": "waived"})
    tag_decision(registration, DECISION.model_copy(update={"checks": (failed,), "waivers": (use,)}))
    client = client_of(settings)
    version = client.get_model_version("m", "1")
    assert version.tags["thinksafe.decision"] == "passed with waivers"
    assert version.tags["thinksafe.waivers"].startswith("harm (waived by Ann until 2999-12-31): A known gap. xxx")
    assert version.description.startswith("**The gate passed this version with waivers.**")
    tag_decision(registration, DECISION)
    tags = client.get_model_version("m", "1").tags
    assert tags["thinksafe.decision"] == "passed"
    assert "thinksafe.waivers" not in tags


def test_the_alias_follows_the_newest_generation(store: LocalStore, settings: RegistrySettings) -> None:
    uri, client = settings.tracking_uri, client_of(settings)
    one, two = add_adapter(store, "one"), add_adapter(store, "two")
    first, second = register(store, settings, one), register(store, settings, two)
    with pytest.raises(StageError, match="Nothing has been promoted"):
        set_champion(store, "m", client, uri)
    ledger.append(store, entry_of(first, one, 1))
    set_champion(store, "m", client, uri)
    assert registration.champion_version(client, uri, "m") == "1"
    ledger.append(store, entry_of(second, two, 2))
    assert set_champion(store, "m", client, uri) == set_champion(store, "m", client, uri)
    assert registration.champion_version(client, uri, "m") == "2"
    client.set_registered_model_alias("m", "champion", "1")  # by hand
    set_champion(store, "m", client, uri)
    assert registration.champion_version(client, uri, "m") == "2"


def test_a_writer_that_was_overtaken_corrects_the_alias(
    store: LocalStore, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    uri, client = settings.tracking_uri, client_of(settings)
    one, two = add_adapter(store, "one"), add_adapter(store, "two")
    first, second = register(store, settings, one), register(store, settings, two)
    ledger.append(store, entry_of(first, one, 1))
    real = MlflowClient.set_registered_model_alias

    def slow(self: Any, name: str, alias: str, version: str) -> None:
        if version == "1":  # meanwhile another writer does both its steps
            ledger.append(store, entry_of(second, two, 2))
            real(self, name, alias, "2")
        real(self, name, alias, version)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", slow)
    assert set_champion(store, "m", client, uri).generation == 2
    assert registration.champion_version(client, uri, "m") == "2"


def test_a_version_is_verified(store: LocalStore, settings: RegistrySettings) -> None:
    candidate = add_adapter(store, "one")
    register(store, settings, candidate)
    client, uri = client_of(settings), settings.tracking_uri
    trained = registration.trained_of(candidate)
    registration.verify_version(client, uri, "m", "1", trained)
    for other in (trained._replace(digest="other"), trained._replace(parameters="full")):
        with pytest.raises(StageError, match="other weights"):
            registration.verify_version(client, uri, "m", "1", other)
    client.delete_model_version("m", "1")
    with pytest.raises(StageError, match="is not in MLflow"):
        registration.verify_version(client, uri, "m", "1", trained)
