"""The command `thinksafe fleet`: what it writes and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleets import World

from thinksafe.store.local import LocalStore


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(LocalStore(tmp_path / "store"))
    world.append("safe", "one", 5)
    world.evaluate("safe", "eval", 1)
    return world


def test_the_page_is_written_and_made_again(cli: Callable[..., Any], world: World, tmp_path: Path) -> None:
    out = tmp_path / "page"
    for _ in range(2):
        ended = cli("fleet", "--artifacts", world.store.root, "--out", str(out))
        assert (ended.code, ended.err) == (0, "")
        assert ended.out == f"wrote {out / 'index.html'}\n"
    page = (out / "index.html").read_text("utf-8")
    assert 'href="../store/reports/eval/report.html"' in page
    assert (out / "read.json").is_file()


def test_metrics_are_written_with_and_without_a_page(cli: Callable[..., Any], world: World, tmp_path: Path) -> None:
    file = tmp_path / "fleet.prom"
    ended = cli("fleet", "--artifacts", world.store.root, "--openmetrics", str(file))
    assert (ended.code, ended.out) == (0, f"wrote {file}\n")
    assert "thinksafe_model_harm_ratio{" in file.read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.prom", "store"]


def test_what_cannot_be_read_is_on_the_page_and_ends_with_1(
    cli: Callable[..., Any], world: World, tmp_path: Path
) -> None:
    ended = cli(
        "fleet", "--artifacts", world.store.root, "--artifacts", str(tmp_path / "none"), "--out", str(tmp_path / "page")
    )
    assert ended.code == 1
    assert "Not everything could be read: There is no folder" in ended.err
    assert "cannot be read" in (tmp_path / "page" / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    "options",
    [
        [], ["--out", "x"], ["--artifacts", "store"], ["--artifacts", "ftp://x", "--out", "page"],
        ["--artifacts", "", "--out", "page"], ["--artifacts", "s3://", "--out", "page"],
        ["--artifacts", "store", "--out", "ftp://x"],
    ],
)
def test_bad_input(
    cli: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = cli("fleet", *options)
    assert ended.code == 2, ended.err
    assert not (tmp_path / "page").exists()
