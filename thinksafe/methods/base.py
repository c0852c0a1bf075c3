"""What the pipeline asks a method. No stage needs to know anything else about it, not even its name.

A method is a pydantic model: its options are the keys beside ``method.kind``. It says who writes the responses, which
of them become examples, and what training minimises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from thinksafe.methods.objectives import Objective
from thinksafe.methods.rules import Rule
from thinksafe.records import Arm, Label
from thinksafe.settings import Section, StudentSettings

DEFAULT_STEERING = "prefix"
"""Template of the pilot, and of the steered arm by default."""


class Responses(Section):
    """Who writes the responses, by label: every prompt is sampled in each arm of its label."""

    arms: dict[Label, tuple[Arm, ...]]
    template: str
    """Steering template of the arm ``steered``; empty if no arm is steered."""
    teacher: StudentSettings | None = None
    """Model that writes the responses; None for the student itself."""


class Method(Section, ABC):
    """Base of all methods. Subclasses add ``kind``, a Literal with a default, and their options."""

    summary: ClassVar[str]
    """What the method does, in one line; shown in docs/methods.md."""
    kind: str

    @abstractmethod
    def responses(self) -> Responses:
        """Return what the training samples are drawn from."""

    def pilot(self) -> Responses:
        """Return what the pilot is drawn from: harmful prompts, plain and in the arm under test."""
        return Responses(arms={"harmful": ("plain", "steered"), "benign": ()}, template=DEFAULT_STEERING)

    def rules(self) -> dict[Label, tuple[Rule, ...]]:
        """Return the rules, by label, that a response must pass to become an example."""
        return {"harmful": ("complete", "safe", "refusal"), "benign": ("complete", "safe", "compliance")}

    @abstractmethod
    def minimises(self) -> Objective:
        """Return what training minimises."""
