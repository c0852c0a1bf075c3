"""Find and load a guard's model. It is loaded like a student; only the error messages refer to the guard."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from thinksafe.config.model import GuardSettings
from thinksafe.errors import InputError, StageError
from thinksafe.models.hub import mirrored
from thinksafe.models.references import ModelReference
from thinksafe.settings import StudentSettings
from thinksafe.store import Store, open_store

_WANTED = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})


class GuardModel:
    """A guard's files, found and digested; the weights are loaded on demand.

    Raises:
        InputError: there is no such model, or its context is shorter than ``settings.max_length``.
        StoreError: an object of an ``s3://`` model could not be read.
    """

    def __init__(self, settings: GuardSettings) -> None:
        from thinksafe.models.loading import load_tokenizer, resolve_student

        self._folder = tempfile.TemporaryDirectory()  # removed with this object
        source = mirrored(settings.model, settings.revision) or settings.model
        if source.startswith("s3://"):
            source = _download(source, Path(self._folder.name))
        student = StudentSettings(model=source, revision=settings.revision, dtype=settings.dtype, reasoning="none")
        with _speaking_of_the_guard():
            resolved = resolve_student(student)
            pinned = student.model_copy(update={"revision": resolved.revision})
            self.reference = ModelReference(role="base", student=pinned, base_digest=resolved.digest)
            self.tokenizer: Any = load_tokenizer(self.reference)
        context = getattr(self._config(), "max_position_embeddings", settings.max_length)
        if settings.max_length > context:
            raise InputError(
                f"guard.max_length is {settings.max_length}, but the guard {settings.model!r} reads {context} tokens.",
                f"Set guard.max_length to {context} or less.",
            )

    @property
    def name(self) -> str:
        """The folder or hub id that the files are loaded from."""
        return self.reference.student.model

    @property
    def digest(self) -> str:
        """Digest of the weights, the configuration and the tokenizer."""
        return self.reference.base_digest

    def load(self) -> Any:
        """Load the weights for inference. Raises InputError or StageError."""
        from thinksafe.models.loading import load_model

        with _speaking_of_the_guard():
            return load_model(self.reference, cast("Store", None))  # the store is for adapters, and guards have none

    def _config(self) -> Any:
        from transformers import AutoConfig

        student = self.reference.student
        return AutoConfig.from_pretrained(student.model, revision=student.revision or None)


def _download(uri: str, folder: Path) -> str:
    store = open_store(uri, foreign=True)
    keys = [key for key in store.keys("") if "/" not in key and Path(key).suffix in _WANTED]
    if not keys:
        raise InputError(f"guard.model {uri!r} contains no model.", "Check the address.")
    for key in keys:
        store.get_file(key, folder / key)
    return str(folder)


@contextmanager
def _speaking_of_the_guard() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            yield
        except (InputError, StageError) as error:
            raise type(error)(_of_guard(error.problem), _of_guard(error.action)) from error
    for warning in heard:
        warnings.warn(_of_guard(str(warning.message)), warning.category, stacklevel=2)


def _of_guard(text: str) -> str:
    for word, ours in (("student.", "guard."), ("The student", "The guard"), ("the student", "the guard")):
        text = text.replace(word, ours)
    return text
