"""MLflow runs from stage records: one parent run for a pipeline run, one nested run for each task.

Everything is derived from the records, and nothing is logged twice: a task whose record was logged is skipped, an
interrupted one is completed, and one whose record changed (a retry) is replaced. No prompt or response text is logged.

The names of tags and metrics are in :mod:`thinksafe.registry.tracking_names` and docs/report.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinksafe.config.model import RegistrySettings
from thinksafe.digests import digest_json
from thinksafe.errors import InputError, StageError
from thinksafe.records import MetricSet
from thinksafe.registry.ledger import actor
from thinksafe.registry.mlflow_client import (
    all_pages,
    connect,
    ensure_experiment,
    missing_ok,
    quoted,
    reporting,
    resolve_tracking_uri,
    uploading,
)
from thinksafe.registry.tracking_names import (
    dataset_inputs,
    drift_values,
    flattened,
    headline_tags,
    metric_values,
    pilot_values,
    safe_name,
    short,
)
from thinksafe.run.details import MetricsDetails, PlanDetails
from thinksafe.training.details import TrainDetails

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from thinksafe.run.record import StageRecord

RUN_ID, TASK, RECORD = "thinksafe.run_id", "thinksafe.task", "thinksafe.record"
PARENT = "mlflow.parentRunId"


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
    return parent_run(client, uri, ensure_experiment(client, uri, registry.experiment), run_id, name)


def write_runs(
    records: Mapping[str, StageRecord], registry: RegistrySettings, artifacts: Sequence[Path] = (), *,
    run_id: str, name: str = "", failed: bool = False, plots: Sequence[Path] = (),
) -> str:
    """Bring MLflow in line with the stage records of a run and return the id of the parent run.

    Args:
        records: Records by task name (:func:`thinksafe.run.record.list_records`).
        registry: Experiment and server.
        artifacts: Files to attach to the parent, such as the report.
        run_id: The pipeline run.
        name: Name of the parent, if it must be created; the run id by default.
        plots: Pictures to attach in the folder ``plots``.
        failed: The pipeline failed, even if no record says so (a pod that was evicted writes none).

    Raises:
        ConfigError: no tracking URI.
        InputError: a metrics record is malformed.
        StageError: MLflow failed, or an artifact is missing.
    """
    uri = resolve_tracking_uri(registry.tracking_uri)
    client = connect(uri)
    experiment = ensure_experiment(client, uri, registry.experiment)
    parent = parent_run(client, uri, experiment, run_id, name or run_id)
    with reporting(uri, "write the runs"):
        found = all_pages(client.search_runs, [experiment], f"tags.`{PARENT}` = {quoted(parent)}", max_results=1000)
        nested = {run.data.tags.get(TASK): run for run in found}
        for record in records.values():
            _write_task(client, experiment, parent, record, nested.get(record.task))
        remove_doubles(client, experiment, parent)
        write_parent(client, parent, records)
        bad = failed or any(record.status == "failed" for record in records.values())
        end_parent(client, parent, records, artifacts, plots, failed=bad)
    return parent


def end_parent(
    client: MlflowClient, parent: str, records: Mapping[str, StageRecord], artifacts: Sequence[Path],
    plots: Sequence[Path], *, failed: bool,
) -> None:
    """Attach files and plots to a parent run, and end it with the last of its records. Raises StageError."""
    for path, folder in [*((path, None) for path in artifacts), *((path, "plots") for path in plots)]:
        if not path.is_file():
            raise StageError(f"There is no file {path} to attach.", "Write it before the runs.")
        with uploading(client, path.stat().st_size):
            client.log_artifact(parent, str(path), folder)
    end = max((milliseconds(record.started + record.seconds) for record in records.values()), default=None)
    client.set_terminated(parent, "FAILED" if failed else "FINISHED", end)


def parent_run(client: MlflowClient, uri: str, experiment: str, run_id: str, name: str) -> str:
    """Return the id of the MLflow run of a pipeline run, creating it when there is none. Raises StageError."""
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
    # A run gets its final status last, so one without it was interrupted; logging the same again changes nothing.
    if old is not None and old.info.status == status:
        return
    start, end = milliseconds(record.started), milliseconds(record.started + record.seconds)
    tags = {PARENT: parent, TASK: record.task, RECORD: digest, **_task_tags(record)}
    run = old or client.create_run(experiment, start_time=start, tags=tags, run_name=record.task)
    settings = record.read(PlanDetails).config if record.stage == "plan" else record.section
    values = {safe_name(key): short(value) for key, value in flattened(settings)}
    params = [Param(key, value) for key, value in values.items()]
    client.log_batch(run.info.run_id, metrics=_task_metrics(record, start), params=params)
    client.set_terminated(run.info.run_id, status, end)


def remove_doubles(client: MlflowClient, experiment: str, parent: str) -> None:
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
    if record.gpus:
        values["gpus"] = record.gpus
    if found_set := _metric_set(record):
        values |= dict(metric_values(found_set))
    found = [Metric(safe_name(key), float(value), start, 0) for key, value in values.items() if math.isfinite(value)]
    for point in record.read(TrainDetails).curve:
        found += [
            Metric(safe_name(f"train/{key}"), float(value), start, int(point.step))
            for key, value in point.model_dump().items()
            if key != "step" and isinstance(value, int | float) and math.isfinite(value)
        ]
    return found


def write_parent(client: MlflowClient, parent: str, records: Mapping[str, StageRecord]) -> None:
    """Write metrics, parameters, tags and data sets of the records of a run, or of a compared method, to its run."""
    from mlflow.entities import Metric, Param, RunTag

    run = client.get_run(parent)
    metrics = []
    for record in records.values():
        values = dict(drift_values(record)) | dict(pilot_values(record))
        if found := _metric_set(record):
            values |= {f"{found.role}/{key}": value for key, value in metric_values(found)}
        metrics += [
            Metric(safe_name(key), value, milliseconds(record.started), 0)
            for key, value in values.items()
            if run.data.metrics.get(safe_name(key)) != value
        ]
    config = records["plan"].read(PlanDetails).config if "plan" in records else {}
    params = {safe_name(key): short(value) for key, value in flattened(config)}
    tags = headline_tags(records)
    for key in run.data.tags.keys() & tags.keys():
        if not tags[key]:
            with missing_ok():
                client.delete_tag(parent, key)  # of an earlier attempt
    client.log_batch(
        parent, metrics=metrics, tags=[RunTag(key, short(value)) for key, value in tags.items() if value],
        # one that is there stays: MLflow takes no other value for it
        params=[Param(key, value) for key, value in params.items() if key not in run.data.params],
    )
    if inputs := dataset_inputs(records):
        client.log_inputs(parent, inputs)


def _metric_set(record: StageRecord) -> MetricSet | None:
    """Return the metrics of a stage that records some. Raises InputError where they cannot be read."""
    problems: list[str] = []
    found = record.read(MetricsDetails, problems).metrics
    if problems:
        raise InputError(f"The record of {problems[0]}.", "Delete it and start the run again.")
    return found


def milliseconds(seconds: float) -> int:
    """Return a Unix time as MLflow takes it."""
    return round(seconds * 1000)
