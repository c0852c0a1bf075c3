"""Recurring runs and their runs under way, against a server that loses the runs of what is deleted, as Kubeflow's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_configs import cluster_document
from kfp_server import KfpServer, kfp_server

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.load import load_place
from thinksafe.errors import ConfigError, StageError
from thinksafe_pipelines.kfp import publishing
from thinksafe_pipelines.kfp.schedules import Run, owner_of, scheduled, unschedule

OPTIONAL = {"parameters": {name: {"isOptional": True} for name in ("if_changed", "model", "fresh", "if_champion")}}


@pytest.fixture(autouse=True)
def _compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(
        name: str, text: str, overrides: list[str], path: Any, *, cluster: ClusterSettings, author: str
    ) -> Any:
        about = {"pipelineInfo": {"name": name}, "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.17.0"}
        seen = hashlib.sha256(json.dumps([text, overrides]).encode()).hexdigest()
        root = {"inputDefinitions": OPTIONAL}
        path.write_text(json.dumps({**about, "root": root, "components": {}, "deploymentSpec": {"of": seen}}))
        return path

    monkeypatch.setattr(publishing, "compile_pipeline", compiled)


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with kfp_server() as running:
        yield running


def place(server: KfpServer, kfp: dict[str, Any] | None = None, **changed: Any) -> tuple[str, ClusterSettings]:
    text = cluster_document(kfp={"host": server.address, **(kfp or {})}, **changed)
    cluster = load_config(text).cluster
    assert cluster is not None
    return text, cluster


def publish(server: KfpServer, *overrides: str, pipeline: str = "realign", **changed: Any) -> publishing.Published:
    text, cluster = place(server, **changed)
    return publishing.publish(cluster, text, list(overrides), pipeline)


def test_a_changed_config_keeps_the_run_under_way(server: KfpServer) -> None:
    first = publish(server).recurring_run_id
    run = server.fire(first)
    done = publish(server, "seed=7")
    assert server.changes[-2:] == [f"POST recurringruns/{first}:disable", "POST recurringruns"]
    assert [(item["recurring_run_id"], item["mode"]) for item in server.recurring_runs] == [
        (first, "DISABLE"), (done.recurring_run_id, "ENABLE")
    ]
    assert done.waiting == {first: (Run(run, "RUNNING"),)}
    changes = list(server.changes)
    again = publish(server, "seed=7")
    assert (again.changes, again.waiting, server.changes) == ([], done.waiting, changes)
    server.finish(run)
    assert server.runs[0]["state"] == "SUCCEEDED"
    last = publish(server, "seed=7")
    assert (last.changes, last.waiting) == ([f"removed recurring run {first}"], {})
    assert [item["recurring_run_id"] for item in server.recurring_runs] == [done.recurring_run_id]
    assert server.lost == []


def test_a_run_that_waits_counts_as_under_way(server: KfpServer) -> None:
    for seed, state in enumerate(("PENDING", "CANCELING", "PAUSED")):
        server.fire(publish(server, f"seed={seed}").recurring_run_id, state)
    publish(server, "seed=7")
    assert len(server.recurring_runs) == 4
    assert server.lost == []


def test_a_schedule_turned_off_keeps_the_run_under_way(server: KfpServer) -> None:
    first = publish(server).recurring_run_id
    run = server.fire(first)
    off = {"schedule": {"enabled": False}}
    done = publish(server, **off)
    assert (done.recurring_run_id, done.cron, done.waiting) == ("", "", {first: (Run(run, "RUNNING"),)})
    assert server.recurring_runs[0]["mode"] == "DISABLE"
    server.finish(run, "FAILED")
    assert publish(server, **off).changes == [f"removed recurring run {first}"]
    assert (server.recurring_runs, server.lost) == ([], [])


@pytest.mark.parametrize(
    "kfp", [{"experiment": "safety"}, {"pipeline": "ours"}, {"pipeline": "ours", "experiment": "x"}]
)
@pytest.mark.parametrize("pipeline", ["realign", "evaluate"])
def test_another_name_or_experiment_leaves_no_schedule_behind(
    server: KfpServer, kfp: dict[str, Any], pipeline: str
) -> None:
    schedule = {"enabled": True, "evaluate": {"enabled": True}}
    kept = publish(server, pipeline="evaluate" if pipeline == "realign" else "realign", schedule=schedule)
    old = publish(server, pipeline=pipeline, schedule=schedule).recurring_run_id
    run = server.fire(old)
    done = publish(server, kfp=kfp, pipeline=pipeline, schedule=schedule)
    assert done.waiting == {old: (Run(run, "RUNNING"),)}
    _, cluster = place(server, kfp=kfp)
    shown = {item.recurring_run_id: item for item in scheduled(cluster, pipeline, owner_of(cluster, "micro"))}
    assert set(shown) == {old, done.recurring_run_id}
    assert (shown[old].enabled, shown[old].under_way) == (False, (Run(run, "RUNNING"),))
    server.finish(run)
    publish(server, kfp=kfp, pipeline=pipeline, schedule=schedule)
    there = {item["recurring_run_id"] for item in server.recurring_runs}
    assert there == {kept.recurring_run_id, done.recurring_run_id}


@pytest.mark.parametrize(
    "other", [{"store": "s3://others/thinksafe"}, {"service_account": "others"}, {"kfp": {"pipeline": "named"}}]
)
def test_the_schedule_of_another_owner_stays(server: KfpServer, other: dict[str, Any]) -> None:
    kfp = {"pipeline": "theirs"}
    text, cluster = place(server, **{**other, "kfp": kfp})
    names = ["name=another"] if "kfp" in other else []
    theirs = publishing.publish(cluster, text, names).recurring_run_id
    ours = publish(server).recurring_run_id
    publish(server, schedule={"enabled": False})
    assert [item["recurring_run_id"] for item in server.recurring_runs] == [theirs]
    assert theirs != ours


def test_what_people_made_under_the_same_name_stays(server: KfpServer) -> None:
    publish(server)
    by_hand = {**server.recurring_runs[0], "recurring_run_id": "by-hand", "description": "mine"}
    server.recurring_runs.append(by_hand)
    publish(server, schedule={"enabled": False})
    assert server.recurring_runs == [by_hand]


def test_removing_waits_for_the_run_or_ends_it(server: KfpServer) -> None:
    first = publish(server).recurring_run_id
    run = server.fire(first)
    _, cluster = place(server)
    done = unschedule(cluster)
    assert (done.removed, done.waiting) == ([], {first: (Run(run, "RUNNING"),)})
    assert server.recurring_runs[0]["mode"] == "DISABLE"
    assert unschedule(cluster, now=True).removed == [first]
    assert server.lost == [run]
    server.finish(run)
    assert server.runs[0]["state"] == "RUNNING", "nobody hears of it any more"


def test_names_alone_reach_the_recurring_runs(server: KfpServer) -> None:
    first = publish(server, kfp={"pipeline": "ours", "experiment": "safety"}).recurring_run_id
    alone = load_place([f"cluster.kfp.host={server.address}", "cluster.kfp.pipeline=ours"])
    assert [item.recurring_run_id for item in scheduled(alone)] == [first]
    assert unschedule(alone).removed == [first]
    assert unschedule(alone, "evaluate").removed == []


def test_names_alone_are_of_the_place_only() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.store"):
        load_place(["cluster.store=s3://x/y"])


def test_the_namespace_of_the_user_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", "sesame")
    with kfp_server(multi_user=True, token="sesame") as server:
        kfp = {"multi_user": True, "access": "token"}
        text, cluster = place(server, kfp=kfp, namespace="team")
        first = publishing.publish(cluster, text, []).recurring_run_id
        space = [f"cluster.kfp.host={server.address}", "cluster.kfp.multi_user=true", "cluster.kfp.access=token"]
        assert scheduled(load_place([*space, "cluster.namespace=others"])) == []
        assert [item.recurring_run_id for item in scheduled(load_place([*space, "cluster.namespace=team"]))] == [first]


def test_runs_are_found_over_all_pages_and_older_ones_not_asked_for(server: KfpServer) -> None:
    first = publish(server).recurring_run_id
    run = server.fire(first)
    for number in range(5):
        server.fire(first, "SUCCEEDED")
        server.runs[-1]["run_id"] = f"ended-{number}"
    _, cluster = place(server)
    (found,) = scheduled(cluster)
    assert [one.run_id for one in found.runs] == [f"ended-{number}" for number in (4, 3, 2, 1, 0)]
    assert found.under_way == (Run(run, "RUNNING"),)


def test_a_refusal_between_old_and_new_is_made_good(server: KfpServer) -> None:
    first = publish(server).recurring_run_id
    text, cluster = place(server)

    def refuse() -> None:
        server.fail["recurringruns"] = 500

    # the version is made before, so that the next thing is the new recurring run
    publishing.publish(cluster, text, ["seed=7"], schedule=False)
    server.before_create = refuse
    with pytest.raises(StageError, match="answered 500"):
        publishing.publish(cluster, text, ["seed=7"])
    server.fail.clear()
    assert publish(server, "seed=7").recurring_run_id != first
    assert [item["mode"] for item in server.recurring_runs] == ["ENABLE"]


def test_what_an_earlier_version_made_is_taken_over(server: KfpServer) -> None:
    publish(server)
    server.recurring_runs[0]["description"] = "Managed by thinksafe publish; settings 0123456789abcdef"
    publish(server)
    assert len(server.recurring_runs) == 1
    assert "owner" in server.recurring_runs[0]["description"]


def test_the_owner_is_the_release_and_its_config() -> None:
    cluster = load_config(cluster_document()).cluster
    assert cluster is not None
    same = cluster.model_copy(update={"labels": {"a": "b"}})
    assert owner_of(cluster, "micro") == owner_of(same, "micro") != owner_of(cluster, "other")
