"""publish, submit and schedule as commands, against a server that speaks KFP's API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster_configs import cluster_document
from kfp_server import kfp_server


@pytest.mark.slow
def test_the_life_of_a_pipeline(cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    with kfp_server() as server:
        schedule = {"enabled": True, "evaluate": {"enabled": True}}
        config.write_text(cluster_document(kfp={"host": server.address}, schedule=schedule))
        assert "there is no recurring run" in cli("schedule", config).out
        first = cli("publish", config)
        assert first.code == 0, first.err
        assert "made pipeline thinksafe-realign" in first.out
        assert "made pipeline thinksafe-evaluate" in first.out
        assert cli("publish", config).out.count("nothing to change") == 2
        shown = cli("schedule", config)
        assert shown.code == 0
        assert "enabled, '0 0 3 * * 0'" in shown.out
        assert "enabled, '0 0 3 * * 3'" in shown.out
        assert "0 0 3 * * 0" not in cli("schedule", config, "--pipeline", "evaluate").out
        submitted = cli("submit", config, "--name", "by hand")
        assert submitted.code == 0, submitted.err
        assert server.runs[0]["run_id"] in submitted.out
        assert cli("submit", config, "--pipeline", "evaluate", "--model", "champion", "--fresh").code == 0
        assert server.runs[1]["runtime_config"]["parameters"] == {"model": "champion", "fresh": True}
        assert "removed 2 recurring runs" in cli("schedule", config, "--remove").out
        again = cli("schedule", config, "--remove")
        assert (again.code, again.out) == (0, "no recurring run\n")


def test_what_waits_is_listed_and_not_removed(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    with kfp_server() as server:
        made = {
            "recurring_run_id": "old", "experiment_id": "e", "display_name": "ours", "mode": "ENABLE",
            "description": "Managed by thinksafe publish; settings abc", "created_at": "2026-01-01T00:00:00Z",
            "trigger": {"cron_schedule": {"cron": "0 0 3 * * 0"}},
            "pipeline_version_reference": {"pipeline_id": "p", "pipeline_version_id": "v"},
        }
        server.experiments.append({"experiment_id": "e", "display_name": "thinksafe", "namespace": ""})
        server.recurring_runs.append(made)
        run = server.fire("old")
        where = ["--set", f"cluster.kfp.host={server.address}", "--set", "cluster.kfp.pipeline=ours"]
        config.write_text(cluster_document(kfp={"host": server.address, "pipeline": "ours"}))
        for named in ([config], where):
            ended = cli("schedule", *named, "--remove")
            assert ended.code == 1
            assert f"old: run {run} (RUNNING)" in " ".join(ended.err.split())
            assert "--now" in ended.err
            shown = cli("schedule", *named)
            assert "ours old: disabled" in shown.out
            assert f"after the end of run {run} (RUNNING)" in shown.out
        assert server.lost == []
        assert cli("schedule", *where, "--remove", "--now").out == "removed 1 recurring run\n"
        assert server.lost == [run]
    assert cli("schedule", config, "--now").code == 2


def test_an_unreachable_server_names_the_command_that_works_later(cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    kfp = {"host": "http://127.0.0.1:9", "pipeline": "ours"}
    config.write_text(cluster_document(kfp=kfp))
    ended = cli("schedule", config, "--remove")
    command = "thinksafe schedule --remove --set cluster.kfp.host=http://127.0.0.1:9 --set cluster.kfp.pipeline=ours"
    assert ended.code == 1
    assert command in " ".join(ended.err.split())
    users = {"multi_user": True, "host": "http://127.0.0.1:9"}
    config.write_text(cluster_document("multi-user", kfp=users, namespace="team"))
    said = " ".join(cli("schedule", config, "--remove").err.split())
    assert "--set cluster.kfp.access=token --set cluster.kfp.multi_user=true --set cluster.namespace=team" in said


@pytest.mark.parametrize("command", ["publish", "submit", "schedule"])
def test_a_config_without_cluster_is_refused(cli: Callable[..., Any], command: str) -> None:
    ended = cli(command, "micro")
    assert ended.code == 2
    assert "no section cluster" in ended.err


def test_a_model_is_named_for_an_evaluation_only(cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(cluster_document(kfp={"host": "http://127.0.0.1:9"}))
    ended = cli("submit", config, "--model", "champion")
    assert ended.code == 2
    assert "--pipeline evaluate" in ended.err


@pytest.mark.parametrize("command", ["publish", "schedule"])
def test_an_unknown_pipeline_is_bad_input(cli: Callable[..., Any], tmp_path: Path, command: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(cluster_document(kfp={"host": "http://127.0.0.1:9"}))
    ended = cli(command, config, "--pipeline", "repair")
    assert ended.code == 2
    assert "Pipelines: realign, evaluate, compare" in ended.err


def test_an_unreachable_server_exits_1_and_says_what_to_do(cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(cluster_document(kfp={"host": "http://127.0.0.1:9"}))
    ended = cli("schedule", config, "--remove")
    assert ended.code == 1
    assert "cannot be reached" in ended.err
    assert "cluster.kfp.host" in ended.err


def test_a_loose_config_is_not_published(cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(cluster_document(extends="qwen3-0.6b"))
    for command in (["publish", config], ["compile", config, "-o", tmp_path / "x.yaml"]):
        ended = cli(*command)
        assert ended.code == 2
        assert "not pinned" in ended.err


def test_a_run_is_not_named_by_a_placeholder(cli: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(cluster_document(kfp={"host": "http://127.0.0.1:9"}))
    ended = cli("submit", config, "--name", "{{workflow.name}}")
    assert ended.code == 2
    assert "placeholder" in ended.err
