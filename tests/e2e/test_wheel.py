"""The wheel holds everything: the recipes, the students, the components."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from micro_runs import Run

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
ROOT = Path(__file__).parents[2]


def test_the_wheel_runs_from_an_empty_folder_and_the_same_seed_gives_the_same_files(
    micro: Run, tmp_path: Path
) -> None:
    """Install the wheel without an index; the dependencies come from this environment's site-packages."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(ROOT)],
        check=True, capture_output=True, text=True, timeout=600,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "thinksafe/micro/students/default/model.safetensors", "thinksafe/data/steering/thinksafe.yaml",
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
    # only the dependencies are borrowed: the development install of this package is not a plain folder there
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    where = subprocess.run(
        [python, "-c", "import thinksafe; print(thinksafe.__file__)"], cwd=empty, capture_output=True, text=True,
        check=True,
    ).stdout
    assert str(tmp_path) in where
    done = subprocess.run(
        [python.with_name("thinksafe"), "run", "micro", "--out", "run"], cwd=empty, capture_output=True, text=True,
        timeout=900, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (empty / "run" / "report.html").is_file()
    for name in ("decision.json", "metrics.json"):
        assert (empty / "run" / name).read_bytes() == (micro.folder / name).read_bytes()
