"""References to models: the parts of a model, by digest, and where they are."""

from __future__ import annotations

from pathlib import Path

from thinksafe.digests import digest_json
from thinksafe.records import Record, Role
from thinksafe.settings import StudentSettings


class ModelReference(Record):
    """A student, or a student with an adapter. The file that stages with a model read."""

    role: Role
    absent: bool = False
    """No such model exists yet (no champion); the stages then pass on an absent manifest and metric set."""
    student: StudentSettings
    base_digest: str
    """Digest of the student's weights, configuration and tokenizer; ``<hub id>@<commit>`` for a hub model."""
    adapter: str = ""
    """Store key prefix of the adapter's files (``adapters/<digest>``); empty for the student itself."""
    adapter_digest: str = ""
    """Digest over the adapter's files, verified whenever they are loaded."""

    @property
    def digest(self) -> str:
        """The key of this model's samples; equal for equal models in any role."""
        student = self.student.model_dump(mode="json", include={"trust_remote_code", "reasoning", "dtype"})
        return digest_json([self.base_digest, student, self.adapter_digest])


def read_reference(path: Path) -> ModelReference:
    """Read a model reference file. Raises InputError."""
    from thinksafe.jsonl import read_record

    return read_record(path, ModelReference)
