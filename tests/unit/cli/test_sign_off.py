"""approve and reject as commands, on a store; who says it is the user of this process."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_configs import cluster_document
from fleets import World
from kfp_server import kfp_server
from kube_api import KubeApi
from kube_http import kube_api

from thinksafe.registry import approvals, ledger
from thinksafe.run.record import find_record
from thinksafe.store.local import LocalStore

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return LocalStore(tmp_path / "store")


def ask(store: LocalStore, model: str = "m", run: str = "one", version: str = "1", **approval: Any) -> World:
    """Write a run that asks the user of this process, now, with the settings changed as given."""
    world = World(store)
    world.ask(model, run, version, 0)
    plan = find_record(store, run, "plan")
    assert plan is not None
    section = plan.details["sections"]["promote"]
    section["promotion"]["approval"] |= {"required": 1, "by": [ME, "bob"], "expires": "9999d", **approval}
    world.record(run, "plan", 0, details={**plan.details, "sections": {"promote": section}})
    key = f"approvals/{model}/{version}/000001.json"
    entry = approvals.entries(store, model, version)[0].model_copy(update={"expires": "2999-01-01T00:00:00+00:00"})
    store.put(key, entry.model_dump_json().encode())
    return world


def test_an_approval_says_what_was_approved_and_what_promotes_it(cli: Callable[..., Any], store: LocalStore) -> None:
    ask(store)
    digest = approvals.entries(store, "m", "1")[0].subject.decision
    ended = cli(
        "approve", "m", "--version", "1", "--reason", "read  the\nreport", "--decision", digest[:12],
        "--artifacts", store.root,
    )
    assert ended.code == 0, ended.err
    assert f"m version 1, decision {digest[:12]}: Passed." in ended.out
    assert f"approved: 1 of 1 approvals, by {ME}; open until " in ended.out
    assert "thinksafe submit CONFIG --promote 1" in ended.out
    said = approvals.entries(store, "m", "1")[1]
    assert (said.who, said.confirmed_by, said.reason) == (ME, "", "read the report")
    again = cli("approve", "m", "--version", "1", "--reason", "x", "--artifacts", store.root)
    assert (again.code, "has approved already" in again.err) == (2, True)
    assert len(approvals.entries(store, "m", "1")) == 2


def test_a_rejection_is_final(cli: Callable[..., Any], store: LocalStore) -> None:
    ask(store)
    ended = cli("reject", "m", "--version", "1", "--reason", "not yet", "--artifacts", store.root)
    assert (ended.code, "rejected: rejected by" in ended.out) == (0, True), ended.err
    again = cli("approve", "m", "--version", "1", "--reason", "x", "--artifacts", store.root)
    assert (again.code, "not yet" in again.err) == (2, True)


@pytest.mark.parametrize(("arguments", "approval", "code", "message"), [
    (["m", "--version", "9"], {}, 2, "knows no version 9 of 'm'"),
    (["other", "--version", "1"], {}, 2, "knows no version 1 of 'other'"),
    (["m", "--version", "one"], {}, 2, "not a version"),
    (["../m", "--version", "1"], {}, 2, "registered model name"),
    (["m", "--version", "1"], {"by": ["bob"]}, 2, "not in promotion.approval.by"),
    (["m", "--version", "1"], {"authors": [ME], "required": 1}, 2, "author of the configuration"),
    (["m", "--version", "1", "--decision", "0" * 12], {}, 2, "has the decision"),
    (["m", "--version", "1", "--reason", "x" * 10_000], {}, 2, "10000 characters"),
    (["m", "--version", "1", "--reason", "a\x1b[2Jb"], {}, 2, "cannot be printed"),
])
def test_what_does_not_count_is_refused_and_not_written(
    cli: Callable[..., Any], store: LocalStore, arguments: list[str], approval: dict[str, Any], code: int, message: str
) -> None:
    ask(store, **approval)
    before = store.keys("")
    reason = [] if "--reason" in arguments else ["--reason", "x"]
    ended = cli("approve", *arguments, *reason, "--artifacts", store.root)
    assert (ended.code, message in " ".join(ended.err.split())) == (code, True), ended.err
    assert store.keys("") == before


def test_another_promotion_meanwhile_is_told(cli: Callable[..., Any], store: LocalStore) -> None:
    world = ask(store, version="2")
    world.append("m", "other", 0)
    ended = cli("approve", "m", "--version", "2", "--reason", "x", "--artifacts", store.root)
    assert ended.code == 1
    assert "the promotion of run other" in " ".join(ended.err.split())
    assert len(approvals.entries(store, "m", "2")) == 1


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    with kube_api(tmp_path, monkeypatch) as api:
        yield api


def test_on_a_cluster_the_name_is_what_the_api_confirms(
    cli: Callable[..., Any], store: LocalStore, api: KubeApi
) -> None:
    ask(store, identity="kubernetes", by=["oidc:ann@example.com"])
    api.contents.user = "oidc:mallory@example.com"
    arguments = ("approve", "m", "--version", "1", "--reason", "fine", "--artifacts", store.root)
    assert cli(*arguments).code == 2
    api.contents.user = "oidc:ann@example.com"
    ended = cli(*arguments)
    assert ended.code == 0, ended.err
    said = approvals.entries(store, "m", "1")[-1]
    assert (said.who, said.confirmed_by) == ("oidc:ann@example.com", api.url)


def test_the_history_shows_what_people_said(cli: Callable[..., Any], store: LocalStore, tmp_path: Path) -> None:
    ask(store)
    assert cli("approve", "m", "--version", "1", "--reason", "all <b>well</b>", "--artifacts", store.root).code == 0
    page = tmp_path / "history.html"
    ended = cli("history", "m", "--artifacts", store.root, "--html", page)
    assert ended.code == 0, ended.err
    words = " ".join(ended.out.split())
    assert "request" in words
    assert "approve" in words
    text = page.read_text("utf-8")
    assert "all &lt;b&gt;well&lt;/b&gt;" in text
    assert f"{ME} (unverified)" in text


@pytest.mark.slow
def test_a_submitted_promotion_names_the_run_that_waits(
    cli: Callable[..., Any], store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thinksafe.cli import sign_off

    ask(store, model="micro-student")
    opened = []
    real = sign_off.approved_run

    def approved_run(root: str, model: str, version: str) -> str:
        opened.append((root, model, version))
        return real(store.root, model, version)  # the store of the config is one in S3

    monkeypatch.setattr("thinksafe.cli.cluster.approved_run", approved_run)
    config = tmp_path / "config.yaml"
    approval = {"required": 1, "by": ["bob"], "identity": "system"}
    with kfp_server() as server:
        config.write_text(cluster_document(kfp={"host": server.address}))
        override = ["--set", f"promotion={{approval: {approval}}}".replace("'", "")]
        early = cli("submit", config, *override, "--promote", "1")
        assert (early.code, "lacks approvals" in early.err) == (2, True)
        assert server.runs == []
        assert cli("approve", "micro-student", "--version", "1", "--reason", "x", "--artifacts", store.root).code == 0
        ended = cli("submit", config, *override, "--promote", "1")
        assert ended.code == 0, ended.err
        assert server.runs[0]["runtime_config"]["parameters"] == {"run_id": "one"}
        assert opened[-1][1:] == ("micro-student", "1")
        assert [item["display_name"] for item in server.pipelines] == ["thinksafe-promote"]
        published = cli("publish", config, *override)
        assert published.code == 0, published.err
        assert {item["display_name"] for item in server.pipelines} == {
            "thinksafe-promote", "thinksafe-realign", "thinksafe-evaluate"
        }
        authors = [
            spec["root"]["inputDefinitions"]["parameters"]["author"]["defaultValue"]
            for spec, _ in server.packages.values() if spec["pipelineInfo"]["name"] == "realign"
        ]
        assert authors == [ME]
    assert ledger.entries(store, "micro-student") == []
