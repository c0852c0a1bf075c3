"""What the pipeline asks a method. No stage needs to know anything else about it, not even its name.

A method is a pydantic model: its options are the keys beside ``method.kind``. It says who writes the responses, which
of them become examples, and what training minimises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from thinksafe.methods.contexts import ContextChoice
from thinksafe.methods.forms import Form
from thinksafe.methods.objectives import Objective
from thinksafe.methods.rules import PILOT_RULES, Keep, Rule
from thinksafe.records import Arm, Label
from thinksafe.settings import Section, StudentSettings
from thinksafe.traces import OPEN

DEFAULT_STEERING = "prefix"
"""Template of the pilot, and of the steered arm by default."""


WITHOUT_BENIGN = (
    "The method trains on no benign rows. Published without them: 83.6 % over-refusal on XSTest (direct-refusal, "
    "Qwen3-0.6B; arXiv:2601.23143), which the gate's limit on over-refusal would refuse."
)
"""Warning of methods that teach refusals only."""


class Responses(Section):
    """Who writes the responses, by label: every prompt is sampled in each arm of its label."""

    arms: dict[Label, tuple[Arm, ...]]
    template: str
    """Steering template of the arm ``steered``; empty if no arm is steered."""
    teacher: StudentSettings | None = None
    """Model that writes the responses; None for the student itself."""
    written: str = ""
    """The response of the arm ``template``, the same to every prompt; empty if no label has this arm."""

    @property
    def labels(self) -> tuple[Label, ...]:
        """Labels that are trained on."""
        return tuple(label for label, arms in self.arms.items() if arms)


class Method(Section, ABC):
    """Base of all methods. Subclasses add ``kind``, a Literal with a default, and their options."""

    summary: ClassVar[str]
    """What the method does, in one line; shown in docs/methods.md."""
    samples: ClassVar[int] = 1
    """Samples of a prompt in each arm, where ``sampling.n`` does not say."""
    needs_latent_safety: ClassVar[bool] = True
    """It lives on what the student knows about harm, so a student that cannot be steered ends the run. Otherwise the
    diagnosis only warns."""
    shards: ClassVar[bool] = True
    """It can train a student whose weights are spread over several processes (``training.strategy: fsdp``)."""
    kind: str

    @abstractmethod
    def responses(self) -> Responses:
        """Return what the training samples are drawn from."""

    def other(self) -> StudentSettings | None:
        """Return the other model that the method needs: the one that writes the responses, or that is imitated."""
        return self.responses().teacher

    def pilot(self) -> Responses:
        """Return what the pilot is drawn from: harmful prompts, plain, then in the arm under test, then in others."""
        return Responses(arms={"harmful": ("plain", "steered"), "benign": ()}, template=DEFAULT_STEERING)

    def context_choice(self) -> ContextChoice | None:
        """Return the contexts from which the diagnosis chooses the objective's; None if there is nothing to choose."""
        return None

    def rules(self) -> dict[Label, tuple[Rule, ...]]:
        """Return the rules, by label, that a response must pass to become an example."""
        return {"harmful": PILOT_RULES, "benign": ("complete", "safe", "compliance")}

    def keeps(self) -> Keep:
        """Return which of a prompt's accepted samples become examples."""
        return "each"

    def forms(self) -> dict[Label, Form]:
        """Return, by label, how much of an accepted response is learned."""
        return {"harmful": "whole", "benign": "whole"}

    @abstractmethod
    def minimises(self) -> Objective:
        """Return what training minimises."""

    def check(self, reasoning: Literal["think", "none"]) -> None:
        """Raise ValueError if the options do not fit a student that thinks, or one that does not."""
        written = self.responses().written
        if written and (reasoning == "think") != written.startswith(OPEN):
            raise ValueError(
                f"method.kind is {self.kind} and student.reasoning is {reasoning}: its response must "
                + (f"begin with {OPEN}" if reasoning == "think" else "hold no thought")
            )

    def warnings(self) -> tuple[str, ...]:
        """Return what a user of these options should know beforehand; shown by ``thinksafe config check``."""
        return ()
