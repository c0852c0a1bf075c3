"""The images, and the micro pipeline in them: Kubeflow's local runner on a real Docker daemon."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from docker_images import BASE, CPU, TRAINER, build_images, docker_daemon
from micro_runs import COMMAND, Run
from mlflow_servers import mlflow_server
from postgres import missing, postgres
from s3_servers import bucket, moto_s3

from thinksafe.store import open_store
from thinksafe_pipelines.local.containers import LABEL, Containers

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

MOST_ON_BASE = 565_000_000
"""Bytes of the image cpu without its base."""
LEFT_OUT = (
    "databricks.sdk", "fontTools.ttLib", "hf_xet", "pandas.tests", "PIL._avif", "pyarrow._flight", "scipy.io",
    "scipy.signal", "scipy.stats", "sklearn", "statsmodels", "tokenizers", "torch", "transformers",
)
"""Large things that none of its stages imports."""
IMPORTS = (
    "boto3", "datasets", "jinja2", "kfp.client", "kfp.compiler", "kfp.kubernetes", "kubernetes.watch", "mpmath",
    "matplotlib.backends.backend_svg", "mlflow", "mlflow.server.fastapi_app", "psycopg", "psycopg2", "pyarrow.parquet",
    "scipy.optimize", "scipy.special", "thinksafe_pipelines.kfp.publishing",
)
"""What its stages and commands, the hooks of the chart and the bundled MLflow import, late ones included."""
START_SECONDS = 240


@pytest.fixture(scope="module", autouse=True)
def _images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("docker")
    with docker_daemon(folder):
        build_images(folder)
        yield


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_micro_pipeline_in_containers_decides_as_on_the_host(
    micro: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINKSAFE_IMAGE_CPU", CPU)
    monkeypatch.setenv("THINKSAFE_IMAGE_SAMPLER", TRAINER)
    monkeypatch.setenv("THINKSAFE_IMAGE_TRAINER", TRAINER)
    out = tmp_path / "run"
    with (
        moto_s3() as server, bucket(server, monkeypatch) as root, mlflow_server(tmp_path / "mlflow") as tracking,
    ):
        done = subprocess.run(
            [COMMAND, "run", "micro", "--runner", "docker", "--out", str(out), "--artifacts", root,
             "--tracking-uri", tracking.uri],
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert open_store(root).keys("promotions/") == ["promotions/micro-student/000001.json"]
    inside, outside = (json.loads((folder / "decision.json").read_text()) for folder in (out, micro.folder))
    assert (inside["passed"], inside["stopped_by"]) == (outside["passed"], outside["stopped_by"])
    checks = {check["name"]: check for check in inside["checks"]}
    assert list(checks) == [check["name"] for check in outside["checks"]]
    for check in outside["checks"]:
        assert checks[check["name"]]["passed"] == check["passed"], check["name"]
        assert checks[check["name"]]["value"] == pytest.approx(check["value"], abs=0.01), check["name"]
    assert docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={out}") == "", "containers were left behind"


def test_a_container_that_fails_at_once_is_never_a_success(tmp_path: Path) -> None:
    """Kubeflow's own runner takes one in 25 for a success: Docker has removed it before its exit code is read."""
    containers = Containers(tmp_path, (CPU,))
    containers.prepare()

    def code(number: int) -> int:
        command = ["python", "-c", f"import sys; print({number}); sys.exit({1 + number % 3})"]
        return containers.start(CPU, command, {}, tmp_path / f"{number}.log").wait()

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(code, range(40)))
    assert codes == [1 + number % 3 for number in range(40)]
    assert [(tmp_path / f"{number}.log").read_text().strip() for number in range(40)] == [str(n) for n in range(40)]


def test_a_stage_that_is_told_to_stop_stops(tmp_path: Path) -> None:
    containers = Containers(tmp_path, (CPU,))
    containers.prepare()
    process = containers.start(CPU, ["python", "-c", "import time; time.sleep(600)"], {}, tmp_path / "log")
    assert process.poll() is None
    process.kill()
    assert process.wait() == process.poll() == -9


@pytest.mark.parametrize("image", [CPU, TRAINER])
def test_an_image_is_small_in_rights(image: str) -> None:
    found: Any = json.loads(docker("image", "inspect", image))[0]
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["Entrypoint"] is None, "a cluster's command replaces it, docker's does not"
    labels = found["Config"]["Labels"]
    assert {"title", "description", "licenses", "version", "revision"} <= {name.rsplit(".", 1)[1] for name in labels}
    secrets = [value for name, value in os.environ.items() if "SECRET" in name or "TOKEN" in name]
    history = docker("image", "history", "--no-trunc", image)
    assert not [secret for secret in secrets if secret and secret in history]
    locked = (
        "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL", "--user", "12345",
    )
    assert "Usage" in docker(*locked, image, "thinksafe", "--help")
    tools = "import shutil; print([tool for tool in ('pip', 'gcc', 'cc', 'make', 'git') if shutil.which(tool)])"
    assert docker(*locked, image, "python", "-c", tools).strip() == "[]"


def test_what_is_in_which_image() -> None:
    names = (
        "accelerate", "kfp", "kubernetes", "openai", "peft", "sklearn", "statsmodels", "torch", "transformers", "trl",
    )
    code = f"import importlib.util as u; print(*[m for m in {names} if u.find_spec(m)])"
    assert docker("run", "--rm", CPU, "python", "-c", code).split() == ["kfp", "kubernetes"]
    assert set(docker("run", "--rm", TRAINER, "python", "-c", code).split()) == set(names)


def test_the_image_cpu_is_small_and_has_all_that_it_imports() -> None:
    size = int(docker("image", "inspect", "--format", "{{.Size}}", CPU))
    assert size - int(docker("image", "inspect", "--format", "{{.Size}}", BASE)) < MOST_ON_BASE
    code = f"from importlib import import_module as i; print(*[i(m).__name__ for m in {IMPORTS}])"
    assert docker("run", "--rm", "--read-only", "--tmpfs", "/tmp", CPU, "python", "-c", code).split() == list(IMPORTS)


def test_what_was_left_out_of_the_image_cpu_does_not_come_back() -> None:
    code = (
        "import importlib.util as u\n"
        "def there(m):\n"
        "    return (not (p := m.rpartition('.')[0]) or there(p)) and u.find_spec(m) is not None\n"
        f"print(*[m for m in {LEFT_OUT} if there(m)])"
    )
    assert docker("run", "--rm", CPU, "python", "-c", code).split() == []
    symbols = (
        "import pathlib, struct, sysconfig\n"
        "libraries = pathlib.Path(sysconfig.get_path('purelib')).rglob('*.so*')\n"
        "print(*[p for p in libraries if struct.unpack_from('<Q', p.read_bytes(), 40) != (0,)])"
    )
    assert docker("run", "--rm", CPU, "python", "-c", symbols).split() == []


def test_every_library_of_the_image_cpu_loads() -> None:
    """Without its symbols, and without the libraries that were removed."""
    code = (
        "import ctypes, os, pathlib, sysconfig\n"
        "for path in pathlib.Path(sysconfig.get_path('purelib')).rglob('*.so*'):\n"
        "    ctypes.CDLL(str(path))\n"
        "print('all', flush=True)\n"
        "os._exit(0)  # modules that were never initialized cannot be finalized"
    )
    assert docker("run", "--rm", CPU, "python", "-c", code).strip() == "all"


def test_the_image_cpu_has_its_bytecode() -> None:
    """It cannot write any; without it mlflow alone takes eight more seconds to import."""
    code = "import mlflow, pathlib; print(pathlib.Path(mlflow.__cached__).is_file())"
    assert docker("run", "--rm", CPU, "python", "-c", code).strip() == "True"


@pytest.mark.skipif(missing() != "", reason=missing())
@pytest.mark.parametrize("dialect", ["postgresql", "postgresql+psycopg2"])
def test_the_image_cpu_serves_mlflow_from_postgresql(dialect: str) -> None:
    """As the chart starts it."""
    from mlflow import MlflowClient

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with postgres() as server:
        uri = f"{dialect}:{server.uri.partition(':')[2]}"
        container = docker(
            "run", "--detach", "--network", "host", "--read-only", "--tmpfs", "/tmp",
            "--env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "--env", f"MLFLOW_BACKEND_STORE_URI={uri}",
            CPU, "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1", "--serve-artifacts",
            "--artifacts-destination=/tmp/artifacts",
        ).strip()
        try:
            client = MlflowClient(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + START_SECONDS
            while not _healthy(port):
                assert time.monotonic() < deadline, docker("logs", container)
                time.sleep(1)
            run = client.create_run(client.create_experiment("served")).info.run_id
            client.log_text(run, "kept", "note.txt")
            assert {found.name for found in client.search_experiments()} == {"Default", "served"}
            assert [found.path for found in client.list_artifacts(run)] == ["note.txt"]
        finally:
            docker("rm", "--force", container)


def _healthy(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except OSError:
        return False
    return True


def test_a_missing_image_or_mount_is_named_before_anything_runs(tmp_path: Path) -> None:
    def run(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, "run", "micro", "--runner", "docker", "--out", str(tmp_path / "run"), *options],
            env={**os.environ, **variables}, capture_output=True, text=True, check=False,
        )

    done = run(THINKSAFE_IMAGE="thinksafe/none:1")
    assert (done.returncode, "thinksafe/none:1 is not on this machine" in done.stderr) == (2, True), done.stderr
    done = run("--mount", str(tmp_path / "nowhere"), THINKSAFE_IMAGE=CPU)
    assert (done.returncode, "nowhere to mount" in done.stderr) == (2, True), done.stderr
    done = run(DOCKER_HOST="tcp://127.0.0.1:9")
    assert (done.returncode, "No Docker daemon answers" in done.stderr) == (2, True), done.stderr
