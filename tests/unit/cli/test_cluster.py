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
        config.write_text(cluster_document(kfp={"host": server.address}))
        assert "there is no recurring run" in cli("schedule", config).out
        first = cli("publish", config)
        assert first.code == 0, first.err
        assert "made pipeline thinksafe-realign" in first.out
        assert cli("publish", config).out.startswith("nothing to change")
        shown = cli("schedule", config)
        assert shown.code == 0
        assert "enabled, '0 0 3 * * 0'" in shown.out
        submitted = cli("submit", config, "--name", "by hand")
        assert submitted.code == 0, submitted.err
        assert server.runs[0]["run_id"] in submitted.out
        assert "removed 1 recurring run" in cli("schedule", config, "--remove").out
        again = cli("schedule", config, "--remove")
        assert (again.code, again.out) == (0, "there was none\n")


@pytest.mark.parametrize("command", ["publish", "submit", "schedule"])
def test_a_config_without_cluster_is_refused(cli: Callable[..., Any], command: str) -> None:
    ended = cli(command, "micro")
    assert ended.code == 2
    assert "no section cluster" in ended.err


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
