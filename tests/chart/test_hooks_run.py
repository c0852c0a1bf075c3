"""The hooks' own commands, run on the rendered config against a server that speaks KFP's API."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helm_chart import config_text, manifests, one, value_set
from kfp_server import kfp_server

pytestmark = pytest.mark.slow


def _run(found, name, folder):
    done = _ended(found, name, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _ended(found, name, folder):
    """Run a hook as its container does, but for the place of the config document and the host's own token."""
    path = folder / "config.yaml"
    path.write_text(config_text(found), "utf-8")
    (container,) = one(found, "Job", f"-{name}")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["thinksafe"]
    arguments = [argument.replace("/etc/thinksafe/config.yaml", str(path)) for argument in container["args"]]
    plain = {item["name"]: item["value"] for item in container["env"] if "value" in item and item["name"] != "HOME"}
    program = Path(sys.executable).with_name("thinksafe")
    return subprocess.run(
        [str(program), *arguments], env={**os.environ, "NO_COLOR": "1", **plain}, cwd=folder, capture_output=True,
        text=True, timeout=120, check=False,
    )


@pytest.mark.parametrize(("name", "multi_user"), [("default", False), ("multi-user", True)])
def test_publish_then_unschedule(tmp_path, name, multi_user):
    schedule = {"enabled": True, "evaluate": {"enabled": True}}
    with kfp_server(multi_user=multi_user) as server:
        values = {"cluster": {"kfp": {"host": server.address}, "schedule": schedule}}
        found = manifests(value_set(name), values=values, folder=tmp_path)
        _run(found, "publish", tmp_path)
        assert len(server.pipelines) == len(server.versions) == 2
        assert len(server.experiments) == 1
        assert len(server.recurring_runs) == 2
        account = one(found, "ServiceAccount", "-pipeline")["metadata"]["name"]
        assert {recurring["service_account"] for recurring in server.recurring_runs} == {account}
        made = list(server.changes)
        again = _run(found, "publish", tmp_path)
        assert again.count("nothing to change") == 2, "what helm upgrade does with the same values"
        assert server.changes == made
        _run(found, "unschedule", tmp_path)
        assert server.recurring_runs == []
        _run(found, "unschedule", tmp_path)  # a second try of the hook finds nothing, and that is no failure


def test_an_upgrade_and_a_removal_keep_the_run_under_way(tmp_path):
    with kfp_server() as server:
        def deployed(name):
            cluster = {"kfp": {"host": server.address, "experiment": name}, "schedule": {"enabled": True}}
            found = manifests(value_set("default"), values={"cluster": cluster}, folder=tmp_path)
            return found, _run(found, "publish", tmp_path)

        deployed("one")
        run = server.fire(server.recurring_runs[0]["recurring_run_id"])
        found, said = deployed("two")
        assert f"run {run} (RUNNING) under way" in said
        assert [item["mode"] for item in server.recurring_runs] == ["DISABLE", "ENABLE"]
        with pytest.raises(AssertionError, match=f"run {run} \\(RUNNING\\)"):
            _run(found, "unschedule", tmp_path)
        assert [item["mode"] for item in server.recurring_runs] == ["DISABLE"]
        assert server.lost == []
        server.finish(run)
        _run(found, "unschedule", tmp_path)
        assert server.recurring_runs == []


def test_a_rollback_publishes_the_older_version_again(tmp_path):
    with kfp_server() as server:
        def deployed(name):
            config = {"registry": {"model": name}}
            values = {"config": config, "cluster": {"kfp": {"host": server.address}, "schedule": {"enabled": True}}}
            found = manifests(value_set("default"), values=values, folder=tmp_path)
            _run(found, "publish", tmp_path)
            (recurring,) = server.recurring_runs
            return recurring["pipeline_version_reference"]["pipeline_version_id"]

        first, second = deployed("one"), deployed("two")
        assert first != second
        assert deployed("one") == first
        assert len(server.versions) == 4, "two of each pipeline"


def test_a_refusal_fails_the_hook(tmp_path):
    with kfp_server(multi_user=False) as server:
        values = {"cluster": {"kfp": {"host": server.address}}}
        found = manifests(value_set("multi-user"), values=values, folder=tmp_path)
        with pytest.raises(AssertionError, match="answered 400"):
            _run(found, "publish", tmp_path)


def test_a_wrong_config_ends_with_the_exit_code_that_is_not_tried_again(tmp_path):
    found = manifests(value_set("default"), values={"config": {"sampling": {"sead": 1}}}, folder=tmp_path)
    done = _ended(found, "publish", tmp_path)
    policy = one(found, "Job", "-publish")["spec"]["podFailurePolicy"]
    assert done.returncode in policy["rules"][0]["onExitCodes"]["values"]
    assert "sead" in done.stderr
