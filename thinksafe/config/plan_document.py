"""The plan of a run as one document: ``plan`` writes it, and every other stage reads its section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from thinksafe.config.compared import scoped
from thinksafe.config.sections import Sections, SuiteSections
from thinksafe.errors import ConfigError
from thinksafe.settings import Section

S = TypeVar("S", bound=BaseModel)

AGAIN = "Use the file that `thinksafe plan` wrote."


class PlanDocument(Section):
    """What ``plan`` passes to the other stages."""

    schema_version: Literal[1] = 1
    run_id: str
    """Run that every stage belongs to."""
    parallelism: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Pods that work at once, by section; one for a section that is not listed."""
    sections: dict[str, dict[str, Any]]
    """Canonical configuration section by name. A stage's keys depend only on its section."""
    methods: tuple[str, ...] = Field(default=(), exclude_if=lambda methods: not methods)
    """Methods of a comparison; a section in which one differs stands under its scoped name, too."""

    def name_of(self, section: str, method: str, source: object) -> str:
        """Return the name of a method's section: its own, or that which all methods share.

        Args:
            section: Name without a method.
            method: Method of a comparison; empty for a run of one method.
            source: File of the plan, for the message.

        Raises:
            ConfigError: the plan has no such method.
        """
        if method and method not in self.methods:
            raise ConfigError(f"The plan {source} has no method {method[:80]!r}.", f"It has {list(self.methods)}.")
        own = scoped(section, method)
        return own if own in self.sections else section

    def section(self, name: str, model: type[S], source: object) -> S:
        """Return a section, validated.

        Args:
            name: Name of the section.
            model: Its type.
            source: File of the plan, for the messages.

        Raises:
            ConfigError: the section is missing or malformed.
        """
        if name not in self.sections:
            raise ConfigError(
                f"The plan {source} has no section {name[:80]!r}.", f"It has {', '.join(sorted(self.sections))}."
            )
        try:
            return model.model_validate(self.sections[name])
        except ValidationError as error:
            raise ConfigError(
                f"The section {name} of the plan {source} is not a {model.__name__} (wrong: {_fields(error)}).", AGAIN
            ) from error


def plan_document(run_id: str, planned: Sections | SuiteSections) -> PlanDocument:
    """Return the document that holds the sections of a run.

    Args:
        run_id: The run.
        planned: Its sections.
    """
    fields = planned.model_dump(mode="json")
    return PlanDocument(run_id=run_id, parallelism=fields.pop("parallelism"), sections=fields)


def read_plan(path: Path) -> PlanDocument:
    """Return the plan in a file. Raises ConfigError if it cannot be read or is not a plan."""
    try:
        return PlanDocument.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The plan {path} cannot be read: {error.strerror}.", AGAIN) from error
    except ValidationError as error:
        raise ConfigError(f"{path} is not a plan (wrong: {_fields(error)}).", AGAIN) from error


def _fields(error: ValidationError) -> str:
    return ", ".join(".".join(map(str, item["loc"])) or "text" for item in error.errors())
