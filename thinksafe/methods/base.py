"""What the pipeline asks a method; no stage needs to know more of one, not even its name.

A method is a pydantic model: its options are the keys beside ``method.kind``. It answers who writes the responses that
are sampled, which of them become examples, and what training minimises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from thinksafe.methods.objectives import Objective
from thinksafe.methods.rules import Rule
from thinksafe.records import Arm, Label
from thinksafe.settings import Section, StudentSettings

DEFAULT_STEERING = "thinksafe"
"""Template of the pilot, and of the steered arm where nothing else is said."""


class Responses(Section):
    """Who writes the responses to the prompts of each label: every prompt is sampled in each arm of its label."""

    arms: dict[Label, tuple[Arm, ...]]
    template: str
    """Steering template of the arm ``steered``; empty where no arm is steered."""
    teacher: StudentSettings | None = None
    """Model that writes them; None for the student itself."""


class Method(Section, ABC):
    """Base of all methods. Subclasses add ``kind``, a Literal with a default, and their options."""

    summary: ClassVar[str]
    """What the method does, on one line; docs/methods.md has it."""
    kind: str

    @abstractmethod
    def responses(self) -> Responses:
        """Return what training samples are drawn from."""

    def pilot(self) -> Responses:
        """Return what the pilot is drawn from: harmful prompts, as they are and in the arm that is to be tried."""
        return Responses(arms={"harmful": ("plain", "steered"), "benign": ()}, template=DEFAULT_STEERING)

    def rules(self) -> dict[Label, tuple[Rule, ...]]:
        """Return the rules that a response to a prompt of each label must keep to become an example."""
        return {"harmful": ("complete", "safe", "refusal"), "benign": ("complete", "safe", "compliance")}

    @abstractmethod
    def minimises(self) -> Objective:
        """Return what training minimises."""
