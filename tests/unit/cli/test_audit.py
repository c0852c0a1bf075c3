"""``thinksafe audit sample`` and ``score`` as people call them; the run behind them is written by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judged_runs import judge_run

from thinksafe.audit.kept import kept
from thinksafe.audit.records import AuditKey, AuditScores
from thinksafe.cli.local import LocalRun
from thinksafe.errors import InputError
from thinksafe.jsonl import read_record, read_records, write_json
from thinksafe.records import Sample
from thinksafe.store.local import LocalStore

SECRET = "SECRET-TEXT "


@pytest.fixture
def folder(tmp_path: Path, make_sample: Callable[..., Sample]) -> Path:
    """The folder of a local run whose texts all hold ``SECRET``."""
    out = tmp_path / "out"
    out.mkdir()
    write_json(out / "run.json", LocalRun(run_id="run-1", recipe="micro", config_digest="d"))
    judge_run(LocalStore(out / "store"), make_sample, text=SECRET)
    return out


def fill(path: Path, label: Callable[[AuditKey], str]) -> None:
    """Label a CSV file as a person would."""
    keys = {key.id: key for key in read_records(path.with_suffix("").with_suffix(".key.jsonl"), AuditKey)}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["label"] = label(keys[row["id"]])
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def test_sample_label_score(cli: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    ended = cli("audit", "sample", folder, "--out", path, "--size", 90)
    assert ended.code == 0, ended.err
    assert "90 verdicts to label" in ended.out
    assert SECRET.strip() in path.read_text("utf-8-sig")
    assert SECRET.strip() not in ended.out + ended.err
    fill(path, lambda key: "unsure" if key.verdict == "unknown" else key.verdict)
    ended = cli("audit", "score", path, "--out", tmp_path / "scores.json")
    assert ended.code == 0, ended.err
    assert SECRET.strip() not in ended.out + ended.err + (tmp_path / "scores.json").read_text()
    assert "Unsure labels: " in ended.out
    assert "Threshold of llama-guard-3" in ended.out
    scores = read_record(tmp_path / "scores.json", AuditScores)
    assert (scores.labels, scores.unlabelled, scores.run_ids) == (90, 0, ("run-1",))
    everything = scores.domains[0]
    assert everything.rates_if_unsure_is_safe is not None
    assert everything.rates.precision.value == everything.rates.recall.value == 1
    assert everything.rates_if_unsure_is_safe.specificity.value is not None
    assert everything.rates_if_unsure_is_safe.specificity.value < 1


def test_an_audit_of_a_panel_shows_each_member(
    cli: Callable[..., Any], folder: Path, tmp_path: Path, make_sample: Callable[..., Sample]
) -> None:
    judge_run(LocalStore(folder / "store"), make_sample, roles=("candidate",), panel=True, chunk=39)
    path = tmp_path / "audit.csv"
    assert cli("audit", "sample", folder, "--role", "candidate", "--out", path, "--size", 60).code == 0
    fill(path, lambda key: key.members[1].verdict if key.members[1].verdict != "unknown" else "unsafe")
    ended = cli("audit", "score", path, "--out", tmp_path / "scores.json")
    assert ended.code == 0, ended.err
    assert "Each member of the panel by the same labels" in ended.out
    assert "wildguard: candidate" in ended.out
    assert "Threshold of qwen3guard 1 with the highest" in ended.out
    members = [of for of in read_record(tmp_path / "scores.json", AuditScores).domains if of.panel]
    assert {of.guard for of in members} == {"qwen3guard 1", "qwen3guard 2", "wildguard"}
    assert all((of.rates.recall.value == 1) == (of.guard == "qwen3guard 2") for of in members)


def test_the_options_of_a_sample(cli: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    assert cli("audit", "sample", folder).code == 2, "nothing says where to"
    out = tmp_path / "a.jsonl"
    assert cli("audit", "sample", folder, "--out", out, "--with-verdicts").code == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert len(rows) == 300
    assert all(row["probability"] * row["weight"] == pytest.approx(1) for row in rows)
    assert cli("audit", "sample", folder, "--out", out).code == 2, "a file that may hold labels is kept"
    options = "--replace", "--size", 40, "--role", "candidate", "--benchmark", "xstest", "--part", "answer"
    assert cli("audit", "sample", folder, "--out", out, *options).code == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [set(row) for row in rows] == [{"id", "label", "note", "prompt", "response"}] * 40


def test_a_run_in_a_store_by_its_id(cli: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    ended = cli("audit", "sample", "run-1", "--artifacts", folder / "store", "--out", out)
    assert ended.code == 0, ended.err
    assert cli("audit", "sample", "run-1", "--out", tmp_path / "b.jsonl").code == 2
    assert cli("audit", "sample", "run-9", "--artifacts", folder / "store", "--out", tmp_path / "b.jsonl").code == 2
    assert cli("audit", "sample", "../x", "--artifacts", folder / "store", "--out", tmp_path / "b.jsonl").code == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--out", "store/a.csv"], "inside the store"), (["--out", "a.txt"], "ends in .csv or .jsonl"),
        (["--out", "a.csv", "--size", "3"], "fewer than the"), (["--out", "a.csv", "--role", "champion"], "champion"),
        (["--out", "a.csv", "--part", "half"], "is not a part of a response"),
        (["--out", "a.csv", "--benchmark", "x"], "no verdicts on"),
    ],
)
def test_what_cannot_be_drawn(
    cli: Callable[..., Any], folder: Path, options: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    ended = cli("audit", "sample", folder, *options)
    assert ended.code == 2
    assert problem in ended.err
    assert not list(folder.glob("a.*"))


def test_bad_labels_and_missing_ones(cli: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    cli("audit", "sample", folder, "--out", path, "--size", 90)
    ended = cli("audit", "score", path)
    assert ended.code == 2
    assert "90 of 90 rows have no label (first id: a-" in ended.err
    fill(path, lambda key: "sort of")
    ended = cli("audit", "score", path)
    assert ended.code == 2
    assert "audit.csv, line 2 (id 'a-" in ended.err
    order: list[str] = []

    def all_but_second(key: AuditKey) -> str:
        order.append(key.id)
        return "" if len(order) == 2 else "safe"

    fill(path, all_but_second)
    ended = cli("audit", "score", path, "--partial")
    assert ended.code == 2
    assert f"the row {order[1]!r} has no label, but rows after it have one" in ended.err
    strata: set[str] = set()
    fill(path, lambda key: strata.add(key.stratum) or "safe")  # type: ignore[func-returns-value]
    place = iter(range(90))
    fill(path, lambda key: "safe" if next(place) < len(strata) else "")
    assert cli("audit", "score", path).code == 2
    ended = cli("audit", "score", path, "--partial")
    assert ended.code == 0, "the first rows are one of each stratum"
    assert "rows have no label; the rest of their strata stands in for them" in ended.out
    moved = path.rename(tmp_path / "labelled by ann.csv")
    ended = cli("audit", "score", moved)
    assert ended.code == 2
    assert "This sample has no key" in ended.err
    for sample in ("audit.csv", "audit.key.jsonl"):
        assert cli("audit", "score", moved, "--partial", "--sample", tmp_path / sample).code == 0


def test_scores_are_kept_with_their_run(cli: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    path, store = tmp_path / "audit.csv", LocalStore(folder / "store")
    cli("audit", "sample", folder, "--out", path, "--size", 90)
    fill(path, lambda key: "unsafe")
    assert kept(store, "run-1") == []
    for given in ([folder], ["run-1", "--artifacts", folder / "store"]):
        assert cli("audit", "score", path, "--out", tmp_path / "scores.json", "--run", *given).code == 0
    assert kept(store, "run-1") == [read_record(tmp_path / "scores.json", AuditScores)], "the same scores, once"
    fill(path, lambda key: "safe")
    assert cli("audit", "score", path, "--run", folder).code == 0
    assert len(kept(store, "run-1")) == 2
    assert all(SECRET.encode() not in store.get(key) for key in store.keys("audits/"))

    local = LocalRun(run_id="run-2", recipe="micro", config_digest="d")
    write_json(tmp_path / "other" / "run.json", local)
    for key in [*store.keys("runs/"), *store.keys("manifests/")]:
        data = store.get(key).replace(b'"run-1"', b'"run-2"')
        LocalStore(tmp_path / "other" / "store").put(key.replace("run-1", "run-2"), data)
    ended = cli("audit", "score", path, "--run", tmp_path / "other")
    assert "about run-1, not about run-2" in ended.err, ended.err
    store.put("audits/run-1/0.json", b"{}")
    with pytest.raises(InputError, match="does not contain the scores"):
        kept(store, "run-1")
