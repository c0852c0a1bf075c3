"""The wheel holds everything: the recipes, the students, the components."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from micro_runs import Run
from packaging.requirements import Requirement

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
ROOT = Path(__file__).parents[2]


def lend(wheel: Path, folder: Path) -> None:
    """Link what the wheel's metadata asks for, and what that needs, into a folder; nothing else loads there."""
    (metadata,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    prefix = "Requires-Dist: "
    waiting = [(Requirement(line[len(prefix):]), "") for line in text.splitlines() if line.startswith(prefix)]
    seen = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        key = (requirement.name.lower(), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:  # pip check names it
            continue
        for entry in {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}:
            if not (folder / entry).exists():
                (folder / entry).symlink_to(found.locate_file(entry))
        for line in found.requires or ():
            waiting += [(Requirement(line), wanted) for wanted in ("", *requirement.extras)]


def test_the_wheel_runs_from_an_empty_folder_and_the_same_seed_gives_the_same_files(
    micro: Run, tmp_path: Path
) -> None:
    """Install the wheel without an index; the dependencies of its metadata are borrowed, and no others."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(ROOT)],
        check=True, capture_output=True, text=True, timeout=600,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "thinksafe/micro/students/default/model.safetensors", "thinksafe/data/steering/prefix.yaml",
        "thinksafe_configs/micro.yaml", "thinksafe_components/sample/component.py", "thinksafe_pipelines/realign.py",
    ):
        assert part in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=300)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True, timeout=300
    )
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # Python 3.11 puts an old one into new environments, where that of the dependencies is to be found
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"], check=True, timeout=300)
    lend(wheel, site)
    subprocess.run([python, "-m", "pip", "check"], check=True, timeout=300)
    without = subprocess.run([python, "-c", "import hypothesis"], capture_output=True, check=False)
    assert without.returncode != 0  # a tool of development is out of reach
    empty = tmp_path / "empty"
    empty.mkdir()
    where = subprocess.run(
        [python, "-c", "import thinksafe; print(thinksafe.__file__)"], cwd=empty, capture_output=True, text=True,
        check=True,
    ).stdout
    assert str(tmp_path) in where
    done = subprocess.run(
        [python.with_name("thinksafe"), "run", "micro", "--out", "run"], cwd=empty, capture_output=True, text=True,
        timeout=900, check=False, env={"PATH": str(python.parent), "HOME": str(empty)},  # no make, git or Docker
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (empty / "run" / "report.html").is_file()
    for name in ("decision.json", "metrics.json"):
        assert (empty / "run" / name).read_bytes() == (micro.folder / name).read_bytes()
