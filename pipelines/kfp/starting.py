"""End runs whose pods do not start: a Secret or an image is missing, or no node can take the pod.

Kubernetes and Argo let a pod wait for ever, and Kubeflow shows its run as RUNNING meanwhile. Nothing inside the run can
notice, so this is done from outside: by the chart's CronJob, and by ``thinksafe submit --wait``.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.kubernetes import seconds
from thinksafe.config.pods import NAME_LABELS, STAGE_LABEL
from thinksafe.config.stage_table import STAGES
from thinksafe.doctor.services import as_pods_see_it
from thinksafe.errors import ConfigError, StageError, ThinkSafeError
from thinksafe.kube.client import Object
from thinksafe.kube.client import connect as connect_kubernetes
from thinksafe.kube.pods import unstarted
from thinksafe.kube.refusals import ForbiddenError
from thinksafe.run.record import START, StageRecord, write_stage_record
from thinksafe.store import open_store
from thinksafe.webhook import post
from thinksafe_pipelines.commands import PIPELINES
from thinksafe_pipelines.kfp.access import connect, speaking
from thinksafe_pipelines.kfp.schedules import ENDED
from thinksafe_pipelines.kfp.wanted import name_of

RUN_LABEL = "pipeline/runid"
"""Label with the run's id that Kubeflow Pipelines gives all pods of a run."""
ENDING = (*ENDED, "CANCELING")
LOOK_S, PODS_EVERY_S = 15.0, 60.0
"""Seconds between two looks at a run, and at its pods."""
PATIENCE_S = 600.0
"""How long a server that does not answer is asked again while a run goes on."""


@dataclass(frozen=True)
class Stuck:
    """A run that was ended, since a pod of it did not start."""

    run_id: str
    """Kubeflow's id."""
    stage: str
    error: StageError
    """Why the pod did not start."""
    untold: str = ""
    """Why the reason could not be put into the store, for the report; empty if it was."""
    webhook: str = ""
    """Why the webhook was not told; empty if it was, or if there is none."""

    def __str__(self) -> str:
        told = f" The report will not say so: {self.untold}" if self.untold else ""
        told += f" The webhook was not told: {self.webhook}." if self.webhook else ""
        return f"ended run {self.run_id}, stage {self.stage}: {self.error}{told}"


def end_stuck(cluster: ClusterSettings, only: str = "", webhook: str = "") -> list[Stuck]:
    """End the runs of the published pipelines that wait for a pod for longer than ``start_within`` of its stage.

    A stage record says why, so that the run's report shows it. The exit task is not waited for: its own deadline ends
    it. The webhook is called after the run was told to end.

    Args:
        cluster: Settings of the cluster.
        only: The only run to look at; empty for all.
        webhook: Environment variable with the address that is told of each run ended (``alarm.webhook_env``). Its value
            comes from here, or from the Secret that ``cluster.secrets`` names for it. Empty for none.

    Raises:
        ConfigError: there is no access to Kubernetes or to Kubeflow Pipelines.
        StageError: one of them does not answer, or refused.
    """
    api = connect_kubernetes(cluster.namespace, section="cluster")
    waiting = _waiting(cluster, api.find("Pod", NAME_LABELS), only)
    if not waiting:
        return []
    client = connect(cluster)
    found = []
    for run_id, (stage, error) in waiting.items():
        with speaking(cluster):
            run = _run(client, run_id)
            if run is None or str(run.state) in ENDING or not _ours(client, cluster, run):
                continue
        given = (run.runtime_config.parameters if run.runtime_config else None) or {}
        own_id, root = given.get("run_id") or run_id, given.get("artifacts") or cluster.store
        with as_pods_see_it(cluster, api, webhook):
            untold = _record(root, own_id, stage, error)
            with speaking(cluster):
                client.terminate_run(run_id)
            answer = post(webhook, _message(root, own_id, run_id, stage, error))
        found.append(Stuck(run_id, stage, error, untold, answer.words if answer.failed else ""))
    return found


def follow(cluster: ClusterSettings, run_id: str, webhook: str = "") -> Iterator[str]:
    """Yield what becomes of a run, one line each, until it has ended; end it if a pod of it does not start.

    Args:
        cluster: Settings of the cluster.
        run_id: Kubeflow's id.
        webhook: See :func:`end_stuck`.

    Raises:
        ConfigError: see :func:`end_stuck`.
        StageError: the run did not succeed, or Kubeflow Pipelines did not answer for long.
    """
    client, state, blind = connect(cluster), "", False
    answered = time.monotonic()
    looked = answered
    while state not in ENDED:
        time.sleep(LOOK_S if state else 0)
        before = state
        try:
            with speaking(cluster):
                state = str(client.get_run(run_id).state)
            answered = time.monotonic()
        except StageError:
            if time.monotonic() - answered > PATIENCE_S:
                raise
            continue
        if state != before:
            yield f"run {run_id}: {state}"
        if state not in ENDING and not blind and time.monotonic() - looked >= PODS_EVERY_S:
            looked = time.monotonic()
            try:
                yield from map(str, end_stuck(cluster, run_id, webhook))
            except ThinkSafeError as error:
                blind = isinstance(error, ConfigError | ForbiddenError)
                yield f"its pods were not looked at: {error.problem}"
    if state != "SUCCEEDED":
        raise StageError(
            f"The run {run_id} ended {state}.",
            f"Read its report, {cluster.store.rstrip('/')}/reports/{run_id}/report.html, or its page in Kubeflow.",
        )


def _waiting(cluster: ClusterSettings, pods: list[Object], only: str) -> dict[str, tuple[str, StageError]]:
    """Return stage and reason of the first pod of each run that has waited too long."""
    found: dict[str, tuple[str, StageError]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        run_id, stage = labels.get(RUN_LABEL, ""), labels.get(STAGE_LABEL, "")
        if not run_id or run_id in found or only not in ("", run_id):
            continue
        if stage not in STAGES or STAGES[stage].runs_after_failure:
            continue
        within = cluster.stage(stage).start_within
        if within and (error := unstarted(pod, stage, seconds(within))):
            found[run_id] = (stage, error)
    return found


def _run(client: Any, run_id: str) -> Any:
    from kfp_server_api import ApiException

    try:
        return client.get_run(run_id)
    except ApiException as error:
        if error.status == 404:  # deleted; its pods are going
            return None
        raise


def _ours(client: Any, cluster: ClusterSettings, run: Any) -> bool:
    """Return whether a run is of a pipeline that this config publishes; those of other releases are left alone."""
    reference = run.pipeline_version_reference
    if reference is None or not reference.pipeline_id:
        return False
    name = client.get_pipeline(reference.pipeline_id).display_name
    return name in {name_of(cluster.kfp, pipeline) for pipeline in PIPELINES}


def _record(root: str, run_id: str, stage: str, error: StageError) -> str:
    """Write why a run was ended where its report finds it; return why that failed, or an empty string."""
    record = StageRecord(
        run_id=run_id, stage=stage, task=START, status="failed", started=time.time(), seconds=0.0, error=error.problem,
        action=error.action,
    )
    try:
        write_stage_record(open_store(root), record)
    except ThinkSafeError as refused:
        return refused.problem
    return ""


def _message(root: str, own_id: str, kubeflow_id: str, stage: str, error: StageError) -> dict[str, str]:
    return {
        "event": "thinksafe.run_ended", "run_id": own_id, "kubeflow_run_id": kubeflow_id, "stage": stage,
        "summary": f"{error.problem} {error.action}".strip(),
        "report": f"{root.rstrip('/')}/reports/{own_id}/report.html",
    }
