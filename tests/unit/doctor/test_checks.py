from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thinksafe.doctor.checks import Finding, failed, findings, ok
from thinksafe.errors import StageError


def broken() -> Iterator[Finding]:
    raise StageError("It is broken.", "Mend it.")


def odd() -> Iterator[Finding]:
    raise KeyError("secret value")


def test_one_failing_check_does_not_stop_the_others() -> None:
    found = list(findings([("a", broken), ("b", odd), ("c", lambda: [ok("c", "fine")])]))
    assert [(one.check, one.status) for one in found] == [("a", "failed"), ("b", "failed"), ("c", "ok")]
    assert found[0].action == "Mend it."
    assert "secret value" not in str(found[1])


def test_the_laptop_of_the_tests_is_well(cli: Callable[..., Any]) -> None:
    ended = cli("doctor", "micro", "--json")
    found = json.loads(ended.out)
    assert ended.code == (1 if any(one["status"] == "failed" for one in found) else 0)
    assert {one["check"] for one in found} >= {"python", "packages", "disk", "memory", "engine", "student", "gate"}
    assert all(one["action"] for one in found if one["status"] != "ok")


def test_a_recipe_for_gpus_is_refused_where_there_is_no_vllm(cli: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    ended = cli("doctor", "qwen3-0.6b", "--json")
    (engine,) = [one for one in json.loads(ended.out) if one["check"] == "engine"]
    assert engine["status"] in ("failed", "ok")  # ok with vLLM's CPU build
    assert ended.code == (1 if any(one["status"] == "failed" for one in json.loads(ended.out)) else 0)


def test_a_config_without_cluster_has_no_cluster_to_look_at(cli: Callable[..., Any]) -> None:
    ended = cli("doctor", "micro", "--cluster")
    assert ended.code == 2
    assert "no cluster section" in ended.err


def test_a_log_has_each_message_on_one_line(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    host = "s3." + "very-long-name." * 10 + "example"
    checks = [("s3", lambda: [failed("s3", f"{host} does not answer.", f"Check {host}.")])]
    monkeypatch.setattr("thinksafe.doctor.laptop.laptop_checks", lambda config: checks)
    ended = cli("doctor")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        f"✕ s3              {host} does not answer.", f"                  → Check {host}.",
        "0 passed, 0 warnings, 1 failed",
    ]
