"""Against a server that speaks KFP's API over HTTP, with KFP's own client."""

from __future__ import annotations

from pathlib import Path

import pytest
from kfp_server import KfpServer
from kube_api import KubeApi
from published import cluster_of, document, publish

from thinksafe.config import load_config
from thinksafe.errors import ConfigError, StageError
from thinksafe_pipelines.kfp import publishing
from thinksafe_pipelines.kfp.schedules import Run, scheduled, unschedule

CRON = "0 0 3 * * 0"
pytestmark = pytest.mark.usefixtures("compiled_once")


def test_everything_is_made_and_a_second_call_changes_nothing(server: KfpServer) -> None:
    first = publish(server)
    assert server.changes == [
        "POST pipelines", "POST pipelines/upload_version", "POST experiments", "POST recurringruns"
    ]
    assert [change.split()[0] for change in first.changes] == ["made"] * 4
    again = publish(server)
    assert len(server.changes) == 4
    assert again.changes == []
    assert (again.pipeline_id, again.version_id, again.experiment_id, again.recurring_run_id) == (
        first.pipeline_id, first.version_id, first.experiment_id, first.recurring_run_id
    )


def test_what_was_uploaded_is_the_compiled_pipeline(server: KfpServer) -> None:
    done = publish(server)
    spec, platform = server.packages[done.version_id]
    assert spec["pipelineInfo"]["name"] == "realign"
    assert platform["platforms"]["kubernetes"]
    assert server.versions[0]["display_name"] == done.version
    assert done.version.startswith("sha256-")
    assert "extends: micro" in spec["root"]["inputDefinitions"]["parameters"]["config"]["defaultValue"]


def test_the_author_is_part_of_the_version(server: KfpServer) -> None:
    text = document(server)
    first, second, again = (
        publishing.publish(cluster_of(text), text, [], author=author) for author in ("ann", "bob", "ann")
    )
    assert first.version_id == again.version_id != second.version_id
    spec, _ = server.packages[second.version_id]
    assert spec["root"]["inputDefinitions"]["parameters"]["author"]["defaultValue"] == "bob"


def test_a_promotion_is_started_with_the_run_that_waited(server: KfpServer) -> None:
    text = document(server)
    done, _ = publishing.submit(cluster_of(text), text, [], "x", "promote", {"run_id": "one"})
    assert done.name == "thinksafe-promote"
    assert server.recurring_runs == []
    assert server.runs[0]["runtime_config"]["parameters"] == {"run_id": "one"}


def test_the_recurring_run_does_not_overlap_and_does_not_catch_up(server: KfpServer) -> None:
    done = publish(server)
    (made,) = server.recurring_runs
    assert made["max_concurrency"] in ("1", 1)
    assert made["no_catchup"] is True
    assert made["mode"] == "ENABLE"
    assert made["trigger"]["cron_schedule"]["cron"] == CRON
    assert made["service_account"] == "thinksafe-pipeline"
    assert made["runtime_config"]["parameters"] == {"if_changed": True}
    assert made["pipeline_version_reference"] == {
        "pipeline_id": done.pipeline_id, "pipeline_version_id": done.version_id
    }


EVALUATE = {"enabled": True, "cron": "0 30 2 * * *", "fresh": False}


def test_the_evaluation_is_a_pipeline_with_a_schedule_of_its_own(server: KfpServer) -> None:
    text = document(server, schedule={"enabled": True, "evaluate": EVALUATE})
    realign = publishing.publish(cluster_of(text), text, [])
    evaluate = publishing.publish(cluster_of(text), text, [], "evaluate")
    assert [item["display_name"] for item in server.pipelines] == ["thinksafe-realign", "thinksafe-evaluate"]
    assert server.packages[evaluate.version_id][0]["pipelineInfo"]["name"] == "evaluate"
    assert realign.experiment_id == evaluate.experiment_id
    of_realign, of_evaluate = server.recurring_runs
    assert of_realign["recurring_run_id"] == realign.recurring_run_id
    assert of_evaluate["recurring_run_id"] == evaluate.recurring_run_id
    assert of_evaluate["display_name"] == "thinksafe-evaluate"
    assert of_evaluate["trigger"]["cron_schedule"]["cron"] == "0 30 2 * * *"
    assert of_evaluate["max_concurrency"] in ("1", 1)
    assert of_evaluate["no_catchup"] is True
    assert of_evaluate["pipeline_version_reference"] == {
        "pipeline_id": evaluate.pipeline_id, "pipeline_version_id": evaluate.version_id
    }
    assert of_evaluate["runtime_config"]["parameters"] == {
        "model": "champion", "fresh": False, "if_champion": True
    }
    made = list(server.changes)
    for pipeline in ("realign", "evaluate"):
        assert publishing.publish(cluster_of(text), text, [], pipeline).changes == []
    assert server.changes == made


def test_each_schedule_is_removed_without_the_other(server: KfpServer) -> None:
    text = document(server, schedule={"enabled": True, "evaluate": EVALUATE})
    for pipeline in ("realign", "evaluate"):
        publishing.publish(cluster_of(text), text, [], pipeline)
    off = document(server, schedule={"enabled": True})
    done = publishing.publish(cluster_of(off), off, [], "evaluate")
    assert any(change.startswith("removed recurring run") for change in done.changes)
    assert [item["display_name"] for item in server.recurring_runs] == ["thinksafe-realign"]
    assert scheduled(cluster_of(off), "evaluate") == []
    assert unschedule(cluster_of(off), "evaluate").removed == []
    assert len(unschedule(cluster_of(off)).removed) == 1


def test_a_pipeline_of_another_name_has_an_evaluation_of_another_name(server: KfpServer) -> None:
    text = document(server, kfp={"pipeline": "ours"})
    assert publishing.publish(cluster_of(text), text, [], "evaluate").name == "ours-evaluate"


def test_an_unknown_pipeline_is_refused(server: KfpServer) -> None:
    text = document(server)
    with pytest.raises(ConfigError, match="no pipeline 'repair'"):
        publishing.publish(cluster_of(text), text, [], "repair")
    assert server.changes == []


def test_an_evaluation_is_submitted_with_what_it_is_about(server: KfpServer) -> None:
    text = document(server)
    publishing.submit(cluster_of(text), text, [], "by hand", "evaluate", {"model": "models:/micro-student/2"})
    (made,) = server.runs
    assert made["runtime_config"]["parameters"] == {"model": "models:/micro-student/2"}
    assert server.pipelines[0]["display_name"] == "thinksafe-evaluate"


def test_another_cron_replaces_the_recurring_run(server: KfpServer) -> None:
    first = publish(server)
    done = publish(server, schedule={"enabled": True, "cron": "0 0 4 * * *"})
    (made,) = server.recurring_runs
    assert made["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"
    old = first.recurring_run_id
    assert done.changes[-2:] == ["replaced recurring run at '0 0 4 * * *'", f"removed recurring run {old}"]
    assert len(server.versions) == 2  # the document is another one
    # the old one starts no more runs before the new one is made, and the new one is there before the old one goes
    assert server.changes[-3:] == [
        f"POST recurringruns/{old}:disable", "POST recurringruns", f"DELETE recurringruns/{old}"
    ]


def test_another_configuration_is_another_version_that_the_schedule_takes(server: KfpServer) -> None:
    first = publish(server)
    text = document(server)
    second = publishing.publish(cluster_of(text), text, ["seed=7"])
    assert second.version != first.version
    assert second.pipeline_id == first.pipeline_id
    (made,) = server.recurring_runs
    assert made["pipeline_version_reference"]["pipeline_version_id"] == second.version_id


def test_the_way_to_the_api_makes_no_version(
    server: KfpServer, kubernetes: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = document(server)
    version = publishing.publish(cluster_of(text), text, []).version
    monkeypatch.setenv("KFP_TOKEN", "sesame")
    for overrides in (
        ["cluster.kfp.host=''", "cluster.kfp.access=port-forward"],
        [f"cluster.kfp.host={server.address}/", "cluster.kfp.access=token"],
    ):
        cluster = load_config(text, overrides).cluster
        assert cluster is not None
        done, _ = publishing.submit(cluster, text, overrides, "by hand")
        assert (done.version, done.changes) == (version, [])
    other = document(server, kfp={"access": "token", "token_file": str(tmp_path / "token")})
    (tmp_path / "token").write_text("sesame")
    assert publishing.publish(cluster_of(other), other, []).version == version
    assert publishing.publish(cluster_of(text), text, ["seed=7"]).version != version


def test_a_recurring_run_that_somebody_disabled_is_replaced(server: KfpServer) -> None:
    publish(server)
    server.recurring_runs[0]["mode"] = "DISABLE"
    publish(server)
    assert [item["mode"] for item in server.recurring_runs] == ["ENABLE"]


def test_duplicates_go_over_all_pages(server: KfpServer) -> None:
    publish(server)
    server.recurring_runs += [
        {**server.recurring_runs[0], "recurring_run_id": f"extra-{number}"} for number in range(4)
    ]
    kept = server.recurring_runs[0]["recurring_run_id"]
    assert publish(server).recurring_run_id == kept
    assert [item["recurring_run_id"] for item in server.recurring_runs] == [kept]


def test_a_schedule_that_is_off_is_removed(server: KfpServer) -> None:
    publish(server)
    done = publish(server, schedule={"enabled": False})
    assert server.recurring_runs == []
    assert done.recurring_run_id == ""
    assert any(change.startswith("removed recurring run") for change in done.changes)


def test_other_recurring_runs_are_left_alone(server: KfpServer) -> None:
    publish(server)
    other = {
        **server.recurring_runs[0], "recurring_run_id": "other", "display_name": "of somebody else", "description": ""
    }
    server.recurring_runs.append(other)
    publish(server, schedule={"enabled": False})
    assert server.recurring_runs == [other]


def test_an_installation_that_is_faster_wins(server: KfpServer) -> None:
    def other() -> None:
        server.pipelines.append({"pipeline_id": "theirs", "display_name": "thinksafe-realign", "namespace": ""})

    server.before_create = other
    done = publish(server)
    assert done.pipeline_id == "theirs"
    assert not any("pipeline thinksafe-realign" in change for change in done.changes)


def test_a_refusal_in_the_middle_leaves_what_a_second_call_completes(server: KfpServer) -> None:
    server.fail["recurringruns"] = 500
    with pytest.raises(StageError, match="answered 500"):
        publish(server)
    server.fail.clear()
    assert publish(server).changes == [f"made recurring run at {CRON!r}"]


def test_submit_publishes_once_and_runs_the_version(server: KfpServer) -> None:
    text = document(server, pipeline_root="s3://models/kfp")
    done, run = publishing.submit(cluster_of(text), text, [], "by hand")
    assert server.recurring_runs == []
    (made,) = server.runs
    assert made["run_id"] == run
    assert made["display_name"] == "by hand"
    assert made["service_account"] == "thinksafe-pipeline"
    assert made["runtime_config"]["pipeline_root"] == "s3://models/kfp"
    assert made["pipeline_version_reference"]["pipeline_version_id"] == done.version_id
    again, _ = publishing.submit(cluster_of(text), text, [], "again")
    assert (again.changes, len(server.runs)) == ([], 2)


def test_the_schedule_is_shown_with_its_runs_and_removed(server: KfpServer) -> None:
    text = document(server)
    cluster = cluster_of(text)
    assert scheduled(cluster) == []
    assert unschedule(cluster).removed == []
    done = publishing.publish(cluster, text, [])
    server.runs.append(
        {
            "run_id": "run-1", "recurring_run_id": done.recurring_run_id, "state": "SUCCEEDED",
            "experiment_id": done.experiment_id,
        }
    )
    (found,) = scheduled(cluster)
    assert (found.cron, found.enabled, found.version_id) == (CRON, True, done.version_id)
    assert found.runs == (Run("run-1", "SUCCEEDED"),)
    assert unschedule(cluster).removed == [done.recurring_run_id]
    assert unschedule(cluster).removed == []
    assert server.recurring_runs == []


def test_a_comparison_is_published_for_its_methods_and_scheduled(server: KfpServer) -> None:
    methods = "compare: [{name: a}, {name: b, overrides: {method: {kind: rejection}}}]\n"
    text = document(server, schedule={"compare": {"enabled": True, "cron": "0 0 4 1 * *"}}) + methods
    done = publishing.publish(cluster_of(text), text, [], "compare")
    assert done.name == "thinksafe-compare"
    (made,) = server.recurring_runs
    assert (made["display_name"], made["trigger"]["cron_schedule"]["cron"]) == ("thinksafe-compare", "0 0 4 1 * *")
    assert not made["runtime_config"].get("parameters")
    spec, _ = server.packages[done.version_id]
    gates = [of for of in spec["deploymentSpec"]["executors"].values() if of["container"]["command"][1] == "gate"]
    assert len(gates) == 2
    assert publishing.publish(cluster_of(text), text, [], "compare").changes == []


def test_a_schedule_of_comparisons_needs_methods(server: KfpServer) -> None:
    with pytest.raises(ConfigError, match="compare does not list two methods"):
        cluster_of(document(server, schedule={"compare": {"enabled": True}}))
