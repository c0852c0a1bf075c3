"""The names and values under which a run is found in MLflow. Stable: dashboards and comparisons may rely on them.

On the run of the pipeline, for each role in base, candidate, champion (or evaluated) and each metric name
(``harm/<benchmark>``, ``over_refusal/<benchmark>``, ``reasoning/<benchmark>``, ``disagreement/<benchmark>``, with
``/<part>`` where a part is scored): ``<role>/<metric>``, ``<role>/<metric>.low``, ``.high`` (interval) and ``.n``
(prompts); ``drift/<measure>/<label>`` and ``pilot/<number>`` with the same endings; the configuration as
parameters; tags (see :func:`headline_tags`); and prompt sets as dataset inputs. On the run of a task the metrics
without the role, each count of its record, ``seconds``, ``gpus`` (if it had any), and ``train/<name>`` by step for a
training curve.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from thinksafe.config.rounds import MOST, round_suffix
from thinksafe.credentials import scrubbed
from thinksafe.digests import digest_bytes, digest_json
from thinksafe.errors import ConfigError
from thinksafe.prompts.details import PrepareDetails
from thinksafe.records import MetricSet
from thinksafe.registry.ledger import entry_key
from thinksafe.run.details import (
    DecisionDetails,
    Details,
    DiagnoseDetails,
    PlanDetails,
    PromoteDetails,
    RegisterDetails,
)
from thinksafe.training.details import TrainDetails

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from thinksafe.run.record import StageRecord

D = TypeVar("D", bound=Details)

MAX_VALUE = 500
"""Characters of a parameter or tag; a longer one is cut and ends in its digest."""
MAX_KEY = 240
DATASET_DIGEST = 36
"""Characters of a data set's digest that MLflow takes; the whole digest is in its source."""
DECIDING = (
    "gate", "monitor",
    *(f"{stage}{round_suffix(number, MOST)}" for number in range(MOST, 0, -1) for stage in ("train", "curate")),
    "diagnose",
)
"""Tasks that leave a decision, the final one first."""
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-. /:]")


def headline_tags(records: Mapping[str, StageRecord]) -> dict[str, str]:
    """Return the tags of the parent run: outcome and digests; empty if a stage has not run."""
    verdicts = {task: record.verdict for task, record in records.items()}
    decision = next(filter(None, (_details(records, task, DecisionDetails).decision for task in DECIDING)), None)
    entry = _details(records, "promote", PromoteDetails).entry
    registration = _details(records, "register", RegisterDetails).registration
    plan, train = _details(records, "plan", PlanDetails), _details(records, "train", TrainDetails)
    model = plan.model or {}
    tags = {
        "thinksafe.diagnosis": verdicts.get("diagnose", ""),
        "thinksafe.decision": verdicts.get("gate") or verdicts.get("monitor", ""),
        "thinksafe.decision_digest": digest_json(decision) if decision else "",
        "thinksafe.stopped_by": decision.stopped_by if decision else "",
        "thinksafe.promotion": verdicts.get("promote", ""),
        "thinksafe.generation": entry.get("generation"),
        "thinksafe.ledger_entry": _entry_key(entry),
        "thinksafe.kfp_run": plan.kfp_run,
        "thinksafe.model": registration.get("name"),
        "thinksafe.version": registration.get("version"),
        "thinksafe.config_digest": plan.config_digest,
        "thinksafe.base_digest": plan.base.get("base_digest") or model.get("base_digest"),
        "thinksafe.champion_digest": plan.champion.get("adapter_digest") or plan.champion.get("weights_digest"),
        "thinksafe.data_digest": registration.get("data_digest"),
        "thinksafe.adapter_digest": train.adapter_digest or registration.get("adapter_digest")
        or model.get("adapter_digest"),
        "thinksafe.weights_digest": train.weights_digest or registration.get("weights_digest")
        or model.get("weights_digest"),
    }
    return {key: "" if value is None else str(value) for key, value in tags.items()}


def _details(records: Mapping[str, StageRecord], task: str, model: type[D]) -> D:
    record = records.get(task)
    return record.read(model) if record is not None and record.succeeded else model()


def _entry_key(entry: dict[str, Any]) -> str:
    model, generation = entry.get("model"), entry.get("generation")
    if isinstance(model, str) and isinstance(generation, int):
        with suppress(ConfigError):  # not the name of a registered model
            return entry_key(model, generation)
    return ""


def metric_values(metrics: MetricSet) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a metric set: each value, its interval's limits and its number of prompts."""
    for metric in metrics.numbers:
        yield metric.name, metric.value
        yield f"{metric.name}.low", metric.interval.low
        yield f"{metric.name}.high", metric.interval.high
        yield f"{metric.name}.n", float(metric.n)


def drift_values(record: StageRecord) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a training's drift, named as those of metrics; nothing if it has none."""
    for found in record.read(TrainDetails).drift:
        name = f"drift/{found.measure}/{found.label}"
        yield name, found.value
        if found.interval is not None:
            yield f"{name}.low", found.interval.low
            yield f"{name}.high", found.interval.high
        yield f"{name}.n", float(found.n)


def pilot_values(record: StageRecord) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a diagnosis, named as those of metrics; nothing if the record has none."""
    of = record.read(DiagnoseDetails)
    for name in ("acceptance_plain", "acceptance_steered", "flip_rate"):
        rate = getattr(of, name)
        if rate is not None and rate.value is not None:
            yield f"pilot/{name}", rate.value
            yield f"pilot/{name}.n", float(rate.n)
    quantities = {"odds_ratio": of.odds_ratio, "excess": of.excess}
    quantities |= {f"cross_entropy/{arm}": each for arm, each in of.cross_entropy.items()}
    for name, each in quantities.items():
        if each is not None:
            for ending, value in (("", each.value), (".low", each.low), (".high", each.high), (".n", float(each.n))):
                if value is not None:
                    yield f"pilot/{name}{ending}", value
    for context in of.contexts:
        for name, rate in (("flip_rate", context.flip_rate), ("refused", context.refused)):
            if rate.value is not None:
                yield f"pilot/context/{context.name}/{name}", rate.value
                yield f"pilot/context/{context.name}/{name}.n", float(rate.n)
    for prediction in of.predictions:
        if prediction.samples_low is not None:
            yield f"pilot/samples/{prediction.method}", prediction.samples_low


def dataset_inputs(records: Mapping[str, StageRecord]) -> list[DatasetInput]:
    """Return the prompt sets of a run and its training examples, each by its digest, with its use as the context."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    origins = _origins(_details(records, "plan", PlanDetails).config)
    prepare = _details(records, "prepare", PrepareDetails)
    sets: list[dict[str, Any]] = [of.model_dump() for of in prepare.sets if of.digest]
    if "curate" in records and (digest := records["curate"].outputs.get("examples")):
        rows = records["curate"].counts.get("accepted")
        sets.append({"name": "examples", "use": "training", "digest": digest, "rows": rows})
    found = []
    for of in sets:
        source = {"sha256": of["digest"], **origins.get(str(of.get("name")), {})}
        found.append(
            DatasetInput(
                dataset=Dataset(
                    name=short(str(of.get("name"))), digest=str(of["digest"])[:DATASET_DIGEST],
                    source_type="thinksafe", source=scrubbed(json.dumps(source, sort_keys=True))[:MAX_SOURCE],
                    profile=json.dumps({"num_rows": of.get("rows")}),
                ),
                tags=[InputTag("mlflow.data.context", short(str(of.get("use", ""))))],
            )
        )
    return found


MAX_SOURCE = 60_000


def _origins(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return where each configured prompt set comes from, by its name."""
    data, evaluation = config.get("data") or {}, config.get("evaluation") or {}
    sets = [*data.get("harmful", ()), *data.get("benign", ()), *evaluation.get("benchmarks", ())]
    named = (of for of in sets if isinstance(of, dict) and "name" in of)
    return {str(of["name"]): {"prompts": of.get("prompts"), "use": of.get("use", "")} for of in named}


def flattened(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested settings as (``a.b.0.c``, text); lists of plain values stay together, as JSON."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from flattened(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(settings, list | tuple) and any(isinstance(item, dict | list) for item in settings):
        for index, value in enumerate(settings):
            yield from flattened(value, f"{prefix}.{index}" if prefix else str(index))
    elif prefix:
        plain = settings if isinstance(settings, str) else json.dumps(settings, ensure_ascii=False)
        yield prefix, plain


def safe_name(name: str) -> str:
    """Return a name that MLflow takes for a metric or parameter (``[A-Za-z0-9_-. /:]``, no path tricks).

    A changed name gets a digest at its end, so that two names never become the same.
    """
    parts = [part for part in _FORBIDDEN.sub("_", name).split("/") if part.strip(". ")]
    safe = "/".join(parts)[:MAX_KEY].rstrip("/ ") or "_"
    if safe == name and posixpath.normpath(safe) == safe:
        return safe
    return f"{safe}-{digest_bytes(name.encode())[:8]}"


def short(value: str) -> str:
    """Return a value that fits, on one line."""
    line = " ".join(value.split())
    return line if len(line) <= MAX_VALUE else f"{line[:MAX_VALUE - 24]}... sha256 {digest_bytes(value.encode())[:12]}"
