"""Registration and aliases against a real MLflow on a SQLite file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kills import Killed
from registrations import DECISION, add_adapter, add_weights, client_of, entry_of, register

from thinksafe.config.model import RegistrySettings
from thinksafe.digests import digest_folder
from thinksafe.errors import ConfigError, StageError, StoreError
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.registry import registration
from thinksafe.registry.decision_tags import tag_decision
from thinksafe.registry.registration import (
    attach_card,
    check_base,
)
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore


def test_a_candidate_becomes_a_version_that_can_be_downloaded(
    store: LocalStore, settings: RegistrySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = add_adapter(store, "one")
    registration = register(store, settings, candidate)
    assert (registration.name, registration.version, registration.run_id) == ("m", "1", "run-1")
    assert registration.candidate == candidate.digest
    client = client_of(settings)
    version = client.get_model_version_by_alias("m", "candidate")
    assert str(version.version) == "1"
    assert version.run_id == registration.mlflow_run
    assert version.tags == {
        "thinksafe.run_id": "run-1", "thinksafe.adapter_digest": candidate.adapter_digest,
        "thinksafe.base": "micro://default", "thinksafe.base_digest": "base", "thinksafe.data_digest": "data",
        "thinksafe.config_digest": "config",
    }
    model = client.get_logged_model(registration.model_id)
    assert str(model.status) == "READY"
    assert model.source_run_id == registration.mlflow_run

    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    import mlflow.artifacts

    folder = mlflow.artifacts.download_artifacts("models:/m@candidate", dst_path=str(tmp_path / "served"))
    assert digest_folder(Path(folder), ADAPTER_FILES) == candidate.adapter_digest
    assert (tmp_path / "mlartifacts" / "thinksafe").is_dir()
    assert not Path("mlruns").exists()


def test_the_model_card_lies_beside_the_adapter_and_a_later_one_replaces_it(
    store: LocalStore, settings: RegistrySettings, tmp_path: Path
) -> None:
    candidate = add_adapter(store, "one")
    registered = register(store, settings, candidate)
    for text in ("first", "second"):
        (tmp_path / "README.md").write_text(text)
        attach_card(settings, registered.model_id, tmp_path / "README.md")
        assert register(store, settings, candidate) == registered
    (card,) = (tmp_path / "mlartifacts").rglob("README.md")
    assert card.read_text() == "second"
    assert (card.parent / "adapter_config.json").is_file()


def test_weights_are_registered_by_digest_and_place_and_stay_in_the_store(
    store: LocalStore, settings: RegistrySettings, tmp_path: Path
) -> None:
    candidate = add_weights(store, "one")
    made = register(store, settings, candidate)
    client = client_of(settings)
    version = client.get_model_version_by_alias("m", "candidate")
    assert (made.adapter_digest, made.weights_digest) == ("", candidate.weights_digest)
    assert version.tags["thinksafe.weights_digest"] == candidate.weights_digest
    assert version.tags["thinksafe.weights"] == store.uri("weights/one")
    assert "thinksafe.adapter_digest" not in version.tags
    assert [file.path for file in client.list_logged_model_artifacts(made.model_id)] == ["weights.json"]
    registration.verify_version(client, settings.tracking_uri, "m", "1", registration.trained_of(candidate))
    assert register(store, settings, candidate) == made

    entry = entry_of(made, candidate, 1)
    assert entry.digests.weights == candidate.weights_digest
    store.put("weights/one/model.safetensors", b"others")
    with pytest.raises(StoreError, match="digest differs"):
        register(store, settings, candidate, run_id="run-2")


def test_registering_again_changes_nothing(store: LocalStore, settings: RegistrySettings) -> None:
    candidate = add_adapter(store, "one")
    first = register(store, settings, candidate)
    assert register(store, settings, candidate) == first
    assert state(settings) == (["1"], ["READY"], {"candidate": "1"}, 1)


def state(settings: RegistrySettings) -> tuple[list[str], list[str], dict[str, str], int]:
    """Return versions, states of logged models, aliases and the number of runs."""
    client = client_of(settings)
    experiment = client.get_experiment_by_name(settings.experiment).experiment_id
    versions = client.search_model_versions("name = 'm'")
    return (
        sorted(str(version.version) for version in versions),
        sorted(str(model.status) for model in client.search_logged_models([experiment])),
        {alias: str(version) for alias, version in client.get_registered_model("m").aliases.items()},
        len(client.search_runs([experiment])),
    )


def test_other_runs_and_other_adapters_get_their_own_versions(store: LocalStore, settings: RegistrySettings) -> None:
    one, two = add_adapter(store, "one"), add_adapter(store, "two")
    assert register(store, settings, one).version == "1"
    assert register(store, settings, two).version == "2"
    assert register(store, settings, two, "run-2").version == "3"
    assert register(store, settings, one).version == "1"
    assert state(settings) == (["1", "2", "3"], ["READY"] * 3, {"candidate": "3"}, 2)


MUTATIONS = [
    "create_experiment", "create_run", "create_logged_model", "log_model_artifacts", "finalize_logged_model",
    "create_registered_model", "create_model_version", "set_registered_model_alias",
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", MUTATIONS)
def test_a_kill_between_any_two_calls_leaves_nothing_double(
    store: LocalStore, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch, call: str, when: str
) -> None:
    from mlflow import MlflowClient

    candidate = add_adapter(store, "one")
    killed = kill(monkeypatch, MlflowClient, call, when)
    with pytest.raises(Killed):
        register(store, settings, candidate)
    monkeypatch.undo()
    assert killed == [call]
    registration = register(store, settings, candidate)
    assert registration.version == "1"
    assert state(settings) == (["1"], ["READY"], {"candidate": "1"}, 1)


def kill(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str) -> list[str]:
    """Kill the caller right before or after a method; return the list that the method's name is put in."""
    real: Callable[..., Any] = getattr(owner, name)
    seen: list[str] = []

    def fatal(*args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        if when == "after":
            real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(owner, name, fatal)
    return seen


def test_a_half_uploaded_adapter_is_uploaded_again(
    store: LocalStore, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    candidate = add_adapter(store, "one")

    def half(self: Any, model_id: str, folder: str) -> None:
        self.log_model_artifact(model_id, f"{folder}/adapter_config.json")
        raise Killed

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", half)
    with pytest.raises(Killed):
        register(store, settings, candidate)
    monkeypatch.undo()
    model_id = register(store, settings, candidate).model_id
    files = client_of(settings).list_logged_model_artifacts(model_id)
    assert {file.path for file in files} == set(ADAPTER_FILES)
    assert state(settings)[1] == ["READY"]


@pytest.mark.parametrize("fault", ["raises", "loses"])
def test_a_failed_upload_is_an_error_and_leaves_a_failed_model(
    store: LocalStore, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from mlflow import MlflowClient

    candidate = add_adapter(store, "one")

    def upload(self: Any, model_id: str, folder: str) -> None:
        if fault == "raises":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", upload)
    with pytest.raises(StageError, match="Free disk space" if fault == "raises" else "does not have the files"):
        register(store, settings, candidate)
    assert client_of(settings).search_registered_models() == []
    monkeypatch.undo()
    assert register(store, settings, candidate).version == "1"
    assert state(settings)[1] == ["FAILED", "READY"]


def test_racing_registrations_end_in_one_version(store: LocalStore, settings: RegistrySettings) -> None:
    candidate = add_adapter(store, "one")
    register(store, settings, candidate, "earlier")  # experiment and registered model exist
    barrier = threading.Barrier(4)
    results: list[str] = []

    def race() -> None:
        barrier.wait(timeout=30)
        results.append(register(store, settings, candidate).version)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    versions = client_of(settings).search_model_versions("name = 'm' and tags.`thinksafe.run_id` = 'run-1'")
    assert len(versions) == 1
    assert set(results) == {str(versions[0].version)}


def test_of_two_versions_made_at_once_the_first_stays(
    store: LocalStore, settings: RegistrySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    real = MlflowClient.create_model_version
    monkeypatch.setattr(
        MlflowClient, "create_model_version",
        lambda *args, **kwargs: (real(*args, **kwargs), real(*args, **kwargs))[1],  # a rival's, then ours
    )
    assert register(store, settings, add_adapter(store, "one")).version == "1"
    assert state(settings)[0] == ["1"]


def test_changed_or_missing_files_are_not_registered(store: LocalStore, settings: RegistrySettings) -> None:
    candidate = add_adapter(store, "one")
    file = Path(store.root) / "adapters/one/adapter_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content + b"x")
    with pytest.raises(StoreError, match="digest differs"):
        register(store, settings, candidate)
    file.unlink()
    with pytest.raises(StoreError, match="digest differs"):
        register(store, settings, candidate)
    assert client_of(settings).search_registered_models() == []
    with pytest.raises(StageError, match="student itself"):
        register(store, settings, candidate.model_copy(update={"adapter": "", "adapter_digest": ""}))


@pytest.mark.parametrize(
    ("student", "noted", "accepted"),
    [
        ({"model": "org/name", "revision": "abc"}, {"base_model_name_or_path": "org/name", "revision": "abc"}, True),
        ({"model": "org/name", "revision": "abc"}, {"base_model_name_or_path": "org/name", "revision": None}, False),
        ({"model": "org/name", "revision": "abc"}, {"base_model_name_or_path": "/home/ann/name"}, False),
        ({"model": "micro://default"}, {"base_model_name_or_path": "micro://default"}, True),
        ({"model": "micro://default"}, {"base_model_name_or_path": "/site-packages/students/default"}, False),
        ({"model": "/models/ours"}, {"base_model_name_or_path": "/models/ours", "revision": None}, True),
        ({"model": "./ours"}, {"base_model_name_or_path": "/home/ann/ours"}, False),
        ({"model": "org/name"}, {"base_model_name_or_path": None}, False),
        ({"model": "org/name"}, {}, False),
        ({"model": "org/name"}, [], False),
    ],
)
def test_an_adapter_must_name_its_base_as_the_config_does(
    tmp_path: Path, student: dict[str, str], noted: Any, accepted: bool
) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(noted))
    candidate = ModelReference(role="candidate", student=StudentSettings(**student), base_digest="b", adapter="a")
    if accepted:
        check_base(tmp_path, candidate)
    else:
        with pytest.raises(StageError, match=r"adapter_config\.json"):
            check_base(tmp_path, candidate)


def test_a_server_must_be_named(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, settings: RegistrySettings
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    unnamed = RegistrySettings(model="m")
    candidate = add_adapter(store, "one")
    with pytest.raises(ConfigError, match=r"registry\.tracking_uri.*MLFLOW_TRACKING_URI"):
        register(store, unnamed, candidate)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    registration = register(store, unnamed, candidate)
    assert registration.version == "1"
    assert registration.tracking_uri == ""  # a path of this machine does not travel
    tag_decision(registration, DECISION)
