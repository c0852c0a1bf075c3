"""Definitions of the known benchmarks, one data file each in ``thinksafe/data/benchmarks``.

A definition pins the published set (hub id, commit, rows) and says what each column holds. Copies of a set may name
their columns differently, so a definition lists several layouts; the first one whose columns all exist is used.
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
    """The columns of one published form of a set."""

    prompt: str = ""
    """Column of the request or problem, a text or a list of one. Without it, the last turn is the request."""
    context: str = ""
    """Column of a passage to put in front, as ``{context}\\n\\n---\\n\\n{prompt}`` (HarmBench's form)."""
    answer: str = ""
    """Column of the reference answer."""
    answer_after: str = ""
    """The answer is the text after the last occurrence of this marker."""
    instructions: str = Field(default="", exclude_if=lambda name: not name)
    """Column of the ids of verifiable instructions, in place of ``answer``; used with ``instruction_options``."""
    instruction_options: str = Field(default="", exclude_if=lambda name: not name)
    """Column of their options, one object an instruction; fields without a value are left out."""
    correct: str = ""
    """Column of the right option; used with ``incorrect``, in place of ``answer``."""
    incorrect: tuple[str, ...] = ()
    """Columns of the wrong options; options are shown in a seeded order."""
    turns: str = ""
    """Column of the user turns of a conversation."""
    messages: str = Field(default="", exclude_if=lambda name: not name)
    """``message_`` if ``message_0``, ``message_1`` ... are the columns of a conversation's messages: JSON with ``role``
    and ``body``. The user's are the turns; those of the system are left out."""
    tools: str = Field(default="", exclude_if=lambda name: not name)
    """Column of the names of an agent's tools."""
    category: str = ""
    """Column of the category."""
    only: dict[str, str] = {}
    """The set consists of the rows whose columns equal these values."""

    @property
    def columns(self) -> set[str]:
        """Columns that a table must have for this layout."""
        first = f"{self.messages}0" if self.messages else ""
        named = (
            self.prompt, self.context, self.answer, self.instructions, self.instruction_options, self.correct,
            self.turns, first, self.category, self.tools,
        )
        return {name for name in (*named, *self.incorrect, *self.only) if name}

    @model_validator(mode="after")
    def _asks(self) -> Layout:
        if not (self.prompt or self.messages):
            raise ValueError("a layout has a prompt or messages")
        return self


class Wording(Record):
    """How every prompt of a benchmark is put."""

    prefix: str = Field(default="", exclude_if=lambda text: not text)
    """Text in front of every prompt."""
    suffix: str = ""
    """Text after every prompt that says how to answer."""


class Definition(Wording):
    """One known benchmark."""

    title: Text
    version: Positive
    """Goes up whenever the same rows are asked or graded in another way."""
    metric: MetricKind
    about: Text
    """Address of the paper or the project."""
    licence: Text
    """As stated upstream."""
    repo: str = ""
    """Hub id."""
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")] = ""
    """Commit on the hub."""
    subset: str = ""
    split: str = "train"
    data_file: str = Field(default="", exclude_if=lambda name: not name)
    """File of the repository that holds the set, where others beside it do not."""
    gated: bool = False
    """The hub requires a token whose owner has accepted the terms."""
    file: str = ""
    """File next to the definitions, for sets that come with this package."""
    rows: Positive
    """Number of prompts, after the layout's filters."""
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """SHA-256 of ``file``, so that another set makes another definition."""
    wordings: dict[str, Wording] = Field(default={}, exclude_if=lambda wordings: not wordings)
    """Other wordings, by name; ``paper`` is that of arXiv:2601.23143."""
    turns: tuple[Text, ...] = Field(default=(), exclude_if=lambda turns: not turns)
    """User turns in which every request is put: ``{prompt}`` is the request, ``{tools}`` are the layout's tools."""
    trajectory: bool = Field(default=False, exclude_if=lambda whole: not whole)
    """A guard judges all replies together, not the last one in the light of the others."""
    layouts: Annotated[tuple[Layout, ...], Field(min_length=1)]
    """From the most to the least specific."""

    @model_validator(mode="after")
    def _one_origin(self) -> Definition:
        if bool(self.repo) == bool(self.file) or bool(self.repo) != bool(self.revision):
            raise ValueError("a definition has a file, or a repo with its revision")
        if bool(self.file) != bool(self.digest):
            raise ValueError("a file needs its digest")
        return self

    @model_validator(mode="after")
    def _turns_ask(self) -> Definition:
        if self.turns and "".join(self.turns).count("{prompt}") != 1:
            raise ValueError("the turns hold {prompt} once")
        if any("{tools}" in turn for turn in self.turns) and not all(layout.tools for layout in self.layouts):
            raise ValueError("turns with {tools} need a column of tools")
        return self

    @property
    def converses(self) -> bool:
        """Whether the model is asked in several turns."""
        return bool(self.turns) or any(layout.turns or layout.messages for layout in self.layouts)

    @property
    def fingerprint(self) -> str:
        """Digest of the definition in this wording, as recorded with a configuration."""
        return digest_json(self.model_copy(update={"wordings": {}}))[:16]

    def worded(self, name: str) -> Definition:
        """Return the benchmark in one of its wordings; the empty name is its own.

        Raises:
            ConfigError: it has no such wording.
        """
        if name and name not in self.wordings:
            known = f"Its wordings are: {', '.join(self.wordings)}." if self.wordings else "It has no other wording."
            raise ConfigError(f"{self.title} has no wording {name[:80]!r}.", known)
        return self.model_copy(update=dict(self.wordings[name])) if name else self

    def layout(self, columns: set[str]) -> Layout | None:
        """Return the first layout whose columns all exist."""
        return next((layout for layout in self.layouts if layout.columns <= columns), None)

    def shipped(self) -> Path:
        """Return the path of a set that comes with this package."""
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
        ConfigError: There is no such benchmark; the action names the nearest.
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


def known_definition(use: object) -> Definition | None:
    """Return a known benchmark's definition; None for what this version does not know."""
    return definition(use) if isinstance(use, str) and use in definition_names() else None
