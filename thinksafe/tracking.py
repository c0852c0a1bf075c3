"""MLflow runs from stage records: one parent run for a pipeline run, one nested run for each task.

Everything is derived from the records, and nothing is logged twice: a task whose record was logged is skipped, one
that was cut off is completed, one whose record changed (a retry) is replaced. No prompt or response text is logged.

Names that dashboards may rely on. On the parent, for each role in base, candidate, champion and each metric name
(``harm/<benchmark>``, ``over_refusal/<benchmark>``, ``reasoning/<benchmark>``, ``disagreement/<benchmark>``, with
``/<part>`` where a part is scored): ``<role>/<metric>``, ``<role>/<metric>.low``, ``.high`` (interval) and ``.n``
(prompts). On the run of a task the same without the role, each count of its record, ``seconds``, and ``train/<name>``
by step for a training curve.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from thinksafe.config.model import RegistrySettings
from thinksafe.digests import digest_bytes, digest_json
from thinksafe.errors import InputError, StageError
from thinksafe.ledger import actor
from thinksafe.mlflow_client import (
    all_pages,
    connect,
    ensure_experiment,
    missing_ok,
    quoted,
    reporting,
    resolve_tracking_uri,
    uploading,
)
from thinksafe.records import MetricSet

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from thinksafe.stages.record import StageRecord

RUN_ID, TASK, RECORD = "thinksafe.run_id", "thinksafe.task", "thinksafe.record"
PARENT = "mlflow.parentRunId"
MAX_VALUE = 500
"""Characters of a parameter or tag; a longer one is cut and ends in its digest."""
MAX_KEY = 240
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-. /:]")


def ensure_parent_run(registry: RegistrySettings, run_id: str, name: str) -> str:
    """Return the id of the MLflow run of a pipeline run, creating it when there is none.

    Args:
        registry: Experiment and server.
        run_id: The pipeline run; kept in the tag ``thinksafe.run_id``.
        name: Name that the run gets when it is created.

    Raises:
        ConfigError: no tracking URI.
        StageError: MLflow failed.
    """
    uri = resolve_tracking_uri(registry.tracking_uri)
    client = connect(uri)
    return _parent(client, uri, ensure_experiment(client, uri, registry.experiment), run_id, name)


def write_runs(
    records: Mapping[str, StageRecord], registry: RegistrySettings, artifacts: Sequence[Path] = (), *,
    run_id: str, name: str = "", failed: bool = False,
) -> str:
    """Bring MLflow in line with the stage records of a run and return the id of the parent run.

    Args:
        records: Records by task name (:func:`thinksafe.stages.record.read_stage_records`).
        registry: Experiment and server.
        artifacts: Files to attach to the parent, such as the report.
        run_id: The pipeline run.
        name: Name of the parent, if it has to be created; the run id by default.
        failed: The pipeline failed, even if no record says so (a pod that was evicted writes none).

    Raises:
        ConfigError: no tracking URI.
        InputError: a metrics record is malformed.
        StageError: MLflow failed, or an artifact is missing.
    """
    uri = resolve_tracking_uri(registry.tracking_uri)
    client = connect(uri)
    experiment = ensure_experiment(client, uri, registry.experiment)
    parent = _parent(client, uri, experiment, run_id, name or run_id)
    with reporting(uri, "write the runs"):
        found = all_pages(client.search_runs, [experiment], f"tags.`{PARENT}` = {quoted(parent)}", max_results=1000)
        nested = {run.data.tags.get(TASK): run for run in found}
        for record in records.values():
            _write_task(client, experiment, parent, record, nested.get(record.task))
        _remove_doubles(client, experiment, parent)
        _write_parent(client, parent, records)
        for path in artifacts:
            if not path.is_file():
                raise StageError(f"There is no file {path} to attach.", "Write it before the runs.")
            with uploading(client, path.stat().st_size):
                client.log_artifact(parent, str(path))
        bad = failed or any(record.status == "failed" for record in records.values())
        end = max((_milliseconds(record.started + record.seconds) for record in records.values()), default=None)
        client.set_terminated(parent, "FAILED" if bad else "FINISHED", end)
    return parent


def _parent(client: MlflowClient, uri: str, experiment: str, run_id: str, name: str) -> str:
    with reporting(uri, "find or create the run"):
        found = client.search_runs(
            [experiment], f"tags.`{RUN_ID}` = {quoted(run_id)}", max_results=1, order_by=["start_time ASC"]
        )
        tags = {RUN_ID: run_id, "mlflow.user": actor()}
        if not found:
            created = client.create_run(experiment, tags=tags, run_name=name)
            found = client.search_runs(
                [experiment], f"tags.`{RUN_ID}` = {quoted(run_id)}", order_by=["start_time ASC"]
            )
            for run in found[1:]:  # a request that was repeated because its first answer was lost made two
                if run.info.start_time == created.info.start_time:
                    client.delete_run(run.info.run_id)
        return str(found[0].info.run_id)


def _write_task(client: MlflowClient, experiment: str, parent: str, record: StageRecord, old: Any) -> None:
    from mlflow.entities import Param

    digest, status = digest_json(record), "FINISHED" if record.status == "succeeded" else "FAILED"
    if old is not None and old.data.tags.get(RECORD) != digest:
        client.delete_run(old.info.run_id)  # of an earlier attempt; parameters cannot be changed
        old = None
    # A run gets its final status last, so one without it was cut off; logging the same again changes nothing.
    if old is not None and old.info.status == status:
        return
    start, end = _milliseconds(record.started), _milliseconds(record.started + record.seconds)
    tags = {PARENT: parent, TASK: record.task, RECORD: digest, **_task_tags(record)}
    run = old or client.create_run(experiment, start_time=start, tags=tags, run_name=record.task)
    settings = record.details.get("config", {}) if record.stage == "plan" else record.section
    values = {safe_name(key): short(value) for key, value in flattened(settings)}
    params = [Param(key, value) for key, value in values.items()]
    client.log_batch(run.info.run_id, metrics=_task_metrics(record, start), params=params)
    client.set_terminated(run.info.run_id, status, end)


def _remove_doubles(client: MlflowClient, experiment: str, parent: str) -> None:
    """Delete runs that a repeated request made: of two for one task, the one that nobody wrote to."""
    wanted = f"tags.`{PARENT}` = {quoted(parent)}"
    runs = all_pages(client.search_runs, [experiment], wanted, max_results=1000)
    written = {run.data.tags.get(TASK) for run in runs if run.info.status != "RUNNING"}
    for run in runs:
        if run.info.status == "RUNNING" and run.data.tags.get(TASK) in written:
            client.delete_run(run.info.run_id)


def _task_tags(record: StageRecord) -> dict[str, str]:
    tags = {"thinksafe.stage": record.stage, "thinksafe.verdict": record.verdict, "thinksafe.error": record.error}
    tags |= {f"thinksafe.input.{safe_name(name)}": digest for name, digest in record.inputs.items()}
    tags |= {f"thinksafe.output.{safe_name(name)}": digest for name, digest in record.outputs.items()}
    return {key: short(value) for key, value in tags.items() if value}


def _task_metrics(record: StageRecord, start: int) -> list[Any]:
    from mlflow.entities import Metric

    values: dict[str, float] = {"seconds": record.seconds, **record.counts}
    if "metrics" in record.details:
        values |= dict(metric_values(_metric_set(record)))
    found = [Metric(safe_name(key), float(value), start, 0) for key, value in values.items() if math.isfinite(value)]
    for point in record.details.get("curve", []):
        found += [
            Metric(safe_name(f"train/{key}"), float(value), start, int(point.get("step", 0)))
            for key, value in point.items()
            if key != "step" and isinstance(value, int | float) and math.isfinite(value)
        ]
    return found


def _write_parent(client: MlflowClient, parent: str, records: Mapping[str, StageRecord]) -> None:
    from mlflow.entities import Metric, RunTag

    run = client.get_run(parent)
    metrics = []
    for record in records.values():
        if "metrics" in record.details:
            found = _metric_set(record)
            metrics += [
                Metric(safe_name(f"{found.role}/{key}"), value, _milliseconds(record.started), 0)
                for key, value in metric_values(found)
                if run.data.metrics.get(safe_name(f"{found.role}/{key}")) != value
            ]
    tags = headline_tags(records)
    for key in run.data.tags.keys() & tags.keys():
        if not tags[key]:
            with missing_ok():
                client.delete_tag(parent, key)  # of an earlier attempt
    client.log_batch(
        parent, metrics=metrics, tags=[RunTag(key, short(value)) for key, value in tags.items() if value]
    )


def headline_tags(records: Mapping[str, StageRecord]) -> dict[str, str]:
    """Return the tags of the parent run: outcome and digests; empty where a stage has not run."""
    details = {task: record.details for task, record in records.items() if record.status == "succeeded"}
    verdicts = {task: record.verdict for task, record in records.items()}

    def get(task: str, *path: str) -> str:
        value: Any = details.get(task, {})
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return "" if value is None else str(value)

    decided = "gate" if "gate" in details else "diagnose"
    decision = details.get(decided, {}).get("decision")
    return {
        "thinksafe.diagnosis": verdicts.get("diagnose", ""),
        "thinksafe.decision": verdicts.get("gate", ""),
        "thinksafe.decision_digest": digest_json(decision) if decision else "",
        "thinksafe.stopped_by": get(decided, "decision", "stopped_by"),
        "thinksafe.promotion": verdicts.get("promote", ""),
        "thinksafe.generation": get("promote", "entry", "generation"),
        "thinksafe.model": get("register", "registration", "name"),
        "thinksafe.version": get("register", "registration", "version"),
        "thinksafe.config_digest": get("plan", "config_digest"),
        "thinksafe.base_digest": get("plan", "base", "base_digest"),
        "thinksafe.champion_digest": get("plan", "champion", "adapter_digest"),
        "thinksafe.data_digest": get("register", "registration", "data_digest"),
        "thinksafe.adapter_digest": get("train", "adapter_digest") or get("register", "registration", "adapter_digest"),
    }


def metric_values(metrics: MetricSet) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a metric set: each value, its interval's limits and its number of prompts."""
    for metric in metrics.numbers:
        yield metric.name, metric.value
        yield f"{metric.name}.low", metric.interval.low
        yield f"{metric.name}.high", metric.interval.high
        yield f"{metric.name}.n", float(metric.n)


def _metric_set(record: StageRecord) -> MetricSet:
    try:
        return MetricSet.model_validate(record.details["metrics"])
    except ValidationError as error:
        raise InputError(
            f"The record of {record.task!r} holds no valid metrics.", "Delete it and start the run again."
        ) from error


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

    A name that has to be changed gets a digest at its end, so that two names never become one.
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


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
