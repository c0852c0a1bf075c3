"""A comparison: the configuration of each method, what the methods share, and the plan of all of them."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable
from typing import Any, NamedTuple

from thinksafe.config.compared import Shared, scoped
from thinksafe.config.load import Document, find_document, merged, read_value, validated
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.overrides import inherited
from thinksafe.config.plan_document import PlanDocument
from thinksafe.config.planning import sections_of
from thinksafe.config.sections import TeacherSection
from thinksafe.errors import ConfigError

PILOT = ("sample_pilot", "judge_pilot")
DIAGNOSIS = (*PILOT, "diagnose")
SAMPLES = (*DIAGNOSIS, "sample_training", "judge_filter")
"""Sections that must be equal for methods to share their pilot, their diagnosis and their training samples."""
USED = (
    "prepare", *SAMPLES, "curate", "train", "sample_evaluation", "judge_evaluate", "grade", "metrics", "gate",
)
"""Sections that a comparison reads: nothing is registered, promoted or deployed."""


class Comparison(NamedTuple):
    """The configuration of a comparison."""

    base: RealignmentConfig
    """The document without any method's overrides: what all methods share."""
    methods: dict[str, RealignmentConfig]
    """By name, in the order of the document."""


def load_comparison(config: str, overrides: list[str] | None = None) -> Comparison:
    """Read and validate the configuration of a comparison.

    Args:
        config: Recipe name, path, or YAML text, with a list ``compare``.
        overrides: ``dotted.key=YAML value``, applied to the document, and so to every method that does not say
            otherwise.

    Raises:
        ConfigError: the document or a method of it is wrong, or there are fewer than two methods.
    """
    document = find_document(config)
    value, lines = read_value(document, overrides or [])
    base = validated(RealignmentConfig, document, copy.deepcopy(value), lines)
    if len(base.compare) < 2:
        raise ConfigError(
            f"{document.name} names {len(base.compare)} methods to compare.",
            "List two or more under compare, each with a name and overrides (docs/compare.md).",
        )
    shared = _alone(value)
    methods = {}
    for entry in base.compare:
        below = inherited(copy.deepcopy(shared), entry.overrides)
        named = Document(f"{document.name}, the method {entry.name} of compare,", document.text)
        found = validated(RealignmentConfig, named, merged(below, entry.overrides), {})
        _require_same_pods(found, base, entry.name)
        methods[entry.name] = found
    return Comparison(base, methods)


def _alone(value: dict[str, Any]) -> dict[str, Any]:
    """Return a document without the list of methods and its schedule."""
    found = {key: copy.deepcopy(item) for key, item in value.items() if key != "compare"}
    schedule = (found.get("cluster") or {}).get("schedule") or {}
    schedule.pop("compare", None)
    return found


def _require_same_pods(config: RealignmentConfig, base: RealignmentConfig, name: str) -> None:
    """Refuse what only another compiled pipeline could run: its pods are those of the document without overrides."""
    if config.sampling.parallelism != base.sampling.parallelism:
        raise ConfigError(
            f"The method {name} of compare sets sampling.parallelism, which changes no sample.",
            "Set it once, outside of compare.",
        )
    if config.cluster is not None and base.cluster is not None and config.cluster.digest != base.cluster.digest:
        raise ConfigError(
            f"The method {name} of compare needs other pods than the document without its overrides.",
            "Set what decides the GPUs (training.processes, training.strategy) outside of compare, or "
            "cluster.stages.train.gpu.count to the most that a method needs.",
        )


def shared_work(comparison: Comparison) -> tuple[Shared, ...]:
    """Return for each method with whom it shares pilot, diagnosis and training samples."""
    sections = {name: sections_of(config).model_dump(mode="json") for name, config in comparison.methods.items()}

    def first(name: str, keys: tuple[str, ...]) -> str:
        own = sections[name]
        return next(other for other, of in sections.items() if all(of.get(key) == own.get(key) for key in keys))

    return tuple(
        Shared(
            method=name, pilot=first(name, PILOT), diagnosis=first(name, DIAGNOSIS),
            # the tasks of a first round have other names than those of an only one
            samples=first(name, (*SAMPLES, "rounds")), rounds=config.sampling.rounds,
        )
        for name, config in comparison.methods.items()
    )


def comparison_plan(
    run_id: str, comparison: Comparison, day: datetime.date | None,
    resolve: Callable[[RealignmentConfig], TeacherSection | None],
) -> PlanDocument:
    """Return the plan: the sections that all methods share, and under scoped names those in which one differs.

    Args:
        run_id: The run.
        comparison: The configuration.
        day: Day (UTC) by which waivers expire.
        resolve: Returns a method's teacher with its digest, None if it has none.
    """
    def planned(config: RealignmentConfig) -> dict[str, Any]:
        return sections_of(config, day, resolve(config)).model_dump(mode="json")

    common = planned(comparison.base)
    methods = {name: planned(config) for name, config in comparison.methods.items()}
    # one pilot's prompts serve all: those of a method that asks for benign ones, which the others leave out
    common["prepare"] = max(
        (common["prepare"], *(own["prepare"] for own in methods.values())), key=lambda of: of.get("pilot_benign", 0)
    )
    sections = {key: common[key] for key in USED}
    for name, own in methods.items():
        sections |= {scoped(key, name): own[key] for key in USED[1:] if own[key] != common[key]}
    return PlanDocument(
        run_id=run_id, parallelism=common["parallelism"], sections=sections, methods=tuple(comparison.methods),
    )
