from __future__ import annotations

import json
import warnings
from typing import Any

import hostile_runs
import pytest
import report_runs as runs
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from thinksafe.report.card import bill_of_materials
from thinksafe.report.summary import summarise


def read(text: str) -> dict[str, Any]:
    """Return a bill that CycloneDX's own validator accepts."""
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert found is None, str(found)[:500]
    bill: dict[str, Any] = json.loads(text)
    return bill


def kinds(bill: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for component in bill["components"]:
        found.setdefault(component["type"], []).append(component["name"])
    return found


def test_base_guards_data_sets_and_libraries_are_named() -> None:
    summary = summarise(runs.promoted())
    bill = read(bill_of_materials(summary))
    found = kinds(bill)
    assert summary.provenance.base["student"]["model"] in found["machine-learning-model"]
    assert {row.name for row in summary.prompt_sets} <= set(found["data"])
    assert {guard["name"] for guard in summary.provenance.guards.values()} <= set(found["machine-learning-model"])
    assert "thinksafe" in found["library"]
    subject = bill["metadata"]["component"]
    assert subject["hashes"] == [{"alg": "SHA-256", "content": summary.provenance.adapter_digest}]
    (of,) = [one for one in bill["dependencies"] if one["ref"] == subject["bom-ref"]]
    assert len(of["dependsOn"]) == len(bill["components"])


def test_images_stand_by_digest() -> None:
    records = runs.promoted()
    image = f"registry.example.com/thinksafe/cpu@sha256:{'a' * 64}"
    records["plan"].details["config"]["cluster"] = {"images": {"cpu": image, "trainer": "by-tag:1"}}
    (found,) = [one for one in read(bill_of_materials(summarise(records)))["components"] if one["type"] == "container"]
    assert found["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]


def test_the_same_run_gives_the_same_bytes() -> None:
    assert bill_of_materials(summarise(runs.promoted())) == bill_of_materials(summarise(runs.promoted()))


@pytest.mark.parametrize("name", list(hostile_runs.HOSTILE))
def test_hostile_text_makes_no_invalid_document(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read(bill_of_materials(summarise(hostile_runs.hostile(hostile_runs.HOSTILE[name]))))
