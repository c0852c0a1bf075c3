"""Definitions of the known benchmarks, one data file each in ``thinksafe/data/benchmarks``.

A definition pins the published set (hub id, commit, rows) and says which columns hold what. Copies come with other
columns than the hub's, so a definition lists several layouts; the first whose columns are all there is the one.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from thinksafe.digests import digest_json
from thinksafe.errors import ConfigError
from thinksafe.records import MetricKind, Record, Text

Positive = Annotated[int, Field(gt=0)]


class Layout(Record):
    """Columns of one form in which a set is found."""

    prompt: Text
    """Column of the request or problem."""
    context: str = ""
    """Column of a passage that goes in front, as ``{context}\\n\\n---\\n\\n{prompt}`` (HarmBench's form)."""
    answer: str = ""
    """Column of the reference answer."""
    answer_after: str = ""
    """The answer is what follows the last occurrence of this text."""
    correct: str = ""
    """Column of the right option; with ``incorrect`` in place of ``answer``."""
    incorrect: tuple[str, ...] = ()
    """Columns of the wrong options; the order in which options are shown is seeded."""
    turns: str = ""
    """Column of the user turns of a conversation."""
    category: str = ""
    """Column of the category."""
    only: dict[str, str] = {}
    """Rows whose columns equal these values are the set."""

    @property
    def columns(self) -> set[str]:
        """Columns that a table must have for this layout."""
        named = (self.prompt, self.context, self.answer, self.correct, self.turns, self.category)
        return {name for name in (*named, *self.incorrect, *self.only) if name}


class Definition(Record):
    """One known benchmark."""

    title: Text
    version: Positive
    """Raised when the same rows are asked or graded in another way."""
    metric: MetricKind
    about: Text
    """Paper or home."""
    licence: Text
    """As stated upstream."""
    repo: str = ""
    """Hub id."""
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")] = ""
    """Commit on the hub."""
    subset: str = ""
    split: str = "train"
    gated: bool = False
    """The hub hands it out after its terms were accepted, to a token."""
    file: str = ""
    """File next to the definitions, for the sets that this package ships."""
    rows: Positive
    """Prompts of the set, after the layout's filters."""
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """SHA-256 of ``file``, so that a changed set is another definition."""
    suffix: str = ""
    """Text after every prompt: how the answer is to be given."""
    layouts: Annotated[tuple[Layout, ...], Field(min_length=1)]
    """From the most to the least specific."""

    @model_validator(mode="after")
    def _one_origin(self) -> Definition:
        if bool(self.repo) == bool(self.file) or bool(self.repo) != bool(self.revision):
            raise ValueError("a definition has a file, or a repo with its revision")
        if bool(self.file) != bool(self.digest):
            raise ValueError("a file needs its digest")
        return self

    @property
    def fingerprint(self) -> str:
        """Digest of the definition: what a configuration was made with."""
        return digest_json(self)[:16]

    def layout(self, columns: set[str]) -> Layout | None:
        """Return the first layout whose columns are all there."""
        return next((layout for layout in self.layouts if layout.columns <= columns), None)

    def shipped(self) -> Path:
        """Return the path of a shipped set."""
        return Path(str(_folder() / self.file))


def _folder() -> Any:
    return resources.files("thinksafe") / "data" / "benchmarks"


@cache
def definition_names() -> tuple[str, ...]:
    """Return the names of the known benchmarks."""
    return tuple(sorted(item.name[:-5] for item in _folder().iterdir() if item.name.endswith(".yaml")))


@cache
def definition(name: str) -> Definition:
    """Return a known benchmark's definition.

    Raises:
        ConfigError: there is no such benchmark; names the nearest.
    """
    import difflib

    import yaml

    names = definition_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"There is no benchmark {name[:80]!r}.", f"{hint}Known: {', '.join(names)}.")
    try:
        return Definition.model_validate(yaml.safe_load((_folder() / f"{name}.yaml").read_text("utf-8")))
    except ValidationError as error:
        raise ConfigError(f"The definition of the benchmark {name!r} is wrong: {error}", "Correct the file.") from error
