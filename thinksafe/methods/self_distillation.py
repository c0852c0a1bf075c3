"""On-policy self-distillation (OPSA, arXiv:2605.15239): the teacher is the student that sees a safety context."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from thinksafe.methods.base import Responses
from thinksafe.methods.contexts import SEARCH, ContextChoice, known_contexts
from thinksafe.methods.objectives import SelfDistillation as Objective
from thinksafe.methods.on_policy import OnPolicyMethod
from thinksafe.methods.steering import steering_names, steering_template
from thinksafe.records import Share
from thinksafe.settings import Name


class SelfDistillation(OnPolicyMethod):
    """Nothing filters what is learned, so the student gets at best as safe as the context makes it.

    The pilot measures the teacher flip rate of each context, and what it makes of benign prompts.
    """

    summary: ClassVar[str] = (
        "the student samples while it is trained, and learns at every token the probabilities of its original self, to "
        "which harmful prompts come in a safety context"
    )
    needs_latent_safety: ClassVar[bool] = True
    kind: Literal["self-distillation"] = "self-distillation"
    """The probabilities of the original student in a safety context, on the student's own samples."""
    context: Name = SEARCH
    """The safety context: `search` takes the one that turns most unsafe responses of the pilot safe; a name fixes one,
    and nothing is searched."""
    contexts: str = ""
    """File of your own contexts: YAML, a line `name: "text"` each, with `{prompt}` once in the text; a local path, or
    ``s3://bucket/key``. Without it the shipped ones and the steering templates are known."""
    max_refused: Annotated[Share, Field(strict=True)] = 0.1
    """Largest share of benign prompts that a context may make the student refuse; the search leaves out contexts above
    it."""

    @model_validator(mode="after")
    def _known(self) -> SelfDistillation:
        names = [context.name for context in known_contexts()]
        if not self.contexts and self.context != SEARCH and self.context not in names:
            raise ValueError(
                f"context: there is no context {self.context!r}; use {SEARCH}, one of {', '.join(names)}, or a file of "
                "your own (method.contexts)"
            )
        return self

    @property
    def _steered(self) -> bool:
        return not self.contexts and self.context in steering_names()

    def context_choice(self) -> ContextChoice | None:
        if self._steered:
            return None
        only = "" if self.context == SEARCH else self.context
        return ContextChoice(file=self.contexts, only=only, max_refused=self.max_refused)

    def pilot(self) -> Responses:
        found = super().pilot()
        if self.context != SEARCH:
            return found.model_copy(update={"template": self.context})
        return found.model_copy(
            update={"arms": {"harmful": ("plain", "steered", "context"), "benign": ("plain", "context")}}
        )

    def minimises(self) -> Objective:
        return Objective(
            temperature=self.temperature, max_tokens=self.max_tokens, vllm_memory=self.vllm_memory,
            context=steering_template(self.context) if self._steered else "",
        )
