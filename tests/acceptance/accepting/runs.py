"""Runs on the cluster: started by ``thinksafe submit``, followed by Kubeflow's client, read from the bucket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from accepting.cluster import Cluster
from accepting.waiting import until

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
WHOLE = 3600
"""Seconds that a run of ``micro`` may take."""
STAGE = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Run:
    """A run of a release's pipeline."""

    cluster: Cluster
    run_id: str
    store: str
    """Prefix in the bucket."""

    @property
    def state(self) -> str:
        return str(self.cluster.kfp.get_run(self.run_id).state)

    def wait(self, *states: str, seconds: float = WHOLE) -> str:
        """Wait for one of some states, by default for the end, and return it."""
        wanted = states or ENDED
        limit = seconds * self.cluster.settings.patience
        return until(
            f"run {self.run_id} to be {' or '.join(wanted)}", lambda: (now := self.state) in wanted and now, limit, 2.0
        ) or ""

    def succeed(self, seconds: float = WHOLE) -> None:
        """Wait for the end, which has to be a good one."""
        state = self.wait(seconds=seconds)
        assert state == "SUCCEEDED", f"run {self.run_id} is {state}; {self.words()}"

    def words(self) -> str:
        """Return what the failed stages and pods say."""
        errors = [
            f"{task}: {record['error']}"[:600]
            for task, record in self.records().items() if record["status"] == "failed"
        ]
        return "; ".join([*errors, *map(state_of, self.pods())])

    def pods(self, stage: str = "") -> list[Any]:
        """Return the run's pods, those of one stage or all; pods of Jobs are not among them."""
        wanted = {"pipeline/runid": self.run_id, **({STAGE: stage} if stage else {})}
        return self.cluster.pods(**wanted)

    def records(self) -> dict[str, Any]:
        """Return the stage records, by task."""
        prefix = f"{self.store}/runs/{self.run_id}/"
        found = self.cluster.bucket.objects.filter(Prefix=prefix)
        return {
            one.key.removeprefix(prefix)[:-5]: json.loads(one.get()["Body"].read())
            for one in found if one.key.endswith(".json")
        }

    def report(self, name: str) -> bytes:
        """Return a file of the run's report."""
        found = self.cluster.bucket.Object(f"{self.store}/reports/{self.run_id}/{name}").get()
        return bytes(found["Body"].read())

    def ledger(self) -> list[Any]:
        """Return the promotions in the run's store, the oldest first."""
        found = sorted(self.cluster.bucket.objects.filter(Prefix=f"{self.store}/promotions/"), key=lambda one: one.key)
        return [json.loads(one.get()["Body"].read()) for one in found]

    def keys(self, place: str) -> list[str]:
        """Return the objects in a place of the run's store."""
        return [one.key for one in self.cluster.bucket.objects.filter(Prefix=f"{self.store}/{place}/")]

    def log(self, stage: str) -> str:
        """Return the log of the pods of a stage."""
        core, namespace = self.cluster.core, self.cluster.settings.namespace
        pods = [pod["metadata"]["name"] for pod in self.pods(stage)]
        return "".join(core.read_namespaced_pod_log(name, namespace, container="main") for name in pods)

    def terminate(self) -> None:
        self.cluster.kfp.terminate_run(self.run_id)


def submitted(text: str) -> str:
    """Return the run id that ``thinksafe submit`` printed."""
    match = re.search(r"submitted run (\S+),", text)
    assert match is not None, text
    return match[1]


def state_of(pod: dict[str, Any]) -> str:
    """Return in one line how a pod is."""
    status = pod["status"]
    said = [status.get("reason", ""), status.get("message", "")]
    for one in status.get("containerStatuses", ()):
        state = one["state"]
        waiting, ended = state.get("waiting", {}), state.get("terminated", {})
        said += [waiting.get("reason", ""), waiting.get("message", "")]
        said += [f"exit code {ended['exitCode']}", ended.get("reason", "")] if ended else []
    return f"pod {pod['metadata']['name']}: {status.get('phase')} {' '.join(filter(None, said))}".strip()


def totals(records: dict[str, Any], stages: Iterable[str] = ("sample", "judge", "grade")) -> tuple[int, int]:
    """Return how many chunks the stages of a run had, and how many of them they found made."""
    of = [record["counts"] for record in records.values() if record["stage"] in stages]
    return sum(counts["chunks"] for counts in of), sum(counts["chunks_reused"] for counts in of)
