"""What a configuration says about a comparison: the methods side by side, and what their work costs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from thinksafe.settings import Section

MethodName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$")]
"""Names pods and tasks: lower-case letters, digits and inner dashes, at most 30."""

OVERRIDABLE = ("method", "sampling", "curate", "training")
"""Sections that may differ between the methods of a comparison; everything else is the same for all of them."""

MOST = 40
"""Methods that one comparison may have: the pairwise intervals widen with each."""


class ComparedMethod(Section):
    """One method of a comparison."""

    name: MethodName
    """Its name on the page and in the tasks."""
    overrides: dict[str, Any] = {}
    """Settings that replace those of the document, as a document that ``extends`` it would: in ``method``,
    ``sampling``, ``curate`` and ``training``. Student, prompts, guards, evaluation and gate are the same for all."""

    @field_validator("overrides")
    @classmethod
    def _of_the_method(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        if others := sorted(set(overrides) - set(OVERRIDABLE)):
            raise ValueError(
                f"{', '.join(others)} cannot differ between methods that are compared; overridable: "
                f"{', '.join(OVERRIDABLE)}"
            )
        return overrides


ComparedMethods = Annotated[tuple[ComparedMethod, ...], Field(max_length=MOST)]


class CostSettings(Section):
    """What work costs, for estimates and for the page of a comparison."""

    gpu_hour: Annotated[float, Field(gt=0.0)] | None = None
    """Price of one GPU for an hour; without it no money is shown."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    """ISO 4217 code of the price."""
    limit_gpu_hours: float | None = Field(default=None, gt=0.0, exclude_if=lambda limit: limit is None)
    """`thinksafe submit` and `publish` refuse a configuration whose estimate is above this; by default nothing is
    refused."""


class Shared(Section):
    """With whom a method shares work that is done once: each is the name of the first method that has the same."""

    method: str
    pilot: str
    diagnosis: str
    samples: str
    """Training samples and their verdicts, those of the first round if there are several."""
    rounds: int = Field(default=1, exclude_if=lambda rounds: rounds == 1)
    """Rounds of the method (``sampling.rounds``)."""


def scoped(name: str, method: str) -> str:
    """Return the name of a section or task of one method of a comparison: ``train.kl``; as it is without a method."""
    return f"{name}.{method}" if method else name


def method_of(name: str) -> str:
    """Return the method in a scoped name; empty if there is none."""
    return name.partition(".")[2]
