"""The stage register, against a real MLflow on a SQLite file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.model import RegistrySettings
from thinksafe.config.sections import RegisterSection
from thinksafe.digests import digest_bytes, digest_folder
from thinksafe.errors import DamagedError, InputError, StoreError
from thinksafe.jsonl import read_record, write_json
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.registry.mlflow_client import connect
from thinksafe.registry.registration import Registration
from thinksafe.run.record import StageContext, StageRecord, list_records, silent, write_stage_record
from thinksafe.settings import StudentSettings
from thinksafe.stages import register
from thinksafe.store.local import LocalStore

EXAMPLES = b'{"id": "x"}\n'


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    store = LocalStore(tmp_path / "store")
    write_stage_record(
        store,
        StageRecord(
            run_id="run-1", stage="plan", task="plan", status="succeeded", started=1.0, seconds=1.0,
            details={"config_digest": "the-config"},
        ),
    )
    return StageContext(store=store, run_id="run-1", stage="register", task="register", track=silent)


@pytest.fixture
def inputs(context: StageContext, tmp_path: Path) -> dict[str, Any]:
    student = StudentSettings(model="micro://default")
    folder = Path(context.store.root) / "adapters/one"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": student.model}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    write_json(
        tmp_path / "candidate.json",
        ModelReference(
            role="candidate", student=student, base_digest="base", adapter="adapters/one",
            adapter_digest=digest_folder(folder, ADAPTER_FILES),
        ),
    )
    (tmp_path / "examples.jsonl").write_bytes(EXAMPLES)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    return {
        "context": context,
        "section": RegisterSection(registry=RegistrySettings(model="m", tracking_uri=uri)),
        "candidate": tmp_path / "candidate.json",
        "examples": tmp_path / "examples.jsonl",
        "registration_out": tmp_path / "registration.json",
    }


def test_the_candidate_is_registered_and_recorded(inputs: dict[str, Any]) -> None:
    result = register.run(**inputs)
    registration = read_record(inputs["registration_out"], Registration)
    assert (registration.name, registration.version) == ("m", "1")
    assert registration.config_digest == "the-config"
    assert registration.data_digest == digest_bytes(EXAMPLES) == result.inputs["examples"]
    record = list_records(inputs["context"].store, "run-1").found["register"]
    assert record.status == "succeeded"
    assert Registration.model_validate(record.details["registration"]) == registration

    again = register.run(**inputs)
    assert again.outputs == result.outputs
    client = connect(inputs["section"].registry.tracking_uri)
    assert [str(version.version) for version in client.search_model_versions("name = 'm'")] == ["1"]


def test_failures_are_recorded_and_write_nothing(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl"):
        register.run(**{**inputs, "examples": tmp_path / "none.jsonl"})
    (Path(inputs["context"].store.root) / "adapters/one/adapter_model.safetensors").write_bytes(b"others")
    with pytest.raises(StoreError, match="digest differs"):
        register.run(**inputs)
    record = list_records(inputs["context"].store, "run-1").found["register"]
    assert record.status == "failed"
    assert "digest differs" in record.error
    assert not inputs["registration_out"].exists()


def test_a_damaged_record_of_the_plan_registers_nothing(inputs: dict[str, Any]) -> None:
    inputs["context"].store.put("runs/run-1/plan.json", b"{")
    with pytest.raises(DamagedError, match=r"runs/run-1/plan\.json is not a stage record"):
        register.run(**inputs)
    assert not inputs["registration_out"].exists()
    assert not connect(inputs["section"].registry.tracking_uri).search_model_versions("name = 'm'")
