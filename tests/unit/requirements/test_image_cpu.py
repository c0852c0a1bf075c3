"""The image cpu holds what its stages import, and nothing large that they do not."""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OUT = {
    "accelerate", "docker", "formulaic", "gguf", "gunicorn", "huey", "openai", "patsy", "peft", "safetensors",
    "scikit-learn", "skops", "statsmodels", "tokenizers", "torch", "transformers", "triton", "trl", "vllm",
}
ELSEWHERE = (
    "thinksafe/deploy/verification.py", "thinksafe/judging/guards/", "thinksafe/micro/", "thinksafe/models/fetch.py",
    "thinksafe/models/loading.py", "thinksafe/models/vllm.py", "thinksafe/sampling/engines/", "thinksafe/training/",
    "pipelines/local/",
)
"""What runs in the other images or on a laptop: sample, judge, train, deploy, run, mirror."""
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


def test_an_installation_loses_what_nothing_reads_and_no_more(module, tmp_path: Path) -> None:
    kept = [
        "jinja2/tests.py", "botocore/data/endpoints.json", "botocore/data/s3/2006/service-2.json.gz",
        "pyarrow/lib.so", "package/testing/__init__.py",
    ]
    gone = [
        "pandas/tests/frame/test_a.py", "scipy/stats/tests/data.npz", "botocore/data/ec2/2016/service-2.json.gz",
        "pyarrow/libarrow_flight.so.2500", "pyarrow/include/arrow/api.h", "boto3/data/ec2/2016/resources-1.json",
    ]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    module("slim").remove_unused(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


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
