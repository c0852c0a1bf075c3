"""S3 servers for tests: moto's over HTTP (fast, in memory), and Ceph's gateway (real)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ceph import S3Server, ceph_s3, missing_programs

BUCKET = "thinksafe"


@contextmanager
def moto_s3() -> Iterator[S3Server]:
    """Start moto's server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, "moto's server ended"
            assert time.monotonic() < deadline, "moto's server did not start"
            time.sleep(0.1)
        yield S3Server(f"http://127.0.0.1:{port}", "key", "secret")
    finally:
        server.terminate()
        server.wait()


@contextmanager
def real_s3(folder: Path) -> Iterator[S3Server]:
    """Start Ceph's gateway; skips, with the reason, where it is not installed."""
    if missing := missing_programs():
        pytest.skip(f"Ceph is not installed (no {', '.join(missing)})")
    with ceph_s3(folder) as server:
        yield server


@contextmanager
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Point boto3 at a server, make the bucket and yield a store root in it."""
    from thinksafe.store.s3 import s3_client

    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    s3_client().create_bucket(Bucket=BUCKET)
    yield f"s3://{BUCKET}/tests"
