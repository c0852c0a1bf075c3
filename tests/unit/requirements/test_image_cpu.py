"""The image cpu holds what its stages import, and nothing large that they do not."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
OUT = {
    "accelerate", "asn1crypto", "dnspython", "docker", "email-validator", "formulaic", "gguf", "gunicorn", "hf-xet",
    "huey", "openai", "patsy", "peft", "safetensors", "scikit-learn", "skops", "statsmodels", "tokenizers", "torch",
    "transformers", "triton", "trl", "vllm",
}
ELSEWHERE = (
    "thinksafe/deploy/export.py", "thinksafe/deploy/verification.py", "thinksafe/judging/guards/", "thinksafe/micro/",
    "thinksafe/models/fetch.py", "thinksafe/models/loading.py", "thinksafe/models/vllm.py",
    "thinksafe/sampling/engines/", "thinksafe/training/", "pipelines/local/",
)
"""What runs in the other images or on a laptop: sample, judge, train, deploy, export, run, mirror."""
TYPES_ONLY = {"mypy_boto3_s3"}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "requirements"))
    monkeypatch.syspath_prepend(str(ROOT / "images"))
    return importlib.import_module


@pytest.fixture
def held(module) -> set[str]:
    return {package.name for package in module("lockfile").read(ROOT / "requirements" / "cpu.txt")}


def test_nothing_that_was_left_out_comes_back(held: set[str]) -> None:
    assert not held & OUT
    assert not [name for name in held if name.startswith(("nvidia-", "cuda-"))]


def test_everything_that_its_stages_import_is_in_it(held: set[str], module) -> None:
    distributions = packages_distributions()
    missing = set()
    for folder in ("thinksafe", "components", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            where = str(path.relative_to(ROOT))
            for name in {found.split(".")[0] for found in module("slim").imports(path)} - TYPES_ONLY:
                if name in sys.stdlib_module_names or name.startswith("thinksafe") or where.startswith(ELSEWHERE):
                    continue
                owners = {re.sub(r"[-_.]+", "-", owner).lower() for owner in distributions.get(name, [name])}
                if not owners & held:
                    missing.add((where, name))
    assert not missing


def test_mlflow_finds_a_driver_for_postgresql(held: set[str]) -> None:
    assert {"psycopg", "psycopg-binary", "psycopg2-binary"} <= held


def test_nothing_that_its_stages_import_is_removed_from_a_package(module) -> None:
    slim = module("slim")
    removed = {pattern.replace("/", ".") for pattern in (*slim.UNUSED, *slim.UNUSED_BY_CPU) if "*" not in pattern}
    assert {"databricks.sdk", "scipy.stats"} <= removed
    clashes = {
        (where, name)
        for folder in ("thinksafe", "components", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        if not (where := str(path.relative_to(ROOT))).startswith(ELSEWHERE)
        for name in slim.imports(path)
        if any(f"{name}.".startswith(f"{gone}.") for gone in removed)
    }
    assert not clashes


def test_an_installation_loses_what_nothing_reads_and_no_more(module, tmp_path: Path) -> None:
    kept = [
        "jinja2/tests.py", "botocore/data/endpoints.json", "botocore/data/s3/2006/service-2.json.gz",
        "pyarrow/lib.cpython-311.so", "pyarrow/libarrow_compute.so.2500", "package/testing/__init__.py",
    ]
    kept_but_in_cpu = [
        "scipy/stats/__init__.py", "scipy/special/_ufuncs.pyx", "fontTools/ttLib/__init__.py",
        "PIL/_webp.cpython-311.so", "pillow.libs/libwebp-5.so.7", "databricks/sdk/__init__.py", "numpy/__init__.pyi",
    ]
    kept_in_cpu = [
        "scipy/special/__init__.py", "fontTools/agl.py", "fontTools/misc/loggingTools.py",
        "PIL/_imaging.cpython-311.so", "pillow.libs/libtiff-2.so.6", "databricks/__init__.py",
        "matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf",
    ]
    gone = [
        "pandas/tests/frame/test_a.py", "scipy/special/tests/data.npz", "botocore/data/ec2/2016/service-2.json.gz",
        "pyarrow/libarrow_flight.so.2500", "pyarrow/include/arrow/api.h", "boto3/data/ec2/2016/resources-1.json",
        "pyarrow/libarrow_compute.so", "pyarrow/libarrow_compute.so.2500.1.0",
    ]
    for name in (*kept, *kept_but_in_cpu, *kept_in_cpu, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def left() -> list[str]:
        return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())

    slim = module("slim")
    slim.remove_unused(tmp_path, slim.UNUSED)
    assert left() == sorted((*kept, *kept_but_in_cpu, *kept_in_cpu))
    slim.remove_unused(tmp_path, slim.UNUSED_BY_CPU)
    assert left() == sorted((*kept, *kept_in_cpu))


@pytest.mark.skipif(sys.platform != "linux", reason="images are Linux")
def test_a_library_without_its_symbols_is_smaller_and_loads(module, tmp_path: Path) -> None:
    package = tmp_path / "yaml"
    shutil.copytree(Path(yaml.__file__).parent, package)
    (library,) = package.glob("_yaml*.so")
    (package / "script.so").write_text("/* GNU ld script */")
    before = library.stat().st_size
    slim = module("slim")
    slim.drop_symbols(tmp_path)
    after = library.stat().st_size
    assert after < before
    done = subprocess.run(
        [sys.executable, "-c", "import yaml, yaml._yaml as y; print(y.__file__, yaml.load('[1]', yaml.CSafeLoader))"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )
    assert done.stdout.split() == [str(library), "[1]"], done.stderr
    slim.drop_symbols(tmp_path)
    assert library.stat().st_size == after
    assert (package / "script.so").read_text() == "/* GNU ld script */"


@pytest.mark.parametrize(("name", "pinned"), [("trainer", True), ("trainer-cpu", False)])
def test_an_image_has_the_torch_of_its_lock_whatever_pip_offers(
    name: str, pinned: bool, module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = module("install")
    asked: list[str] = []

    def run_pip(arguments: list[str], progress: object) -> None:
        files = [path for path in arguments if path.endswith(".txt")]
        asked.extend(arguments)
        asked.extend(line for path in files for line in Path(path).read_text().splitlines())

    monkeypatch.setattr(install, "run_pip", run_pip)
    monkeypatch.setattr(install, "offers", lambda version: True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(
        sys, "argv", ["install.py", str(ROOT / "requirements" / f"{name}.txt"), "--wheels", str(tmp_path)]
    )
    assert install.main() == 0
    assert any(re.match(r"torch==[\d.]+ \\", line) for line in asked) == pinned
    assert any(re.match(r"torch==[\d.]+\+cpu$", line) for line in asked) != pinned
