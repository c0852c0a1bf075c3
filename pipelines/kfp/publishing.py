"""Put the pipelines on a cluster: publish them, and submit a run of one.

Everything is found before it is made, so that a second call changes nothing.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thinksafe.config import load_config, load_suite
from thinksafe.config.cluster import ClusterSettings
from thinksafe.digests import digest_bytes
from thinksafe_pipelines.commands import compile_pipeline
from thinksafe_pipelines.kfp.access import connect, speaking, user_namespace
from thinksafe_pipelines.kfp.schedules import Run, owner_of, settle
from thinksafe_pipelines.kfp.versions import without_reach
from thinksafe_pipelines.kfp.wanted import Wanted, wanted

PAGE = 100


@dataclass
class Published:
    """Ids of what is on the cluster now, and what this call changed."""

    name: str = ""
    """Name of the pipeline."""
    pipeline_id: str = ""
    version_id: str = ""
    version: str = ""
    """Name of the version: the digest of the compiled pipeline. How the API was reached is not part of it."""
    experiment_id: str = ""
    recurring_run_id: str = ""
    """Empty where the schedule is off."""
    cron: str = ""
    changes: list[str] = field(default_factory=list)
    """What was made, replaced or removed, one sentence each; empty when all was there."""
    waiting: dict[str, tuple[Run, ...]] = field(default_factory=dict)
    """Recurring runs that are disabled, by id; a later call removes them, once these runs of theirs have ended."""


def publish(
    cluster: ClusterSettings, config_document: str, overrides: list[str], pipeline: str = "realign", *,
    schedule: bool = True, author: str = "",
) -> Published:
    """Bring a pipeline, its version, experiment and recurring run to what the configuration says.

    Args:
        cluster: Settings of the cluster.
        config_document: Configuration: YAML text.
        overrides: ``key=value`` texts.
        pipeline: Which pipeline.
        schedule: Leave the recurring run alone when False.
        author: Who publishes, where the author's approval does not count; part of the version.

    Raises:
        ConfigError: there is no pipeline of this name, or the access is not set up.
        StageError: the server cannot be reached, or refused.
    """
    want = wanted(cluster, pipeline)
    client, done = connect(cluster), Published(name=want.name)
    text, changed = without_reach(config_document, overrides)
    with tempfile.TemporaryDirectory() as folder, speaking(cluster):
        package = Path(folder) / "pipeline.yaml"
        compile_pipeline(pipeline, text, changed, package, cluster=cluster, author=author)
        done.version = f"sha256-{digest_bytes(package.read_bytes())[:32]}"
        done.pipeline_id = _pipeline(client, cluster, want, done)
        done.version_id = _version(client, package, done)
        done.experiment_id = _experiment(client, cluster, done)
        if schedule:
            load = load_suite if pipeline == "evaluate" else load_config
            _schedule(client, cluster, want, done, load(config_document, overrides).name)
    return done


def submit(
    cluster: ClusterSettings, config_document: str, overrides: list[str], name: str, pipeline: str = "realign",
    parameters: dict[str, Any] | None = None, *, author: str = "",
) -> tuple[Published, str]:
    """Start one run of a configuration, publishing its version first where it is not; returns the run's id.

    Args:
        cluster: Settings of the cluster.
        config_document: Configuration: YAML text.
        overrides: ``key=value`` texts.
        name: Name of the run.
        pipeline: Which pipeline.
        parameters: Parameters of the pipeline that differ from its defaults.
        author: Who submits, where the author's approval does not count.

    Raises:
        ConfigError, StageError: see :func:`publish`.
    """
    done = publish(cluster, config_document, overrides, pipeline, schedule=False, author=author)
    client = connect(cluster)
    with speaking(cluster):
        run = client.run_pipeline(
            experiment_id=done.experiment_id, job_name=name, pipeline_id=done.pipeline_id, version_id=done.version_id,
            params=dict(parameters or {}), pipeline_root=cluster.pipeline_root or None,
            service_account=cluster.service_account,
        )
    return done, str(run.run_id)


def _pipeline(client: Any, cluster: ClusterSettings, want: Wanted, done: Published) -> str:
    import kfp_server_api

    name, namespace = want.name, user_namespace(cluster)

    def find() -> Any:
        return _first(client.list_pipelines(filter=_named(name), namespace=namespace, page_size=PAGE).pipelines, name)

    def make() -> Any:
        # not upload_pipeline, which makes a first version that bears the pipeline's name
        return client._pipelines_api.pipeline_service_create_pipeline(
            kfp_server_api.V2beta1Pipeline(
                display_name=name, name=name, namespace=namespace, description=want.description,
            )
        )

    return str(_ensure(find, make, f"pipeline {name}", done).pipeline_id)


def _version(client: Any, package: Path, done: Published) -> str:
    def find() -> Any:
        found = client.list_pipeline_versions(
            pipeline_id=done.pipeline_id, filter=_named(done.version), page_size=PAGE
        ).pipeline_versions
        return _first(found, done.version)

    def make() -> Any:
        return client.upload_pipeline_version(str(package), done.version, pipeline_id=done.pipeline_id)

    return str(_ensure(find, make, f"version {done.version}", done).pipeline_version_id)


def _experiment(client: Any, cluster: ClusterSettings, done: Published) -> str:
    import kfp_server_api

    def make() -> Any:
        # not create_experiment, which takes one whose name differs in case
        return client._experiment_api.experiment_service_create_experiment(
            kfp_server_api.V2beta1Experiment(
                display_name=cluster.kfp.experiment, namespace=user_namespace(cluster)
            )
        )

    what = f"experiment {cluster.kfp.experiment}"
    return str(_ensure(lambda: _find_experiment(client, cluster), make, what, done).experiment_id)


def _find_experiment(client: Any, cluster: ClusterSettings) -> Any:
    found = client.list_experiments(
        filter=_named(cluster.kfp.experiment), namespace=user_namespace(cluster), page_size=PAGE
    ).experiments
    return _first(found, cluster.kfp.experiment)


def _schedule(client: Any, cluster: ClusterSettings, want: Wanted, done: Published, config: str) -> None:
    settings: dict[str, Any] = {
        "cron_expression": want.cron, "max_concurrency": 1, "no_catchup": True,
        "pipeline_id": done.pipeline_id, "version_id": done.version_id, "params": dict(want.parameters),
        "pipeline_root": cluster.pipeline_root or None, "service_account": cluster.service_account,
    }
    settled = settle(client, cluster, want, settings, done.experiment_id, owner_of(cluster, config))
    replaced = settled.made and (settled.removed or settled.waiting)
    if settled.made:
        done.changes.append(f"{'replaced' if replaced else 'made'} recurring run at {want.cron!r}")
    done.changes += [f"removed recurring run {item}" for item in settled.removed]
    done.cron = want.cron if want.enabled else ""
    done.recurring_run_id, done.waiting = settled.recurring_run_id, settled.waiting


def _ensure(find: Callable[[], Any], make: Callable[[], Any], what: str, done: Published) -> Any:
    """Return what ``find`` finds, else what ``make`` makes; another that made it first wins."""
    from kfp_server_api import ApiException

    if (found := find()) is not None:
        return found
    try:
        made = make()
    except ApiException as error:
        if error.status == 409 and (found := find()) is not None:
            return found
        raise
    done.changes.append(f"made {what}")
    return made


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _first(found: list[Any] | None, name: str) -> Any:
    # the server compares without case
    return next((item for item in found or [] if item.display_name == name), None)
