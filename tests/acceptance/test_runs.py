"""Whole runs: what they end with, and what they find made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from accepting.cluster import Cluster
from accepting.release import Release
from accepting.runs import ENDED, STAGE, Run, totals
from accepting.settings import LABEL
from accepting.waiting import until

JOB, INDEX = "batch.kubernetes.io/job-name", "batch.kubernetes.io/job-completion-index"
REFERENCE = (
    "cd $(mktemp -d) && thinksafe run /etc/accept/config.yaml --out run > log 2>&1 || { tail -n 40 log; exit 1; };"
    " cat run/metrics.json run/decision.json"
)
"""What a pod runs to have a run of its own, without Kubeflow; it prints the metrics and the decision."""


def documents(text: str) -> list[Any]:
    """Return the JSON documents of a text, one after the other."""
    decoder, found, text = json.JSONDecoder(), [], text.lstrip()
    while text:
        one, end = decoder.raw_decode(text)
        found.append(one)
        text = text[end:].lstrip()
    return found


def decided(decision: Any) -> list[Any]:
    return [decision["passed"], *((one["name"], one["passed"], one["value"]) for one in decision["checks"])]


def test_submit(cluster: Cluster, release: Callable[[], Release], first: Run) -> None:
    """A run ends with the metrics and the decision of ``thinksafe run`` in the same image, and its promotion."""
    config = json.dumps(release().values["config"])
    name = f"accept-{cluster.session}-reference"
    cluster.make("ConfigMap", name, data={"config.yaml": config})
    metrics, decision = documents(cluster.run_pod(name, cluster.settings.trainer, ["sh", "-c", REFERENCE], config=name))
    assert json.loads(first.report("metrics.json")) == metrics
    assert decided(json.loads(first.report("decision.json"))) == decided(decision)
    promoted = [entry["run_id"] for entry in first.ledger()]
    assert promoted == ([first.run_id] if decision["passed"] else [])


def test_second_run_finds_its_chunks(release: Callable[[], Release], first: Run) -> None:
    """A second run makes no chunk again, and ends with the same metrics."""
    run = release().submit()
    run.succeed()
    chunks, reused = totals({
        task: record for task, record in run.records().items() if not task.endswith("-champion")
    })
    assert chunks > 0
    assert reused == chunks
    again, before = (json.loads(one.report("metrics.json")) for one in (run, first))
    assert again["candidate"] == before["candidate"]


def pods_of_jobs(cluster: Cluster, stage: str, *phases: str) -> list[Any]:
    """Return the pods of Jobs that do a stage's work and are in one of some phases."""
    found = cluster.pods(**{LABEL: cluster.session, STAGE: stage})
    return [
        pod for pod in found
        if pod["status"].get("phase") in phases and JOB in pod["metadata"].get("labels", {})
        and "deletionTimestamp" not in pod["metadata"]
    ]


def test_wide_run(cluster: Cluster, release: Callable[[], Release], first: Run) -> None:
    """As many pods as asked for share the work of a stage, whose chunks are made small enough for them all."""
    width = cluster.settings.width
    prompts = json.loads(first.report("metrics.json"))["base"]["metrics"][0]["n"]
    small = max(1, prompts // width)
    keys = {f"{stage}__{key}": value for stage in ("sampling", "evaluation") for key, value in (
        ("parallelism", width), ("chunk_size", small),
    )}
    run, indices = release().submit(store="wide", **keys), set[str]()
    while run.state not in ENDED:
        indices |= {pod["metadata"]["labels"][INDEX] for pod in pods_of_jobs(cluster, "sample", "Pending", "Running")}
        time.sleep(0.5)
    run.succeed()
    assert len(indices) > width // 2, f"of {width} pods, {len(indices)} were seen"
    assert not cluster.get("jobs", labels=f"{LABEL}={cluster.session}"), "Jobs are deleted"


def test_pods_killed(cluster: Cluster, release: Callable[[], Release], first: Run) -> None:
    """One pod of each wide stage and that of train are deleted; the run ends with the same metrics."""
    keys = {f"{stage}__parallelism": 2 for stage in ("sampling", "evaluation")}
    run, killed = release().submit(store="killed", **keys), dict[str, str]()
    while run.state not in ENDED:
        running = {stage: pods_of_jobs(cluster, stage, "Running") for stage in ("sample", "judge", "grade")}
        running["train"] = [pod for pod in run.pods("train") if pod["status"].get("phase") == "Running"]
        for stage, pods in running.items():
            if pods and stage not in killed:
                killed[stage] = pods[0]["metadata"]["name"]
                cluster.core.delete_namespaced_pod(killed[stage], cluster.settings.namespace, grace_period_seconds=0)
        time.sleep(0.2)
    run.succeed()
    assert set(killed) == {"sample", "judge", "grade", "train"}
    assert json.loads(run.report("metrics.json")) == json.loads(first.report("metrics.json"))


def test_terminate(cluster: Cluster, release: Callable[[], Release]) -> None:
    """A terminated run writes its report and leaves neither Jobs nor pods that run; finished chunks stay."""
    run = release().submit(store="terminated")
    limit = 1800 * cluster.settings.patience
    until("a chunk", lambda: run.state in ENDED or run.keys("chunks"), limit)
    run.terminate()
    assert run.wait() in ("FAILED", "CANCELED")
    assert b"<html" in run.report("report.html")
    assert run.keys("chunks")
    assert run.ledger() == []

    def left() -> list[Any]:
        running = [pod for pod in run.pods() if pod["status"].get("phase") in ("Pending", "Running")]
        wide = (pods_of_jobs(cluster, stage, "Pending", "Running") for stage in ("sample", "judge", "grade"))
        return running + [pod for some in wide for pod in some]

    until("the pods to end", lambda: not left(), 120 * cluster.settings.patience)
    assert not cluster.get("jobs", labels=f"{LABEL}={cluster.session}")


def test_two_runs_at_once(release: Callable[[], Release]) -> None:
    """Two runs of the same config at the same time: one promotes, the other one ends in peace or names the winner."""
    runs = [release().submit("--name", f"twin-{number}", store="twice") for number in range(2)]
    states = {run.run_id: run.wait() for run in runs}
    winners = [entry["run_id"] for entry in runs[0].ledger()]
    assert len(winners) == 1
    assert states[winners[0]] == "SUCCEEDED"
    (other,) = [run for run in runs if run.run_id not in winners]
    assert states[other.run_id] == "SUCCEEDED" or winners[0] in other.words()


def test_evaluation_with_alarm(release: Callable[[], Release], first: Run) -> None:
    """The champion passes; a model that is not aligned raises the alarm, and the run fails."""
    good = release().submit("--pipeline", "evaluate", "--model", "champion")
    good.succeed()
    bad = release().submit("--pipeline", "evaluate", "--model", "micro://default", gate__harm__max=0.1)
    assert bad.wait() == "FAILED"
    assert bad.records()["alarm"]["verdict"] == "alarm"
    assert b"<html" in bad.report("report.html")
    assert len(first.ledger()) >= 1, "no alias was moved"
