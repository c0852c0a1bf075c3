"""Start a job whose pods do a stage's work, or resume waiting for an existing one, until its results are in the store.

The job's name derives from the key of its work, so that a stage that was killed and started again finds it. The work is
done when its results are in the store, whatever the job says. A stage that is stopped or out of time deletes the job.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from pydantic import ValidationError

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.kubernetes import seconds
from thinksafe.config.pods import JOBS_VARIABLE
from thinksafe.errors import ConfigError, StageError, ThinkSafeError
from thinksafe.kube import pods
from thinksafe.kube.client import DroppedError, GoneError, KubernetesClient, Object, connect
from thinksafe.kube.pods import PodKind
from thinksafe.text import clean

KEPT_H = 24
"""Hours for which a failed job is kept for inspection. A job that has done its work is deleted at once."""
LOOK_SECONDS = 15.0
"""Longest time between two looks at the pods."""
PAUSE_SECONDS = 1.0
GONE_SECONDS = 300.0
"""Longest wait for a deleted job to be gone."""
RETRY_SECONDS = 600.0
"""How long an API that does not answer is asked again; the work continues meanwhile."""


class JobState(NamedTuple):
    """How far a job is."""

    name: str
    """``running``, ``complete``, ``failed`` or ``gone``."""
    reason: str = ""
    message: str = ""
    since: str = ""


def state_of(found: Object | None) -> JobState:
    """Return the state in the conditions of a Job or a TrainJob."""
    if found is None or found.get("deleted"):
        return JobState("gone")
    for one in (found.get("status") or {}).get("conditions") or []:
        if one.get("type") in ("Complete", "Failed") and one.get("status") == "True":
            return JobState(
                one["type"].lower(), one.get("reason") or "", one.get("message") or "",
                one.get("lastTransitionTime") or "",
            )
    return JobState("running")


def job_settings() -> ClusterSettings | None:
    """Return the settings of the job that this stage starts; None if it does the work itself.

    Raises:
        ConfigError: the settings in the environment are invalid.
    """
    text = os.environ.get(JOBS_VARIABLE, "")
    try:
        return ClusterSettings.model_validate_json(text) if text else None
    except ValidationError as error:
        raise ConfigError(
            f"{JOBS_VARIABLE} is not a cluster section of this version.", "Run `thinksafe publish`, then submit."
        ) from error


def job_client(cluster: ClusterSettings) -> KubernetesClient:
    """Return the client of the namespace of the jobs. Raises ConfigError."""
    return connect(cluster.namespace, section="cluster", retry_seconds=RETRY_SECONDS)


class Launcher(ABC):
    """One job: made or taken up, watched, and deleted when its work is done.

    Args:
        api: The namespace of the pods.
        kind: Kind of the job, as in :data:`thinksafe.kube.resources.RESOURCES`.
        name: Name of the job.
        mark: Annotation that says what the job works on, and its value; a job of this name with another one is refused.
        pods: The job's pods.
        start_within: How long a pod may take to start, a duration.
        deadline: Time limit of the job, a duration, and the setting that has it; empty for none.
        look_seconds: Longest time between two looks at the pods.
    """

    def __init__(
        self, api: KubernetesClient, kind: str, name: str, mark: tuple[str, str], pods_: PodKind, start_within: str,
        deadline: tuple[str, str] = ("", ""), look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.name, self._api, self._kind, self._mark, self._pods = name, api, kind, mark, pods_
        self._deadline, self._look_seconds = deadline, look_seconds
        self._start_seconds = seconds(start_within)
        self._waiting = pods.Waiting(pods_, self._start_seconds)
        self._suspended, self._bare_since = False, math.inf
        self._seen: list[pods.End] = []
        self._said = ""

    @abstractmethod
    def _manifest(self) -> Object:
        """Return the job to create, after writing what its pods need. Raises ThinkSafeError."""

    @abstractmethod
    def _done(self) -> bool:
        """Return whether the results are in the store."""

    @abstractmethod
    def _told(self) -> ThinkSafeError | None:
        """Return the error of the work itself that a pod reported through the store."""

    def _refused(self, error: StageError) -> StageError:
        """Return why the job could not be created, in better words if there are any."""
        return error

    def _action(self, reason: str) -> str:
        """Return what to do about a job that failed for a reason; empty if nothing is known."""
        return ""

    def _succeeded(self) -> None:  # noqa: B027 - most jobs leave nothing else
        """Read what else the job left, before it is deleted."""

    def _clear(self) -> None:  # noqa: B027 - the same
        """Delete what only the job used; called when it has ended, whatever the end."""

    def run(self) -> None:
        """Wait until the work is done.

        Raises:
            ThinkSafeError: the error that a pod reported; otherwise a StageError with the last lines of the failed
                pods, or with the reason why they did not run.
        """
        with _stoppable():
            try:
                self._start()
                self._wait()
            except (SystemExit, KeyboardInterrupt):
                self._delete()
                raise
        self._succeeded()
        self._delete()

    def _start(self) -> None:
        """Create the job, unless there is one to wait for."""
        end = time.monotonic() + GONE_SECONDS
        while True:
            found, _ = self._api.look(self._kind, self.name)
            if found is None:
                if self._create():
                    return self._say("started")
                continue  # somebody was faster
            metadata, state = found["metadata"], state_of(found)
            annotation, value = self._mark
            if (metadata.get("annotations") or {}).get(annotation) != value:
                raise StageError(
                    f"There is another {self._kind} {self.name!r} in the namespace {self._api.namespace!r}, which "
                    "belongs to other work.",
                    f"Delete it: kubectl -n {self._api.namespace} delete {self._kind.lower()} {self.name}",
                )
            if metadata.get("deletionTimestamp"):
                if time.monotonic() > end:
                    raise StageError(
                        f"The {self._kind} {self.name!r} is being deleted, but is still there.",
                        "Check what its finalizers wait for.",
                    )
                time.sleep(PAUSE_SECONDS)
            elif state.name == "running" or (state.name == "complete" and self._done()):
                return self._say("already exists; waiting for it")
            else:
                self._api.delete(self._kind, self.name)
                time.sleep(min(PAUSE_SECONDS, 0.2))

    def _create(self) -> bool:
        manifest = self._manifest()
        try:
            return self._api.create(manifest)
        except StageError as error:
            raise self._refused(error) from error

    def _wait(self) -> None:
        """Watch the job until its work is done. Raises ThinkSafeError."""
        duration, setting = self._deadline
        limit, version = seconds(duration) if duration else math.inf, ""
        end = time.monotonic() + limit
        while True:
            left = end - time.monotonic()
            if left <= 0:
                self._look()
                self._delete()
                raise self._failed(f"is not complete after {limit} s", f"Raise {setting}.")
            began = time.monotonic()
            try:
                if version:
                    changes = self._api.watch(self._kind, self.name, version, min(left, self._look_seconds))
                else:
                    found, version = self._api.look(self._kind, self.name)
                    changes = iter([found or {"deleted": True}])
                for change in changes:
                    version = change.get("bookmark") or change.get("metadata", {}).get("resourceVersion", version)
                    if "bookmark" not in change:
                        self._suspended = bool((change.get("spec") or {}).get("suspend"))
                        if self._ended(state_of(change)):
                            return
            except GoneError:
                version = ""
            except DroppedError:
                pass
            if self._look():
                return
            # a watch may end at once
            time.sleep(min(max(0.0, began + PAUSE_SECONDS - time.monotonic()), max(0.0, end - time.monotonic())))

    def _ended(self, state: JobState) -> bool:
        """Return whether the work is done. Raises what ended the job without it."""
        if state.name == "running":
            return False
        if self._done():
            return True
        if state.name == "complete":
            raise StageError(
                f"The {self._kind} {self.name!r} is complete, but its results are not all in the store.",
                "Check that its pods can reach this store, and start the same stage again.",
            )
        if state.name == "gone":
            raise StageError(
                f"Somebody else deleted the {self._kind} {self.name!r}.",
                "Start the same stage again; it goes on from what is in the store.",
            )
        if error := self._told():
            self._delete()
            raise error
        with suppress(StageError):
            self._remember(self._pods.of(self._api, self.name))
        self._clear()
        said = clean(": ".join(part for part in (state.reason, state.message) if part), 300)
        action = self._action(state.reason) or f"The job is kept for {KEPT_H} h: inspect it and its pods."
        raise self._failed(f"failed ({said or 'no reason given'})", action)

    def _look(self) -> bool:
        """Look at the pods, remember how some ended, and return whether an elastic job's work is done already.

        Raises:
            ThinkSafeError: what a pod reported; a StageError if pods will not run.
        """
        if self._pods.elastic and self._done():  # pods without work may wait for ever
            return True
        if not self._pods.elastic and (error := self._told()):  # the others wait for the pod that ended
            self._delete()
            raise error
        try:
            found = self._pods.of(self._api, self.name)
        except StageError as refused:
            self._say(f"cannot read its pods: {refused.problem}")
            return False
        self._say("waits in its queue" if self._suspended else pods.phases(found))
        self._remember(found)
        if trouble := self._waiting.trouble(found) or self._without_pods(found):
            self._delete()
            raise trouble
        return False

    def _without_pods(self, found: list[Object]) -> StageError | None:
        """Return why waiting longer will not make pods appear, or None: a quota refuses them, not a queue."""
        now = time.monotonic()
        self._bare_since = math.inf if found or self._suspended else min(self._bare_since, now)
        if now - self._bare_since < self._start_seconds:
            return None
        return StageError(
            f"The {self._kind} {self.name!r} has no pods after {self._start_seconds} s.",
            "Look for refusals, for example by a quota, with: "
            f"kubectl -n {self._api.namespace} get events --field-selector reason=FailedCreate",
        )

    def _remember(self, found: list[Object]) -> None:
        """Keep how pods ended: one that is started anew takes its log with it."""
        if ended := pods.ends(self._api, self._pods, found, self._seen):
            self._seen = ended

    def _failed(self, what: str, action: str) -> StageError:
        words, better = pods.told(self._pods, self._seen)
        tail = f" The last lines of its pods:\n  {words}\n" if words else ""
        return StageError(f"The {self._kind} {self.name!r} {what}.{tail}", better or action)

    def _delete(self) -> None:
        """Delete the job, and what only it used."""
        with suppress(StageError):
            self._api.delete(self._kind, self.name)
        self._clear()

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            sys.stderr.write(f"{self._kind} {self._api.namespace}/{self.name}: {what}\n")


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
