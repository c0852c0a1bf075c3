"""A Docker daemon and this project's images for tests: everything is made here, nothing is pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE, TAG = "thinksafe-test/base:bookworm-lean", "test"
CPU, TRAINER = f"thinksafe/cpu:{TAG}", f"thinksafe/trainer-cpu:{TAG}"
SECONDS = 60


@contextmanager
def docker_daemon(folder: Path) -> Iterator[None]:
    """Use the daemon that runs, or start one; skips the test, with the reason, where neither is possible."""
    if not _answers():
        if os.getuid() != 0 or not shutil.which("dockerd"):
            pytest.skip("no Docker daemon answers, and none can be started (apt-get install docker.io, as root)")
        with (folder / "dockerd.log").open("wb") as log:
            daemon = subprocess.Popen(["dockerd"], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(daemon, folder / "dockerd.log")
            yield
        finally:
            daemon.terminate()
            daemon.wait(SECONDS)
    else:
        yield


def build_images(folder: Path) -> None:
    """Build the images cpu and trainer-cpu on a base made of Debian packages."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("no base image can be made (apt-get install mmdebstrap)")
    if subprocess.run(["docker", "image", "inspect", BASE], capture_output=True, check=False).returncode:
        rootfs = folder / "rootfs.tar"
        packages = "python3,python3-venv,ca-certificates"
        # without documentation, as the official images are made
        lean = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")]
        _run("mmdebstrap", "--quiet", "--variant=minbase", *lean, f"--include={packages}", "bookworm", str(rootfs))
        _run("docker", "import", str(rootfs), BASE)
        rootfs.unlink()
    _run(
        str(ROOT / "images" / "build"), "cpu", "trainer-cpu",
        environment={"BASE_IMAGE": BASE, "TAG": TAG, "PYTHON": sys.executable},
    )


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def _answers() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _wait(daemon: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while not _answers():
        if daemon.poll() is not None or time.monotonic() > end:
            daemon.kill()
            pytest.skip(f"dockerd does not start here: {log.read_text('utf-8', 'replace')[-500:]}")
        time.sleep(0.5)
