"""The digest of a model is that of what it samples with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thinksafe.errors import InputError
from thinksafe.jsonl import write_json
from thinksafe.models.references import ModelReference, read_reference
from thinksafe.settings import StudentSettings


def reference(student: dict[str, Any] | None = None, **changes: Any) -> ModelReference:
    given = {
        "role": "base", "student": StudentSettings(**({"model": "org/m", "revision": "a"} | (student or {}))),
        "base_digest": "b",
    }
    return ModelReference(**(given | changes))


@pytest.mark.parametrize(
    "other",
    [
        reference(base_digest="c"),
        reference(adapter="adapters/x", adapter_digest="x"),
        reference(weights="weights/x", weights_digest="x"),
        reference({"trust_remote_code": True}),
        reference({"reasoning": "none"}),
        reference({"dtype": "float32"}),
    ],
)
def test_what_changes_samples_changes_the_digest(other: ModelReference) -> None:
    assert other.digest != reference().digest


@pytest.mark.parametrize(
    "other",
    [
        reference(role="candidate"),
        reference(adapter="elsewhere"),  # the same files, by digest
        reference({"model": "/a/mirror", "revision": ""}),
    ],
)
def test_what_does_not_change_samples_does_not(other: ModelReference) -> None:
    assert other.digest == reference().digest


def test_file(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", reference())
    assert read_reference(tmp_path / "m.json") == reference()
    (tmp_path / "m.json").write_text('{"role": "base"}')
    with pytest.raises(InputError, match="not a ModelReference"):
        read_reference(tmp_path / "m.json")
