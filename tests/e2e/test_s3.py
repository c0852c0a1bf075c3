"""The micro recipe with its artifacts in a real S3 server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from micro_runs import Run
from s3_servers import bucket, real_s3

from thinksafe.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_the_whole_pipeline_runs_against_ceph(
    micro: Run, run_recipe: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_s3(tmp_path / "ceph") as server, bucket(server, monkeypatch) as root:
        run = run_recipe(tmp_path / "run", "micro", "--artifacts", root)
        assert run.code == 0, run.text
        for name in ("decision.json", "metrics.json"):
            assert (run.folder / name).read_bytes() == (micro.folder / name).read_bytes()
        assert not (run.folder / "store").exists()
        store = open_store(root)
        assert store.keys("promotions/") == ["promotions/micro-student/000001.json"]
        assert store.keys("chunks/") == open_store(str(micro.folder / "store")).keys("chunks/")
        secret = server.secret_key.encode()
        assert not [path for path in run.folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
        assert not [key for key in store.keys("") if secret in store.get(key)]
