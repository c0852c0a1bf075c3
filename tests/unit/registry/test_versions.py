"""Names of models to evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest

from thinksafe.config import SuiteConfig, load_suite
from thinksafe.errors import ConfigError, InputError
from thinksafe.models.references import ModelReference
from thinksafe.registry.ledger import Digests, LedgerEntry, append, newest
from thinksafe.registry.versions import has_champion, resolve_model
from thinksafe.store.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def suite() -> SuiteConfig:
    return load_suite("micro")


@pytest.fixture
def champion(store: LocalStore, suite: SuiteConfig) -> ModelReference:
    base = resolve_model("", suite, store)
    target = base.model_copy(update={"role": "champion", "adapter": "adapters/a", "adapter_digest": "d"})
    append(
        store,
        LedgerEntry(
            model="micro-student", generation=1, previous=None, action="promote", target=target, version="1",
            run_id="r", reason="x", who="y", created="2026-01-01T00:00:00+00:00",
            digests=Digests(adapter="d", base="b", data="", config="", decision="", metrics=""),
        ),
    )
    return target


def test_the_suite_names_a_student(store: LocalStore, suite: SuiteConfig) -> None:
    found = resolve_model("", suite, store)
    assert (found.role, found.student.model) == ("evaluated", suite.student.model if suite.student else "")
    assert found.base_digest


@pytest.mark.parametrize("name", ["champion", "models:/micro-student@champion"])
def test_the_champion_is_what_the_ledger_says(
    store: LocalStore, suite: SuiteConfig, champion: ModelReference, name: str
) -> None:
    found = resolve_model(name, suite, store)
    assert found == champion.model_copy(update={"role": "evaluated"})
    assert found.digest == champion.digest


def test_no_champion(store: LocalStore, suite: SuiteConfig) -> None:
    with pytest.raises(InputError, match="has no champion"):
        resolve_model("champion", suite, store)


def test_a_withdrawn_champion_is_none(store: LocalStore, suite: SuiteConfig, champion: ModelReference) -> None:
    promoted = newest(store, "micro-student")
    assert promoted is not None
    append(store, promoted.model_copy(update={"generation": 2, "previous": 1, "action": "withdraw"}))
    with pytest.raises(InputError, match=r"has no champion: the last is the withdrawal of run r by y"):
        resolve_model("champion", suite, store)
    assert not has_champion("champion", suite, store)
    assert not has_champion("models:/micro-student@champion", suite, store)
    assert has_champion("models:/micro-student/1", suite, store)


def test_a_suite_without_registry_does_not_know_whose_champion(store: LocalStore, suite: SuiteConfig) -> None:
    with pytest.raises(ConfigError, match="whose champion"):
        resolve_model("champion", suite.model_copy(update={"registry": None}), store)


@pytest.mark.parametrize("name", ["models:/micro", "models:/micro@candidate", "models:micro/1", "models:/a/b/1"])
def test_malformed_versions(store: LocalStore, suite: SuiteConfig, name: str) -> None:
    with pytest.raises(ConfigError, match="not a registered version"):
        resolve_model(name, suite, store)


def test_no_model_at_all(store: LocalStore, suite: SuiteConfig) -> None:
    with pytest.raises(ConfigError, match="No model is named"):
        resolve_model("", suite.model_copy(update={"student": None}), store)


def test_a_named_student_keeps_the_settings_of_the_suite_but_not_its_revision(
    store: LocalStore, suite: SuiteConfig, tmp_path: Path
) -> None:
    from thinksafe.models.loading import local_source

    assert suite.student is not None
    folder = local_source(suite.student)[0]
    given = suite.model_copy(update={"student": suite.student.model_copy(update={"model": "x/y", "revision": "main"})})
    found = resolve_model(folder, given, store)
    assert (found.student.revision, found.student.dtype) == ("", suite.student.dtype)
