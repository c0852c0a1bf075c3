"""Configuration of prompt sources and benchmarks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from thinksafe.records import Label, MetricKind


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    count: Annotated[int, Field(gt=0)] | None = None
    """Prompts to take (a seeded choice); all by default. More than there are is an error."""


class MicroSource(_Source):
    """Prompts of the micro world (shipped, nothing is downloaded)."""

    source: Literal["micro"]
    kind: Literal["harmful", "safe-twin", "plain", "reasoning", "benign"]
    split: Literal["train", "validation", "test"]
    count: Annotated[int, Field(gt=0)]


class JsonlSource(_Source):
    """Prompts in a JSON Lines file: ``id``, ``prompt``, and optionally ``label``, ``category``, ``answer``,
    ``context``. Further fields are ignored."""

    source: Literal["jsonl"]
    path: Annotated[str, Field(min_length=1)]
    """Local path (relative to the working directory)."""
    only: dict[str, str] = {}
    """Keep rows whose fields equal these values, e.g. ``{label: benign}``."""
    exclude: dict[str, str] = {}
    """Drop rows whose fields equal any of these values, e.g. ``{functional_category: copyright}``."""


class HubSource(_Source):
    """Prompts of a data set on the Hugging Face hub (or a local folder that ``datasets`` can load)."""

    source: Literal["hub"]
    repo: Annotated[str, Field(min_length=1)]
    revision: str = ""
    """Commit; required on a cluster."""
    subset: str = ""
    split: str = "train"
    prompt_field: str = "prompt"
    answer_field: str = ""
    category_field: str = ""
    only: dict[str, str] = {}
    contains: dict[str, str] = {}
    """Keep rows whose fields contain these strings, e.g. ``{label: harmful}`` for SafeChain."""


PromptSource = Annotated[MicroSource | JsonlSource | HubSource, Field(discriminator="source")]


class PromptSet(BaseModel):
    """A named set of prompts from one source."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    """Becomes the ``source`` of every prompt of the set."""
    prompts: PromptSource


class DataSettings(BaseModel):
    """Training prompts."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    harmful: Annotated[tuple[PromptSet, ...], Field(min_length=1)]
    """Sampled with the refusal instruction in front."""
    benign: Annotated[tuple[PromptSet, ...], Field(min_length=1)]
    """Sampled as they are."""
    ngram: Annotated[int, Field(gt=1)] = 13
    """Words that a training and an evaluation prompt may not share in sequence (decontamination)."""


class Benchmark(PromptSet):
    """A named evaluation set and what is measured on it."""

    metric: MetricKind
    """``harm``: guard-unsafe / N on harmful prompts. ``over_refusal``: refusals / N on benign prompts.
    ``reasoning``: average pass@1 on problems with an answer."""


def label_of(metric: MetricKind) -> Label:
    """Return the label of a benchmark's prompts."""
    return "harmful" if metric == "harm" else "benign"
