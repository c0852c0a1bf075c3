"""Configuration of prompt sources and benchmarks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from thinksafe.benchmarks.definitions import definition
from thinksafe.benchmarks.variations import FREE, PLAIN, thinking_names, transform_names, variation
from thinksafe.errors import ConfigError
from thinksafe.records import Label, MetricKind
from thinksafe.settings import LONGEST_NAME, Count, Name, Section

FileField = Literal["id", "prompt", "answer", "category", "context", "options", "turns", "response"]
HubField = Literal["prompt", "answer", "category", "response"]
FieldName = Annotated[str, Field(min_length=1)]


class _Source(Section):
    count: Count | None = None
    """Number of prompts (a seeded choice); by default all. More than the set has is an error."""


class MicroSource(_Source):
    """Prompts of the micro world (shipped; nothing is downloaded)."""

    source: Literal["micro"]
    """The micro world."""
    kind: Literal["harmful", "safe-twin", "plain", "reasoning", "benign"]
    """``safe-twin``: a harmful request's verb with a safe object. ``benign``: a mixture of the harmless kinds."""
    split: Literal["train", "validation", "test"]
    """Split; no request or problem is in two splits."""
    responses: bool = False
    """Bring the world's own reference responses, for the method ``given``."""
    count: Count
    """Number of prompts (a seeded choice). More than the set has is an error."""


class FileSource(_Source):
    """Prompts in a file: JSON Lines, CSV, TSV or parquet, by its suffix (anything else is JSON Lines).

    ``.gz`` or ``.zst`` may follow the suffix.

    A row has a unique ``id`` and a ``prompt`` or, in benchmarks only, ``turns``: the user turns of a conversation, a
    list of texts. It may have an ``answer`` (the reference), a ``category``, a ``context`` (a passage to put in front
    of the prompt) and ``options`` (of a multiple-choice problem, a list of texts; the answer is then a letter). Other
    fields are ignored. In CSV and TSV, ``turns`` and ``options`` are JSON lists.
    """

    source: Literal["file", "jsonl"]
    """A file; ``jsonl`` means the same."""
    path: Annotated[str, Field(min_length=1)]
    """Local path (relative to the working directory), or ``s3://bucket/key``."""
    fields: dict[FileField, FieldName] = {}
    """Fields with another name in the file, e.g. ``{prompt: question}``; the file must have them. A ``response`` to
    train on, thought included, is read only if it is named here."""
    suffix: str = ""
    """Text put after every prompt, e.g. how a problem's answer is to be written."""
    only: dict[str, str] = {}
    """Keep rows whose fields equal these values, e.g. ``{label: benign}``. ``"1"`` equals the number 1.0, ``"true"``
    JSON's true, and ``""`` a missing value. A filter that matches no row is an error."""
    exclude: dict[str, str] = {}
    """Drop rows whose fields equal any of these values, e.g. ``{functional_category: copyright}``; as ``only``."""


class HubSource(_Source):
    """Prompts of a data set on the Hugging Face hub (or a local folder that ``datasets`` can load)."""

    source: Literal["hub"]
    """A data set that the ``datasets`` library loads."""
    repo: Annotated[str, Field(min_length=1)]
    """Hub id, or a local folder."""
    revision: str = ""
    """Commit; required on a cluster."""
    subset: str = ""
    """Configuration of the data set, if it has several."""
    split: str = "train"
    """Split of the data set."""
    fields: dict[HubField, FieldName] = {}
    """Names of the fields in the data set. ``prompt`` has that name by default; ``answer`` (the reference),
    ``category`` and ``response`` (to train on, thought included) are read only if they are named here."""
    suffix: str = ""
    """Text put after every prompt, e.g. how a problem's answer is to be written."""
    answer_after: str = ""
    """The answer is the text after the last occurrence of this marker in its field, e.g. ``####`` for GSM8K."""
    only: dict[str, str] = {}
    """Keep rows whose fields equal these values; a filter that matches no row is an error."""
    contains: dict[str, str] = {}
    """Keep rows whose fields contain these strings, e.g. ``{label: harmful}`` for SafeChain."""


class KnownSource(_Source):
    """Prompts of a known benchmark: from the hub at its pinned commit, or from a copy."""

    source: Literal["known"] = "known"
    """A known benchmark; ``use`` says which."""
    path: str = ""
    """Copy to read instead of the hub: JSON Lines, CSV, TSV or parquet, local or ``s3://bucket/key``."""
    revision: str = ""
    """Commit on the hub; by default the one in the benchmark's definition."""
    rows: Count | None = None
    """Number of prompts in the set; by default that of the published set. Any other number is an error."""
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Digest that the loaded prompts must have, as recorded by ``prepare``; by default it is not checked."""
    definition: str = ""
    """Digest of the benchmark's definition in this version of thinksafe; filled in."""


PromptSource = Annotated[MicroSource | FileSource | HubSource, Field(discriminator="source")]
EvaluationSource = Annotated[MicroSource | FileSource | HubSource | KnownSource, Field(discriminator="source")]


class PromptSet(Section):
    """A named set of prompts from one source."""

    name: Name
    """Becomes the ``source`` of every prompt of the set."""
    prompts: PromptSource
    """Where the prompts come from."""

    @property
    def has_responses(self) -> bool:
        """The set brings responses to train on."""
        of = self.prompts
        return of.responses if isinstance(of, MicroSource) else "response" in of.fields


class DataSettings(Section):
    """Training prompts."""

    harmful: Annotated[tuple[PromptSet, ...], Field(min_length=1)]
    """Sampled with the refusal instruction in front, if the method steers."""
    benign: Annotated[tuple[PromptSet, ...], Field(min_length=1)]
    """Sampled plain."""
    contaminated: Literal["drop", "keep"] = "drop"
    """Training prompts that overlap with a benchmark: ``drop`` them, or ``keep`` them and leave the decision to the
    gate's ``max_contamination``. Either way they are reported by id."""


class Benchmark(Section):
    """A named evaluation set and what to measure on it: a known benchmark (``use``), or your own prompts."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": [], "anyOf": [{"required": ["use"]}, {"required": ["name", "metric", "prompts"]}]
        }
    )

    use: str = ""
    """Known benchmark, e.g. ``harmbench``; ``thinksafe benchmarks`` lists them. Sets name, metric and prompts."""
    wording: Annotated[str, Field(exclude_if=lambda wording: not wording)] = ""
    """Another wording of a known benchmark: ``paper`` puts problems as arXiv:2601.23143 does."""
    name: Name
    """Name of the benchmark; becomes the ``source`` of every prompt of the set."""
    metric: MetricKind
    """``harm``: guard-unsafe / N on harmful prompts. ``over_refusal``: refusals / N on benign prompts.
    ``reasoning``: average pass@1 on problems with an answer."""
    prompts: EvaluationSource
    """Where the prompts come from."""
    transforms: tuple[str, ...] = ()
    """Attacks applied to harmful requests, each a separate benchmark (``plain`` is none): ``role-play``,
    ``prefix-injection``, ``past-tense``, ``base64``, ``long-context``, ``escalation``."""
    thinking: tuple[str, ...] = ()
    """Controls of the thought, each a separate benchmark (``free`` is none): ``no-thought``, ``short-thought``,
    ``long-thought``. They set how the response begins."""
    gated: bool = True
    """``false`` reports the benchmark without checking it; the decision says so."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("use"), str) or not data["use"]:
            return data
        try:
            known = definition(data["use"]).worded(str(data.get("wording") or ""))
        except ConfigError as error:
            raise ValueError(str(error)) from error
        prompts = data.get("prompts") or {}
        if not isinstance(prompts, dict):
            return data
        filled = {"source": "known", "revision": known.revision, "rows": known.rows, "definition": known.fingerprint}
        return {"name": data["use"], "metric": known.metric, **data, "prompts": filled | prompts}

    @field_validator("transforms", "thinking")
    @classmethod
    def _shipped(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = transform_names() if info.field_name == "transforms" else thinking_names()
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
                raise ValueError(f"there is no {name[:80]!r}{hint}")
        if len(set(names)) != len(names):
            raise ValueError("a name repeats")
        return names

    @model_validator(mode="after")
    def _variable(self) -> Benchmark:
        if any(name != PLAIN for name in self.transforms) and self.metric != "harm":
            raise ValueError(f"transforms are attacks on harm benchmarks, and {self.name} measures {self.metric}")
        if self.variation and isinstance(self.prompts, MicroSource):
            raise ValueError(
                "the micro world's students know only its single requests: no transforms, no control of thoughts"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Benchmark:
        if not isinstance(self.prompts, KnownSource):
            if self.use:
                raise ValueError(f"use: {self.use} has its own prompts; leave prompts.source out")
            if self.wording:
                raise ValueError("wording is one of a known benchmark (use); your own prompts come as they are")
            return self
        if not self.use:
            raise ValueError("prompts.source known needs the key use with the name of the benchmark")
        known = definition(self.use).worded(self.wording)
        if self.metric != known.metric:
            raise ValueError(f"{self.use} measures {known.metric}, not {self.metric}")
        if self.prompts.definition != known.fingerprint:
            raise ValueError(f"this version of thinksafe defines {self.use} differently; leave prompts.definition out")
        return self

    @property
    def variation(self) -> str:
        """Transform and control of the thought, as at the end of the name; empty for neither."""
        return variation(self.transforms, self.thinking)

    @property
    def base_name(self) -> str:
        """Name without the variation, so that all variations use the same prompts."""
        return self.name.removesuffix(f"-{self.variation}") if self.variation else self.name

    def expanded(self) -> list[Benchmark]:
        """Return one benchmark for each pair of transform and control, named after it."""
        found = []
        for one in self.transforms or (PLAIN,):
            for control in self.thinking or (FREE,):
                suffix = variation([one], [control])
                name = self.name if not suffix or self.name.endswith(f"-{suffix}") else f"{self.name}-{suffix}"
                if len(name) > LONGEST_NAME:
                    raise ValueError(f"the name {name} is longer than {LONGEST_NAME} characters; shorten {self.name}")
                found.append(self.model_copy(update={"name": name, "transforms": (one,), "thinking": (control,)}))
        return found if self.transforms or self.thinking else [self]

    @property
    def size(self) -> int | None:
        """Number of prompts in the set; None if it is unknown until they are loaded."""
        return self.prompts.count or (self.prompts.rows if isinstance(self.prompts, KnownSource) else None)


def label_of(metric: MetricKind) -> Label:
    """Return the label of a benchmark's prompts."""
    return "harmful" if metric == "harm" else "benign"


def check_thinking(benchmarks: Iterable[Benchmark], reasoning: str, engine: str) -> None:
    """Check that thoughts can be controlled, if a benchmark needs it.

    Raises:
        ValueError: the student has no thoughts (``reasoning`` is none), or the engine cannot continue one.
    """
    controlled = next((b.name for b in benchmarks if b.thinking not in ((), (FREE,))), None)
    if controlled and reasoning == "none":
        raise ValueError(f"{controlled} controls the thought, and student.reasoning is none")
    if controlled and engine == "endpoint":
        raise ValueError(f"{controlled} controls the thought, which an endpoint cannot do; set engine.kind: vllm")
