"""Start the TrainJob of an adapter, or resume waiting for an existing one, until the adapter is in the store.

The job's name derives from the adapter's key, so that a stage that was killed and started again finds it. The training
is done when the adapter is in the store, whatever the job says. A stage that is stopped or out of time deletes the job.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.kubernetes import seconds
from thinksafe.config.shape import shape_of
from thinksafe.errors import MissingError, StageError, ThinkSafeError
from thinksafe.kube.client import DroppedError, GoneError, KubernetesClient, Object
from thinksafe.store import Store
from thinksafe.text import clean
from thinksafe.training.launch import Outcome
from thinksafe.training.node import OUTCOME, NodeError, NodeJob, folder_of, write_job
from thinksafe.training.trainjob import pods
from thinksafe.training.trainjob.manifest import ADAPTER, OURS, job_name, train_job

KIND = "TrainJob"
KEPT_H = 24
"""Hours for which a failed job is kept for inspection. A completed job is deleted at once."""
LOOK_SECONDS = 15.0
"""Longest time between two looks at the pods."""
PAUSE_SECONDS = 1.0
GONE_SECONDS = 300.0
"""Longest wait for a deleted job to be gone."""
RETRY_SECONDS = 600.0
"""How long an API that does not answer is asked again; the training continues meanwhile."""


class JobState(NamedTuple):
    """How far a TrainJob is."""

    name: str
    """``running``, ``complete``, ``failed`` or ``gone``."""
    reason: str = ""
    message: str = ""
    since: str = ""


def state_of(found: Object | None) -> JobState:
    """Return the state in a TrainJob's conditions."""
    if found is None or found.get("deleted"):
        return JobState("gone")
    for one in (found.get("status") or {}).get("conditions") or []:
        if one.get("type") in ("Complete", "Failed") and one.get("status") == "True":
            return JobState(
                one["type"].lower(), one.get("reason") or "", one.get("message") or "",
                one.get("lastTransitionTime") or "",
            )
    return JobState("running")


class Launcher:
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

    def __init__(
        self, store: Store, cluster: ClusterSettings, api: KubernetesClient, job: NodeJob, examples: Path,
        done: Callable[[], bool], look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._store, self._cluster, self._api, self._job, self._examples = store, cluster, api, job, examples
        self._done, self._look_seconds = done, look_seconds
        self.name, self._folder = job_name(job.key), folder_of(job.key)
        self._waiting = pods.Waiting(seconds(cluster.train_job.pending))
        self._seen: list[pods.End] = []
        self._said = ""

    def run(self) -> int:
        """Train, and return the number of steps that a checkpoint already had.

        Raises:
            ThinkSafeError: the error that a node reported; otherwise a StageError with the last lines of the failed
                pods, or with the reason why they did not run.
        """
        with _stoppable():
            try:
                self._sweep()
                self._start()
                self._wait()
            except (SystemExit, KeyboardInterrupt):
                self._delete()
                raise
        resumed = self._resumed()
        self._delete()
        return resumed

    def _start(self) -> None:
        """Create the job, unless there is one to wait for."""
        end = time.monotonic() + GONE_SECONDS
        while True:
            found, _ = self._api.look(KIND, self.name)
            if found is None:
                if self._create():
                    return self._say("started")
                continue  # somebody was faster
            metadata, state = found["metadata"], state_of(found)
            if (metadata.get("annotations") or {}).get(ADAPTER) != self._job.key:
                raise StageError(
                    f"There is another TrainJob {self.name!r} in the namespace {self._api.namespace!r}, which belongs "
                    "to another training.",
                    f"Delete it: kubectl -n {self._api.namespace} delete trainjob {self.name}",
                )
            if metadata.get("deletionTimestamp"):
                if time.monotonic() > end:
                    raise StageError(
                        f"The TrainJob {self.name!r} is being deleted, but is still there.",
                        "Check what its finalizers wait for.",
                    )
                time.sleep(PAUSE_SECONDS)
            elif state.name == "running" or (state.name == "complete" and self._done()):
                return self._say("already exists; waiting for it")
            else:
                self._api.delete(KIND, self.name)
                time.sleep(min(PAUSE_SECONDS, 0.2))

    def _create(self) -> bool:
        shape = shape_of(self._job.section.training)
        for key in self._error_keys():  # of an earlier attempt
            self._store.delete(key)
        address = write_job(self._store, self._job, self._examples)
        manifest = train_job(self._cluster, self._job.key, address, shape)
        try:
            return self._api.create(manifest)
        except StageError as error:
            runtime = self._cluster.train_job.runtime
            if "trainingruntime" in error.problem.lower():
                raise StageError(
                    f"The {runtime.kind} {runtime.name!r} cannot be used. {error.problem}",
                    "Install the runtimes of Kubeflow Trainer, or name another one in cluster.train_job.runtime.",
                ) from error
            raise

    def _wait(self) -> None:
        """Watch the job until it is complete. Raises ThinkSafeError."""
        limit, version = seconds(self._cluster.train_job.deadline), ""
        end = time.monotonic() + limit
        while True:
            left = end - time.monotonic()
            if left <= 0:
                self._look()
                self._delete()
                raise self._failed(f"is not complete after {limit} s", "Raise cluster.train_job.deadline.")
            began = time.monotonic()
            try:
                if version:
                    changes = self._api.watch(KIND, self.name, version, min(left, self._look_seconds))
                else:
                    found, version = self._api.look(KIND, self.name)
                    changes = iter([found or {"deleted": True}])
                for change in changes:
                    version = change.get("bookmark") or change.get("metadata", {}).get("resourceVersion", version)
                    if "bookmark" not in change and self._ended(state_of(change)):
                        return
            except GoneError:
                version = ""
            except DroppedError:
                pass
            self._look()
            # a watch may end at once
            time.sleep(min(max(0.0, began + PAUSE_SECONDS - time.monotonic()), max(0.0, end - time.monotonic())))

    def _ended(self, state: JobState) -> bool:
        """Return whether the adapter is there. Raises what ended the job without it."""
        if state.name == "running":
            return False
        if self._done():
            return True
        if state.name == "complete":
            raise StageError(
                f"The TrainJob {self.name!r} is complete, but its adapter is not in the store {self._store.root}.",
                "Check that its pods can reach this store, and start the same stage again.",
            )
        if state.name == "gone":
            raise StageError(
                f"Somebody else deleted the TrainJob {self.name!r}.",
                "Start the same stage again; it resumes from the last checkpoint.",
            )
        if error := self._told():
            self._delete()
            raise error
        with suppress(StageError):
            self._remember(pods.pods_of(self._api, self.name))
        self._clear()
        said = clean(": ".join(part for part in (state.reason, state.message) if part), 300)
        action = f"The job is kept for {KEPT_H} h: inspect it and its pods."
        if state.reason == "TrainingRuntimeNotSupported":
            action = "Name a runtime with Kubeflow Trainer's torch policy in cluster.train_job.runtime."
        raise self._failed(f"failed ({said or 'no reason given'})", action)

    def _look(self) -> None:
        """Look at the pods: remember how some ended, give up where they will not run. Raises ThinkSafeError."""
        if error := self._told():
            self._delete()
            raise error
        try:
            found = pods.pods_of(self._api, self.name)
        except StageError as refused:
            return self._say(f"cannot read its pods: {refused.problem}")
        self._say(pods.phases(found))
        self._remember(found)
        if trouble := self._waiting.trouble(found):
            self._delete()
            raise trouble
        return None

    def _remember(self, found: list[Object]) -> None:
        """Keep how pods ended: one that is started anew takes its log with it."""
        if ended := pods.ends(self._api, found, self._seen):
            self._seen = ended

    def _told(self) -> ThinkSafeError | None:
        """Return the error of the training itself that a node reported."""
        for key in self._error_keys():
            with suppress(ValidationError, MissingError):
                error = NodeError.model_validate_json(self._store.get(key))
                if error.final:
                    return error.error()
        return None

    def _failed(self, what: str, action: str) -> StageError:
        words, better = pods.told(self._seen)
        tail = f" The last lines of its pods:\n  {words}\n" if words else ""
        return StageError(f"The TrainJob {self.name!r} {what}.{tail}", better or action)

    def _error_keys(self) -> list[str]:
        return self._store.keys(f"{self._folder}/error-")

    def _resumed(self) -> int:
        try:
            return Outcome.model_validate_json(self._store.get(f"{self._folder}/{OUTCOME}")).resumed
        except (ThinkSafeError, ValidationError):
            return 0

    def _delete(self) -> None:
        """Delete the job, and what only it used."""
        with suppress(StageError):
            self._api.delete(KIND, self.name)
        self._clear()

    def _clear(self) -> None:
        """Delete the job's folder: it holds the text of the examples, which an attempt writes anew."""
        with suppress(ThinkSafeError):
            for key in self._store.keys(f"{self._folder}/"):
                self._store.delete(key)

    def _sweep(self) -> None:
        """Delete jobs that failed long ago; errors in this are ignored."""
        with suppress(StageError, ValueError):
            for found in self._api.find(KIND, OURS):
                state, name = state_of(found), found["metadata"]["name"]
                if state.name != "failed" or name == self.name or not state.since:
                    continue
                age = datetime.now(UTC) - datetime.fromisoformat(state.since)
                if age > timedelta(hours=KEPT_H):
                    self._api.delete(KIND, name)

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            sys.stderr.write(f"TrainJob {self._api.namespace}/{self.name}: {what}\n")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the process as an exception does, so that the job can be deleted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
