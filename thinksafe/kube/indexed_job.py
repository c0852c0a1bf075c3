"""An Indexed Job (``batch/v1``): as many pods as a stage is wide, each of which takes work that nobody has.

The manifest is a pure function of the ``cluster`` section; :func:`run_indexed_job` starts the Job and waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.kubernetes import seconds
from thinksafe.errors import EXIT_BAD_INPUT, ThinkSafeError
from thinksafe.kube.client import KubernetesClient, Object
from thinksafe.kube.jobs import KEPT_H, LOOK_SECONDS, Launcher, job_client
from thinksafe.kube.pod_template import job_metadata, pod_metadata, pod_spec, resources, variables
from thinksafe.kube.pods import PodKind

KIND, CONTAINER = "Job", "main"
WORK = "thinksafe/work"
"""Annotation: key of the work that the Job does."""
JOB_LABEL = "batch.kubernetes.io/job-name"
ELASTIC = {
    "kueue.x-k8s.io/job-min-parallelism": "1", "kueue.x-k8s.io/job-completions-equal-parallelism": "true",
}
"""Annotations that let Kueue start the Job with fewer pods than it asks for, and lower both numbers together."""


def job_name(stage: str, key: str) -> str:
    """Return the name of a Job; names of its pods follow from it and stay below 63 characters."""
    return f"thinksafe-{stage}-{key[:24]}"


def indexed_job(cluster: ClusterSettings, stage: str, key: str, address: str, width: int) -> Object:
    """Return the manifest.

    A pod with the exit code of a wrong configuration or input fails the whole Job, as all others would fail alike. A
    pod that the cluster takes away is replaced for free. Any other end of a pod is a failure of its index alone, of
    which each may have as many as the stage has retries; the Job goes on while one index is left.

    Args:
        cluster: The settings.
        stage: Name of the stage; image, resources and placement are those of its settings.
        key: Key of the work.
        address: Address of the work, the argument of ``thinksafe work``.
        width: Number of pods.
    """
    settings = cluster.stage(stage)
    container: Object = {
        "name": CONTAINER, "image": cluster.image(stage), "imagePullPolicy": cluster.image_pull_policy,
        "command": ["thinksafe", "work"], "args": [address], "env": variables(cluster, stage),
        "resources": resources(settings),
    }
    classes = {"priorityClassName": settings.priority_class, "runtimeClassName": settings.runtime_class}
    pod = {
        **pod_spec(cluster, stage, container), "restartPolicy": "Never",
        **{name: value for name, value in classes.items() if value},
    }
    spec: Object = {
        "completionMode": "Indexed", "completions": width, "parallelism": width,
        # no maxFailedIndexes: Kueue may lower completions below it, which the API server refuses
        "backoffLimitPerIndex": settings.retries.count if settings.retries else 0,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_BAD_INPUT]},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "ttlSecondsAfterFinished": KEPT_H * 3600,
        "template": {"metadata": pod_metadata(cluster, stage), "spec": pod},
    }
    if settings.deadline is not None:
        spec["activeDeadlineSeconds"] = seconds(settings.deadline)
    annotations = {WORK: key, **(ELASTIC if cluster.jobs.queue else {})}
    return {
        "apiVersion": "batch/v1", "kind": KIND,
        "metadata": job_metadata(cluster, stage, job_name(stage, key), annotations), "spec": spec,
    }


class IndexedJobLauncher(Launcher):
    """One Indexed Job.

    Args:
        api: The namespace of the pods.
        cluster: The section that the pipeline was compiled with.
        stage: Name of the stage.
        key: Key of the work.
        address: Address of the work.
        width: Number of pods.
        done: Says whether all results are in the store.
        told: Returns the error that a pod reported through the store, if one did.
        look_seconds: Longest time between two looks at the pods.
    """

    def __init__(
        self, api: KubernetesClient, cluster: ClusterSettings, stage: str, key: str, address: str, width: int,
        done: Callable[[], bool], told: Callable[[], ThinkSafeError | None], look_seconds: float = LOOK_SECONDS,
    ) -> None:
        super().__init__(
            api, KIND, job_name(stage, key), (WORK, key), PodKind(stage, CONTAINER, JOB_LABEL, elastic=True),
            cluster.stage(stage).start_within or "", look_seconds=look_seconds,
        )
        self._stage, self._in_store, self._reported = stage, done, told
        self._made = indexed_job(cluster, stage, key, address, width)

    def _manifest(self) -> Object:
        return self._made

    def _done(self) -> bool:
        return self._in_store()

    def _told(self) -> ThinkSafeError | None:
        return self._reported()

    def _action(self, reason: str) -> str:
        return f"Raise cluster.stages.{self._stage}.deadline." if reason == "DeadlineExceeded" else ""


def run_indexed_job(
    cluster: ClusterSettings, stage: str, key: str, address: str, width: int,
    *, done: Callable[[], bool], told: Callable[[], ThinkSafeError | None],
) -> None:
    """Have the pods of an Indexed Job do a stage's work, and wait until its results are in the store.

    A Job that works on the same key already is taken up. It is deleted at the end, on success and when this process is
    told to stop; one that failed is kept for 24 hours.

    Args:
        cluster: The section that the pipeline was compiled with.
        stage: Name of the stage.
        key: Key of the work; equal keys mean the same results.
        address: Address of the work, the argument of ``thinksafe work``.
        width: Number of pods, 1 or more.
        done: Says whether all results are in the store.
        told: Returns the error that a pod reported through the store, if one did; asked when the Job has failed.

    Raises:
        ThinkSafeError: what ``told`` returns; otherwise a StageError with the last lines of the failed pods, or with
            the reason why they did not run.
    """
    IndexedJobLauncher(job_client(cluster), cluster, stage, key, address, width, done, told).run()
