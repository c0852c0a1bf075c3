"""Methods: who writes the responses, which of them become examples, and what training minimises; one file a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from thinksafe.methods.base import Method
from thinksafe.methods.direct_refusal import DirectRefusal
from thinksafe.methods.given import Given
from thinksafe.methods.grpo import Grpo
from thinksafe.methods.no_reasoning import NoReasoning
from thinksafe.methods.on_policy_distillation import OnPolicyDistillation
from thinksafe.methods.rejection import Rejection
from thinksafe.methods.safekey import SafeKey
from thinksafe.methods.safepath import SafePath
from thinksafe.methods.self_distillation import SelfDistillation
from thinksafe.methods.teacher import Teacher
from thinksafe.methods.thinksafe import ThinkSafe

METHODS: tuple[type[Method], ...] = (
    ThinkSafe, Rejection, NoReasoning, DirectRefusal, SafePath, Given, SafeKey, Teacher, Grpo, OnPolicyDistillation,
    SelfDistillation,
)
"""All methods; the configuration, its schema and the table of docs/methods.md follow from it."""

if TYPE_CHECKING:
    AnyMethod = Method
else:
    AnyMethod = Annotated[Union[METHODS], Field(discriminator="kind")]  # noqa: UP007 - of a tuple


def carried_over(section: Mapping[str, Any], kind: object) -> dict[str, Any]:
    """Return a section ``method`` with another kind, without the options that only the old kind has.

    Args:
        section: The section as written; it may be malformed.
        kind: The new kind; an unknown one changes nothing else, and validation refuses it.
    """
    fields = {of.model_fields["kind"].default: set(of.model_fields) for of in METHODS}
    lost: set[str] = set()
    if isinstance(kind, str) and kind in fields:
        lost = fields.get(section.get("kind", METHODS[0].model_fields["kind"].default), set()) - fields[kind]
    return {key: value for key, value in section.items() if key not in lost}
