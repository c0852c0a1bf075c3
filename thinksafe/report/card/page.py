"""The model card of a candidate: ``README.md`` in the format of the Hugging Face Hub, made from the run's records."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from thinksafe.benchmarks.definitions import definition, definition_names
from thinksafe.deciding.waivers import applied
from thinksafe.methods import METHODS
from thinksafe.records import Role
from thinksafe.report.approved import approvals_of
from thinksafe.report.card import sources
from thinksafe.report.summary import RunSummary
from thinksafe.report.tables import KIND_NAMES
from thinksafe.report.words import VERDICTS, limits, why
from thinksafe.text import bracket, clean, percent

if TYPE_CHECKING:
    from huggingface_hub import EvalResult
    from jinja2 import Environment

ROLES: tuple[Role, ...] = ("base", "candidate", "champion")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_UNUSUAL = re.compile(r"[^\w./:@+-]", re.ASCII)


class _Ready(str):
    """Markdown, not to be escaped again."""


class _Line(NamedTuple):
    """A metric of each model."""

    benchmark: str
    kind: str
    n: int
    cells: tuple[str, ...]
    """By ``ROLES``; empty for a model without it."""


def model_card(summary: RunSummary) -> str:
    """Return the card: metadata in YAML, then Markdown. It contains no text of prompts or responses.

    Args:
        summary: A run that made a candidate.
    """
    from huggingface_hub import ModelCard, ModelCardData

    base, teacher = sources.base(summary), sources.teacher(summary)
    licence = sources.named(summary.setting("card", "licence"))
    name = sources.named(summary.setting("registry", "model") or summary.provenance.recipe)
    data_sets = sources.data_sets(summary)
    full = bool(summary.provenance.weights_digest)
    data = ModelCardData(
        base_model=base.name if base.hub else None,
        base_model_relation=("finetune" if full else "adapter") if base.hub else None,
        library_name="transformers" if full else "peft",
        license=licence or None,
        pipeline_tag="text-generation",
        datasets=sorted({found.origin for found in data_sets if found.hub and found.use == "training"}) or None,
        tags=[
            "safety", "thinksafe", *([] if full else ["lora"]), f"method:{sources.named(summary.provenance.method)}",
        ],
        model_name=name,
        eval_results=_results(summary) or None,
    )
    decision = summary.decision
    body = _environment().get_template("card.md.jinja").render(
        name=name, summary=summary, full=full, base=base, teacher=teacher, data_sets=data_sets,
        guards=sources.guards(summary),
        method=next((of.summary for of in METHODS if of.model_fields["kind"].default == summary.provenance.method), ""),
        roles=[role for role in ROLES if role in summary.metrics], lines=_lines(summary), licence=licence,
        outcome=VERDICTS[summary.outcome].title, why=why(summary), limits=limits(summary),
        notes=decision.notes if decision is not None else (), waived=applied(decision) if decision is not None else (),
        intended_use=str(summary.setting("card", "intended_use", default="")),
        contact=str(summary.setting("card", "contact", default="")), training=summary.setting("training", default={}),
        promotion=summary.promotion, approvals=approvals_of(summary), registration=summary.registration,
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}", ignore_metadata_errors=False))


def _results(summary: RunSummary) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    found = []
    uses = {
        str(item.get("name")): str(item.get("use") or "")
        for item in summary.setting("evaluation", "benchmarks", default=[]) if isinstance(item, dict)
    }
    for metric in summary.metrics["candidate"].metrics if "candidate" in summary.metrics else ():
        if metric.part != "whole":
            continue
        use, name = uses.get(metric.benchmark, ""), sources.named(metric.benchmark)
        known = definition(use) if use in definition_names() else None
        found.append(
            EvalResult(
                task_type="text-generation", dataset_type=(known.repo if known else "") or name,
                dataset_name=known.title if known else name,
                dataset_revision=(known.revision if known else "") or None,
                metric_type=metric.kind, metric_name=KIND_NAMES[metric.kind], metric_value=metric.value,
                metric_args={
                    "n": metric.n, "samples": metric.samples, "unknown": metric.unknown,
                    "interval": [metric.interval.low, metric.interval.high],
                    "confidence": metric.interval.confidence, "method": sources.named(metric.interval.method),
                    **metric.settings.model_dump(mode="json"),
                },
            )
        )
    return found


def _lines(summary: RunSummary) -> list[_Line]:
    by_name: dict[str, dict[Role, Any]] = {}
    for role in ROLES:
        for metric in summary.metrics[role].metrics if role in summary.metrics else ():
            if metric.part == "whole":
                by_name.setdefault(metric.name, {})[role] = metric
    lines = []
    for models in by_name.values():
        of = models.get("candidate") or next(iter(models.values()))
        cells = tuple(
            f"{percent(found.value)} {bracket(found.interval)}" if (found := models.get(role)) else ""
            for role in ROLES if role in summary.metrics
        )
        lines.append(_Line(of.benchmark, KIND_NAMES[of.kind], of.n, cells))
    return lines


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files("thinksafe.report") / "templates"
    environment = Environment(  # noqa: S701 - Markdown: every expression is escaped by plain()
        loader=FunctionLoader(lambda name: (folder / name).read_text("utf-8")), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=plain, keep_trailing_newline=True,
    )
    environment.filters.update(code=code, word=word)
    return environment


def plain(value: Any) -> Any:
    """Return text as Markdown that shows it as it is, in one line; other values unchanged.

    Backslashes escape what Markdown or HTML would read as markup (CommonMark 2.4).
    """
    if not isinstance(value, str) or isinstance(value, _Ready):
        return value
    return _SPECIAL.sub(r"\\\1", " ".join(clean(value).split()))


def code(value: str) -> str:
    """Return text as inline code; backslashes escape nothing in there, but a table's bar (GFM 4.10)."""
    text = " ".join(clean(value).split()).replace("`", "'").replace("|", "\\|")
    return _Ready(f"`{text}`" if text else "")


def word(value: str) -> str:
    """Return text as a word of a command or a Python string; unusual characters become question marks."""
    return _Ready(_UNUSUAL.sub("?", clean(value)))
