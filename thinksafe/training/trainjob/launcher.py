"""Start the TrainJob of an adapter, or resume waiting for an existing one, until the adapter is in the store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.shape import shape_of
from thinksafe.errors import MissingError, StageError, ThinkSafeError
from thinksafe.kube.client import KubernetesClient, Object
from thinksafe.kube.jobs import KEPT_H, LOOK_SECONDS, Launcher, state_of
from thinksafe.kube.pod_template import job_labels
from thinksafe.kube.pods import PodKind
from thinksafe.run.told import ToldError
from thinksafe.store import Store
from thinksafe.training.launch import Outcome
from thinksafe.training.node import OUTCOME, NodeJob, folder_of, write_job
from thinksafe.training.trainjob.manifest import ADAPTER, NODE, job_name, train_job

KIND = "TrainJob"
PODS = PodKind(
    "train", NODE, "jobset.sigs.k8s.io/jobset-name",  # Trainer creates a JobSet with the TrainJob's name
    lighter="training.micro_batch_size or training.max_length",
)


class TrainJobLauncher(Launcher):
    """One training on several nodes.

    Args:
        store: The run's store.
        cluster: The section that the pipeline was compiled with.
        api: The namespace of the pods.
        job: The training.
        examples: JSON Lines of Example.
        done: Says whether the adapter is in the store.
        look_seconds: Longest time between two looks at the pods.
    """

    resumed: int = 0
    """Steps that a checkpoint already had, once the training is done."""

    def __init__(
        self, store: Store, cluster: ClusterSettings, api: KubernetesClient, job: NodeJob, examples: Path,
        done: Callable[[], bool], look_seconds: float = LOOK_SECONDS,
    ) -> None:
        super().__init__(
            api, KIND, job_name(job.key), (ADAPTER, job.key), PODS, cluster.stage("train").start_within or "",
            (cluster.train_job.deadline, "cluster.train_job.deadline"), look_seconds,
        )
        self._store, self._cluster, self._job, self._examples = store, cluster, job, examples
        self._folder, self._in_store = folder_of(job.key), done

    def _start(self) -> None:
        self._sweep()
        super()._start()

    def _manifest(self) -> Object:
        for key in self._error_keys():  # of an earlier attempt
            self._store.delete(key)
        address = write_job(self._store, self._job, self._examples)
        return train_job(self._cluster, self._job.key, address, shape_of(self._job.section.training))

    def _refused(self, error: StageError) -> StageError:
        if "trainingruntime" not in error.problem.lower():
            return error
        runtime = self._cluster.train_job.runtime
        return StageError(
            f"The {runtime.kind} {runtime.name!r} cannot be used. {error.problem}",
            "Install the runtimes of Kubeflow Trainer, or name another one in cluster.train_job.runtime.",
        )

    def _action(self, reason: str) -> str:
        if reason == "TrainingRuntimeNotSupported":
            return "Name a runtime with Kubeflow Trainer's torch policy in cluster.train_job.runtime."
        return ""

    def _done(self) -> bool:
        return self._in_store()

    def _told(self) -> ThinkSafeError | None:
        """Return the error of the training itself that a node reported."""
        for key in self._error_keys():
            with suppress(ValidationError, MissingError):
                told = ToldError.model_validate_json(self._store.get(key))
                if told.final:
                    return told.error()
        return None

    def _succeeded(self) -> None:
        with suppress(ThinkSafeError, ValidationError):
            outcome = Outcome.model_validate_json(self._store.get(f"{self._folder}/{OUTCOME}"))
            self.resumed = outcome.resumed

    def _clear(self) -> None:
        """Delete the job's folder: it holds the text of the examples, which an attempt writes anew."""
        with suppress(ThinkSafeError):
            for key in self._store.keys(f"{self._folder}/"):
                self._store.delete(key)

    def _error_keys(self) -> list[str]:
        return self._store.keys(f"{self._folder}/error-")

    def _sweep(self) -> None:
        """Delete jobs that failed long ago, which Trainer does not; errors in this are ignored."""
        with suppress(StageError, ValueError):
            for found in self._api.find(KIND, job_labels("train")):
                state, name = state_of(found), found["metadata"]["name"]
                if state.name != "failed" or name == self.name or not state.since:
                    continue
                age = datetime.now(UTC) - datetime.fromisoformat(state.since)
                if age > timedelta(hours=KEPT_H):
                    self._api.delete(KIND, name)
