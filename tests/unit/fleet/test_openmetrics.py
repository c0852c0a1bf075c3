"""The same numbers as text that Prometheus, its node exporter and a push gateway read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hostile_runs
import pytest
from fleets import DAY, NOW, WEEKLY, World
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from thinksafe.fleet import attention
from thinksafe.fleet.facts import ModelFacts, StoreFacts
from thinksafe.fleet.kept import Kept
from thinksafe.fleet.openmetrics import exposition
from thinksafe.fleet.survey import Fleet, Row, survey
from thinksafe.store.local import LocalStore


def samples(text: bytes, parse: Any = openmetrics) -> dict[tuple[str, ...], float]:
    """Return the values by name and labels, without the store."""
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "store")): sample.value
        for family in parse(text.decode()) for sample in family.samples
    }


@pytest.fixture
def text(tmp_path: Path) -> bytes:
    world = World(LocalStore(tmp_path / "store"))
    world.append("safe", "one", 5)
    world.evaluate("safe", "eval", 1, passed=False, config=WEEKLY, harm=0.125)
    world.run("x", "new", "refused by gate", 1)
    return exposition(survey([world.store.root, str(tmp_path / "none")], NOW, Kept())[0])


def test_the_numbers_are_those_of_the_page(text: bytes) -> None:
    found = samples(text)
    assert text.endswith(b"# EOF\n")
    assert found["thinksafe_fleet_read_timestamp_seconds",] == NOW
    for end, value in (("", 0.125), ("_low", 0.0625), ("_high", 0.135)):
        assert found[f"thinksafe_model_harm{end}_ratio", "safe"] == value
    assert found["thinksafe_model_reasoning_ratio", "safe"] == 0.6
    assert found["thinksafe_model_limit_ratio", "harm", "safe"] == 0.05
    assert found["thinksafe_model_champion_version", "safe"] == 1
    assert found["thinksafe_model_champion_timestamp_seconds", "safe"] == NOW - 5 * DAY
    assert found["thinksafe_model_measured_timestamp_seconds", "safe"] == NOW - DAY
    assert found["thinksafe_model_next_run_timestamp_seconds", "safe", "evaluate"] == NOW + 5.625 * DAY
    assert [found["thinksafe_model_state", "safe", state] for state in attention.STATES] == [1, *[0] * 8]
    assert {found["thinksafe_model_state", "new", state] for state in ("No champion", "Not promoted")} == {1}
    assert ("thinksafe_model_harm_ratio", "new") not in found, "what is not known has no line"


def test_a_store_that_cannot_be_read_is_a_number(text: bytes) -> None:
    readable = [
        sample.value for family in openmetrics(text.decode()) if family.name == "thinksafe_fleet_store_readable"
        for sample in family.samples
    ]
    assert sorted(readable) == [0, 1]


def test_the_older_format_reads_the_same(text: bytes) -> None:
    assert samples(text, prometheus) == samples(text)
    kinds = {line.split()[3] for line in text.decode().splitlines() if line.startswith("# TYPE")}
    assert kinds == {"gauge"}


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(), st.sampled_from(list(hostile_runs.HOSTILE.values()))), max_size=4), st.text())
def test_any_names_give_text_that_parses(names: list[str], root: str) -> None:
    models = [ModelFacts(root, name) for name in names]
    rows = tuple(Row(model, tuple(attention.reasons(model, NOW))) for model in models)
    found = samples(exposition(Fleet(NOW, (StoreFacts(root),), rows)))
    assert len(found) >= 3
