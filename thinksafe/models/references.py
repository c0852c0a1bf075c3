"""References to models: the parts of a model, by digest, and where they are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import model_validator

from thinksafe.digests import digest_json
from thinksafe.records import Record, Role
from thinksafe.settings import Parameters, StudentSettings

FOLDERS: dict[Parameters, str] = {"lora": "adapters", "full": "weights"}
"""Folder of the store that holds what training makes."""
NOUNS: dict[Parameters, str] = {"lora": "adapter", "full": "weights"}
"""What training makes, in messages."""


class Trained(NamedTuple):
    """What training made of a student: an adapter for it, or weights in place of its own."""

    parameters: Parameters
    place: str
    """Store key prefix of the files: ``adapters/<key>/<digest>`` or ``weights/<key>/<digest>``."""
    digest: str
    """Digest over the files, verified whenever they are loaded."""

    @property
    def noun(self) -> str:
        return NOUNS[self.parameters]

    @property
    def digests(self) -> dict[str, str]:
        """The digest under the name that it has in records, tags and messages, and the other name, empty."""
        return {"adapter_digest": "", "weights_digest": "", f"{self.noun}_digest": self.digest}


class ModelReference(Record):
    """A student, a student with an adapter, or weights in place of the student's. The file that stages read."""

    role: Role
    absent: bool = False
    """No such model exists yet (no champion); the stages then pass on an absent manifest and metric set."""
    student: StudentSettings
    base_digest: str
    """Digest of the student's weights, configuration and tokenizer; ``<hub id>@<commit>`` for a hub model."""
    adapter: str = ""
    """Store key prefix of the adapter's files (``adapters/<key>/<digest>``); empty for the student itself."""
    adapter_digest: str = ""
    """Digest over the adapter's files, verified whenever they are loaded."""
    weights: str = ""
    """Store key prefix of a folder with all weights, trained from the student's, and its tokenizer and configuration
    (``weights/<key>/<digest>``); it is loaded in place of the student."""
    weights_digest: str = ""
    """Digest over the files of that folder, verified whenever they are loaded."""

    @model_validator(mode="after")
    def _trained_once(self) -> ModelReference:
        if self.adapter and self.weights:
            raise ValueError("a model has an adapter or weights of its own, not both")
        return self

    @property
    def trained(self) -> Trained | None:
        """What training made of the student; None for the student itself."""
        if self.weights:
            return Trained("full", self.weights, self.weights_digest)
        return Trained("lora", self.adapter, self.adapter_digest) if self.adapter else None

    def with_trained(self, trained: Trained) -> ModelReference:
        """Return the student with what training made of it."""
        return self.model_copy(update={trained.noun: trained.place, **trained.digests})

    @property
    def digest(self) -> str:
        """The key of this model's samples; equal for equal models in any role."""
        student = self.student.model_dump(mode="json", include={"trust_remote_code", "reasoning", "dtype"})
        weights = [self.weights_digest] if self.weights_digest else []
        return digest_json([self.base_digest, student, self.adapter_digest, *weights])


def read_reference(path: Path) -> ModelReference:
    """Read a model reference file. Raises InputError."""
    from thinksafe.jsonl import read_record

    return read_record(path, ModelReference)
