"""Configuration of prompt sources and benchmarks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from thinksafe.config.base import Count, Name, Section
from thinksafe.records import Label, MetricKind


class _Source(Section):
    count: Count | None = None
    """Prompts to take (a seeded choice); all by default. More than there are is an error."""


class MicroSource(_Source):
    """Prompts of the micro world (shipped, nothing is downloaded)."""

    source: Literal["micro"]
    """The micro world."""
    kind: Literal["harmful", "safe-twin", "plain", "reasoning", "benign"]
    """``safe-twin``: a harmful request's verb with a safe object. ``benign``: a mixture of the harmless kinds."""
    split: Literal["train", "validation", "test"]
    """No request or problem is in two splits."""
    count: Count
    """Prompts to take (a seeded choice). More than there are is an error."""


class JsonlSource(_Source):
    """Prompts in a JSON Lines file.

    Its fields are ``id``, ``prompt``, and optionally ``label``, ``category``, ``answer``, ``context``; further ones are
    ignored.
    """

    source: Literal["jsonl"]
    """A JSON Lines file."""
    path: Annotated[str, Field(min_length=1)]
    """Local path (relative to the working directory)."""
    only: dict[str, str] = {}
    """Keep rows whose fields equal these values, e.g. ``{label: benign}``."""
    exclude: dict[str, str] = {}
    """Drop rows whose fields equal any of these values, e.g. ``{functional_category: copyright}``."""


class HubSource(_Source):
    """Prompts of a data set on the Hugging Face hub (or a local folder that ``datasets`` can load)."""

    source: Literal["hub"]
    """A data set that the ``datasets`` library loads."""
    repo: Annotated[str, Field(min_length=1)]
    """Hub id, or a local folder."""
    revision: str = ""
    """Commit; required on a cluster."""
    subset: str = ""
    """Configuration of the data set, where it has several."""
    split: str = "train"
    """Split of the data set."""
    prompt_field: str = "prompt"
    """Field that holds the prompt."""
    suffix: str = ""
    """Text put after every prompt, e.g. how a problem's answer is to be written."""
    answer_field: str = ""
    """Field that holds the reference answer; empty where there is none."""
    answer_after: str = ""
    """The answer is what follows the last occurrence of this text in its field, e.g. ``####`` for GSM8K."""
    category_field: str = ""
    """Field that holds the category; empty where there is none."""
    only: dict[str, str] = {}
    """Keep rows whose fields equal these values."""
    contains: dict[str, str] = {}
    """Keep rows whose fields contain these strings, e.g. ``{label: harmful}`` for SafeChain."""


PromptSource = Annotated[MicroSource | JsonlSource | HubSource, Field(discriminator="source")]


class PromptSet(Section):
    """A named set of prompts from one source."""

    name: Name
    """Becomes the ``source`` of every prompt of the set."""
    prompts: PromptSource
    """Where the prompts come from."""


class DataSettings(Section):
    """Training prompts."""

    harmful: Annotated[tuple[PromptSet, ...], Field(min_length=1)]
    """Sampled with the refusal instruction in front."""
    benign: Annotated[tuple[PromptSet, ...], Field(min_length=1)]
    """Sampled as they are."""
    ngram: Annotated[int, Field(gt=1, strict=True)] = 13
    """Words that a training and an evaluation prompt may not share in sequence (decontamination)."""
    contaminated: Literal["drop", "keep"] = "drop"
    """Training prompts that overlap with a benchmark: ``drop`` them, or ``keep`` them and let the gate's
    ``max_contamination`` decide. Reported by id either way."""


class Benchmark(PromptSet):
    """A named evaluation set and what is measured on it."""

    metric: MetricKind
    """``harm``: guard-unsafe / N on harmful prompts. ``over_refusal``: refusals / N on benign prompts.
    ``reasoning``: average pass@1 on problems with an answer."""


def label_of(metric: MetricKind) -> Label:
    """Return the label of a benchmark's prompts."""
    return "harmful" if metric == "harm" else "benign"
