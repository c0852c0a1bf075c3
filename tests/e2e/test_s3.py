"""The micro recipe with its artifacts in a real S3 server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ceph import stranger
from micro_runs import Run, execute
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


def test_a_run_without_rights_or_without_a_server_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_s3(tmp_path / "ceph") as server, bucket(server, monkeypatch) as root:
        for name, value in stranger(tmp_path / "ceph", server).environment.items():
            monkeypatch.setenv(name, value)
        refused = execute(tmp_path / "refused", "micro", "--artifacts", root)
        missing = execute(tmp_path / "missing", "micro", "--artifacts", "s3://no-such-bucket/x")
        with monkeypatch.context() as patch:
            patch.delenv("AWS_ACCESS_KEY_ID")
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
                patch.setenv(name, "/nonexistent")
            anonymous = execute(tmp_path / "anonymous", "micro", "--artifacts", root)
    gone = execute(tmp_path / "gone", "micro", "--artifacts", root)
    assert (refused.code, missing.code, anonymous.code, gone.code) == (1, 1, 2, 1)
    assert "(AccessDenied)" in refused.text
    assert "Give these credentials the right to read, write and list" in refused.text
    assert "(NoSuchBucket)" in missing.text
    assert "Create the bucket" in missing.text
    assert "Set AWS_ACCESS_KEY_ID" in anonymous.text
    assert "Check AWS_ENDPOINT_URL" in gone.text
    for run in (refused, missing, anonymous, gone):
        assert "Traceback" not in run.text
        assert not run.folder.exists()
