"""MLflow runs of a comparison: one parent run, one nested run for each method.

The parent has the metrics of the base, the configuration and the files. A method's run has what the parent of its own
realignment would have: its metrics, drift, configuration and decision; and what the method cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from thinksafe.config.model import RegistrySettings
from thinksafe.digests import digest_json
from thinksafe.registry.mlflow_client import (
    all_pages,
    connect,
    ensure_experiment,
    quoted,
    reporting,
    resolve_tracking_uri,
)
from thinksafe.registry.tracking import (
    PARENT,
    RECORD,
    TASK,
    end_parent,
    milliseconds,
    parent_run,
    remove_doubles,
    write_parent,
)
from thinksafe.registry.tracking_names import safe_name, short

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from thinksafe.run.record import StageRecord


class ComparedRun(NamedTuple):
    """One method."""

    name: str
    records: Mapping[str, StageRecord]
    """Its records as those of a realignment, without what all methods share but with its plan."""
    metrics: Mapping[str, float]
    """What it cost."""
    tags: Mapping[str, str]
    failed: bool


class ComparedRuns(NamedTuple):
    """A comparison."""

    run_id: str
    name: str
    records: Mapping[str, StageRecord]
    """What all methods share."""
    methods: Sequence[ComparedRun]
    tags: Mapping[str, str]
    failed: bool


def write_comparison(
    runs: ComparedRuns, registry: RegistrySettings, artifacts: Sequence[Path], plots: Sequence[Path]
) -> str:
    """Bring MLflow in line with a comparison and return the id of the parent run.

    Args:
        runs: The comparison.
        registry: Experiment and server.
        artifacts: Files to attach to the parent.
        plots: Pictures to attach in the folder ``plots``.

    Raises:
        ConfigError: no tracking URI.
        StageError: MLflow failed.
    """
    uri = resolve_tracking_uri(registry.tracking_uri)
    client = connect(uri)
    experiment = ensure_experiment(client, uri, registry.experiment)
    parent = parent_run(client, uri, experiment, runs.run_id, runs.name)
    with reporting(uri, "write the runs"):
        found = all_pages(client.search_runs, [experiment], f"tags.`{PARENT}` = {quoted(parent)}", max_results=1000)
        nested = {run.data.tags.get(TASK): run for run in found}
        for method in runs.methods:
            _write_method(client, experiment, parent, method, nested.get(method.name))
        remove_doubles(client, experiment, parent)
        write_parent(client, parent, runs.records)
        _tag(client, parent, runs.tags)
        end_parent(client, parent, runs.records, artifacts, plots, failed=runs.failed)
    return parent


def _write_method(client: MlflowClient, experiment: str, parent: str, method: ComparedRun, old: Any) -> None:
    from mlflow.entities import Metric

    digest = digest_json([[digest_json(record) for record in method.records.values()], dict(method.tags)])
    status = "FAILED" if method.failed else "FINISHED"
    if old is not None and old.data.tags.get(RECORD) != digest:
        client.delete_run(old.info.run_id)  # of an earlier attempt; parameters cannot be changed
        old = None
    # a run gets its final status last, so one without it was interrupted; writing the same again changes nothing
    if old is not None and old.info.status == status:
        return
    start = milliseconds(min((record.started for record in method.records.values()), default=0.0))
    end = max((milliseconds(record.started + record.seconds) for record in method.records.values()), default=start)
    tags = {PARENT: parent, TASK: method.name, RECORD: digest}
    run = old or client.create_run(experiment, start_time=start, tags=tags, run_name=method.name)
    write_parent(client, run.info.run_id, method.records)
    _tag(client, run.info.run_id, method.tags)
    metrics = [Metric(safe_name(key), float(value), start, 0) for key, value in method.metrics.items()]
    client.log_batch(run.info.run_id, metrics=metrics)
    client.set_terminated(run.info.run_id, status, end)


def _tag(client: MlflowClient, run: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run, tags=[RunTag(key, short(value)) for key, value in tags.items() if value])
