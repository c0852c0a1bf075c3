"""The installer takes torch's CPU build where pip's settings offer it, and leaves CUDA out then."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
INSTALL = Path(__file__).parents[3] / "requirements" / "install.py"
TORCH = next(line for line in (INSTALL.parent / "torch.in").read_text().splitlines() if line.startswith("torch=="))[7:]


def wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel that holds one module; its hash."""
    tag = "py3-none-any"
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A folder of wheels as on the public index, and a lock of them."""
    folder = tmp_path / "public"
    folder.mkdir()
    lines = []
    needed = (("torch", TORCH, "thinksafe"), ("triton", "3.7.1", "torch"), ("tqdm", "4.0", "torch"))
    for name, version, parent in needed:
        lines += [f"{name}=={version} \\", f"    --hash=sha256:{wheel(folder, name, version)}", f"    # via {parent}",
                  "    # 1000000 bytes to download, 3000000 on disk"]
    (tmp_path / "some.txt").write_text("\n".join(lines) + "\n")
    return folder


def install(tmp_path: Path, *links: Path, lock: str = "some.txt") -> subprocess.CompletedProcess[str]:
    """Run the installer in a new environment, with these folders as all that pip knows."""
    python = tmp_path / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=300)
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": " ".join(map(str, links)), "PIP_CONFIG_FILE": os.devnull}
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    return subprocess.run(
        [python, str(INSTALL), str(tmp_path / lock)], env=variables | settings, capture_output=True, text=True,
        check=False, timeout=300,
    )


def there(tmp_path: Path) -> dict[str, str]:
    code = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c", code], capture_output=True, text=True, check=True, timeout=60,
        cwd=tmp_path,  # not the checkout, where this package may lie
    )
    found = dict(line.split("==") for line in done.stdout.split())
    return {name: version for name, version in found.items() if name not in ("pip", "setuptools")}


def test_the_whole_lock_where_only_the_public_build_is_there(public: Path, tmp_path: Path) -> None:
    done = install(tmp_path, public)
    assert done.returncode == 0, done.stderr
    assert there(tmp_path) == {"torch": TORCH, "triton": "3.7.1", "tqdm": "4.0"}
    first, second = done.stdout.splitlines()
    assert first.startswith(f"some.txt: 3 packages, with torch=={TORCH} (CUDA); 3 MB to download, 9 MB on disk")
    assert "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu" in second


def test_the_cpu_build_comes_first_and_stays(public: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    wheel(more, "torch", f"{TORCH}+cpu")
    done = install(tmp_path, public, more)
    assert done.returncode == 0, done.stderr
    assert there(tmp_path) == {"torch": f"{TORCH}+cpu", "tqdm": "4.0"}
    assert f"2 packages, with torch=={TORCH}+cpu (CPU, not hash-checked)" in done.stdout
    assert "installing: " in done.stderr
    again = install(tmp_path, public)  # without the folder of the CPU build
    assert again.returncode == 0, again.stderr
    assert "0 packages" in again.stdout
    assert there(tmp_path) == {"torch": f"{TORCH}+cpu", "tqdm": "4.0"}


def test_a_lock_for_the_cpu_build_says_where_to_find_it(public: Path, tmp_path: Path) -> None:
    text = (tmp_path / "some.txt").read_text()
    kept = text[text.index("tqdm"):] + "\n# The following packages were excluded from the output:\n# torch\n"
    (tmp_path / "some-cpu.txt").write_text(kept)
    done = install(tmp_path, public, lock="some-cpu.txt")
    assert done.returncode == 1
    assert f"some-cpu.txt wants torch=={TORCH}+cpu, which no index of pip's offers" in done.stderr
    assert there(tmp_path) == {}


def test_a_wrong_hash_is_refused(public: Path, tmp_path: Path) -> None:
    wheel(public, "tqdm", "4.0")
    with zipfile.ZipFile(public / "tqdm-4.0-py3-none-any.whl", "a") as archive:
        archive.writestr("tqdm_extra.py", "")
    done = install(tmp_path, public)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr or "hash" in done.stderr.lower()
    assert there(tmp_path) == {}
