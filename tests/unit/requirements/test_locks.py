"""The locks: hash-checked, small where they say so, and a conflict is found with its own words."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import ModuleType

import pytest

REQUIREMENTS = Path(__file__).parents[3] / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
CUDA = ("cuda-", "nvidia-", "triton")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(REQUIREMENTS))
    return importlib.import_module


@pytest.fixture
def index() -> None:
    """The public index; without it there is nothing to resolve against."""
    try:
        urllib.request.urlopen("https://pypi.org/simple/triton/", timeout=10).close()
    except OSError as error:
        pytest.skip(f"pypi.org is out of reach: {error}")
    if shutil.which("uv", path=str(Path(sys.executable).parent)) is None and shutil.which("uv") is None:
        pytest.skip("uv is not installed")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(REQUIREMENTS / "lock.py"), *map(str, arguments)], capture_output=True, text=True,
        check=False, timeout=300,
    )


@pytest.mark.slow
def test_a_conflict_is_told_in_its_own_words(index: None, tmp_path: Path) -> None:
    (tmp_path / "conflict.txt").write_text("torch==2.13.0\ntriton==3.9.0\n")
    done = run("--check", tmp_path / "conflict.txt")
    assert done.returncode == 1
    assert "conflict.txt does not resolve for Python 3.11 on x86_64" in done.stderr
    assert "torch==2.13.0 depends on triton" in done.stderr
    assert "you require triton==3.9.0" in done.stderr


def test_a_lock_without_conflict_passes(index: None, tmp_path: Path) -> None:
    (tmp_path / "fine.txt").write_text("tenacity==9.2.1\n")
    done = run("--check", tmp_path / "fine.txt")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_lock_that_lacks_a_dependency_is_refused(
    index: None, module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, lockfile = module("lock"), module("lockfile")
    monkeypatch.setattr(lockfile, "HERE", tmp_path)
    packages = lockfile.read(REQUIREMENTS / "cpu.txt")
    (tmp_path / "cpu.txt").write_text("".join(f"{p.text}\n" for p in packages if p.name != "psycopg2-binary"))
    (tmp_path / "work").mkdir()
    (problem,) = lock.check(tmp_path / "cpu.txt", tmp_path / "work")
    assert problem.startswith("cpu.txt lacks psycopg2-binary==")
    assert problem.endswith("make lock")


def test_every_lock_of_the_table_is_there(module) -> None:
    assert {path.stem for path in LOCKS} == set(module("lock").LOCKS)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_package_is_hash_checked_and_has_a_reason(path: Path, module) -> None:
    packages = module("lockfile").read(path)
    assert packages
    for package in packages:
        assert "--hash=sha256:" in package.text, package.name
        assert package.parents, package.name


@pytest.mark.parametrize("name", ["cpu", "laptop-vllm", "trainer-cpu", "sampler-cpu"])
def test_locks_for_machines_without_gpu_hold_no_cuda(name: str, module) -> None:
    names = {package.name for package in module("lockfile").read(REQUIREMENTS / f"{name}.txt")}
    assert not {found for found in names if found.startswith(CUDA)}
    assert "torch" not in names


def test_without_cuda_only_what_cuda_needs_goes(module) -> None:
    lockfile: ModuleType = module("lockfile")
    packages = lockfile.read(REQUIREMENTS / "laptop.txt")
    excluded = set(lockfile.names(REQUIREMENTS / "cuda.excludes"))
    left = {package.name for package in lockfile.without(packages, excluded)}
    gone = {package.name for package in packages} - left
    assert {"torch", "setuptools", "sympy", "numpy"} <= left
    assert excluded <= gone
    assert all(name.startswith(CUDA) for name in gone)
    sizes = {package.name: package.download for package in packages}
    assert sum(sizes[name] for name in gone) > 1e9


def test_one_torch_for_all_locks(module) -> None:
    lockfile: ModuleType = module("lockfile")
    (torch,) = lockfile.names(REQUIREMENTS / "torch.in")
    found = {f"{p.name}=={p.version}" for path in LOCKS for p in lockfile.read(path) if p.name == "torch"}
    assert found == {torch}
