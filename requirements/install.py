"""Installs what a lock says, hash-checked, into the environment of the Python that runs this.

    python requirements/install.py requirements/laptop.txt     make install
    python requirements/install.py LOCK --wheels DIR           make wheels of it instead

Standard library and pip only. torch's CPU build is taken where pip's own settings offer it, such as
PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu: it saves the CUDA libraries that come with torch from the
public index on Linux. Its hash is not in the lock, as the public index does not have it.

INSTALLER=uv has uv install what is hash-checked, by uv's own settings, in a fraction of the time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import queue
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path

import lockfile

CPU_INDEX = "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
# bytes of torch's CPU build for Linux x86_64 (2.13.0, Python 3.11): to download, and on disk
CPU_TORCH = (192_000_000, 780_000_000)
PIP = [sys.executable, "-m", "pip"]
PLAIN_SECONDS = 15  # between two lines of progress where there is no terminal
PULSE_SECONDS = 1


class Progress:
    """One line that says how far pip is; on a terminal it stays in place."""

    def __init__(self, packages: list[lockfile.Package], folder: Path) -> None:
        self.sizes = {package.name: package.download for package in packages}
        self.total = sum(self.sizes.values())
        self.folder = folder
        self.before = len(list(folder.glob("*.dist-info")))
        self.collected: list[str] = []
        self.unpacking = False
        self.started = self.said = time.monotonic()

    def take(self, line: str) -> None:
        """Read a line of pip's."""
        if match := re.match(r"Collecting ([\w.-]+)==", line):
            self.collected.append(match[1].lower().replace("_", "-"))
        elif line.startswith("Installing collected packages"):
            self.unpacking = True

    def say(self, last: bool = False) -> None:
        """Show it; where there is no terminal, only now and then."""
        terminal, now = sys.stderr.isatty(), time.monotonic()
        if not (terminal or last or now - self.said >= PLAIN_SECONDS):
            return
        self.said = now
        if self.unpacking:
            done = len(list(self.folder.glob("*.dist-info"))) - self.before
            text = f"installing: {done} of {len(self.sizes)} packages"
        else:
            there = sum(self.sizes.get(name, 0) for name in self.collected[:-1])
            text = f"fetching: {len(self.collected)} of {len(self.sizes)} packages, {size(there)} of {size(self.total)}"
        text += f", {now - self.started:.0f} s"
        end = "\n" if last or not terminal else ""
        print(f"\r{text}\033[K" if terminal else text, end=end, file=sys.stderr, flush=True)


def size(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def run_pip(arguments: list[str], progress: Progress) -> None:
    """Run pip with a line of progress.

    Raises:
        SystemExit: if pip fails, with what it said.
    """
    process = subprocess.Popen(
        [*PIP, *arguments, "--progress-bar", "off", "--no-color", "--disable-pip-version-check"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    lines: queue.Queue[str | None] = queue.Queue()
    output = process.stdout
    assert output is not None

    def read() -> None:
        for line in output:
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    said: list[str] = []
    while True:
        try:
            line = lines.get(timeout=PULSE_SECONDS)
        except queue.Empty:
            progress.say()
            continue
        if line is None:
            break
        said.append(line)
        progress.take(line)
        progress.say()
    progress.say(last=True)
    if process.wait() != 0:
        errors = [line for line in said if line.lstrip().startswith(("ERROR", "error", "OSError"))] or said
        raise SystemExit("\n".join([*errors[-20:], f"pip failed; what it did before: pip {' '.join(arguments)}"]))


def offers(version: str) -> bool:
    """Whether pip's settings offer this very version of torch, such as 2.13.0+cpu, for this Python."""
    done = subprocess.run(
        [*PIP, "index", "versions", "torch", "--disable-pip-version-check"], text=True, capture_output=True, check=False
    )
    return version in re.findall(r"[^\s,()]+", done.stdout)


def installed() -> dict[str, str]:
    """What this environment has, and in which version."""
    return {re.sub(r"[-_.]+", "-", found.name).lower(): found.version for found in importlib.metadata.distributions()}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="make wheels there, install nothing")
    arguments = parser.parse_args()

    packages = lockfile.read(arguments.lock)
    (torch,) = lockfile.names(lockfile.HERE / "torch.in")
    cpu_torch = f"{torch}+cpu"
    linux = sys.platform == "linux"
    without_cuda = lockfile.without(packages, set(lockfile.names(lockfile.HERE / "cuda.excludes")))
    lean = [package for package in without_cuda if package.name != "torch"]
    has_torch = any(package.name == "torch" for package in packages)
    wants_cpu = "# torch" in arguments.lock.read_text().splitlines()  # uv's list of what a lock leaves to others
    there = {} if arguments.wheels else installed()
    cpu_version = cpu_torch.removeprefix("torch==")
    # wheels are for an image, whose lock says whether it has CUDA; here the smaller build is enough if offered
    may_be_cpu = linux and (wants_cpu or (has_torch and not arguments.wheels))
    fetches_torch = there.get("torch") != cpu_version
    # what an earlier install took stays, whether or not it is still offered
    cpu = may_be_cpu and (not fetches_torch or offers(cpu_version))
    fetches_torch &= cpu
    if wants_cpu and not cpu:
        raise SystemExit(
            f"{arguments.lock.name} wants {cpu_torch}, which no index of pip's offers for Python "
            f"{platform.python_version()}: set {CPU_INDEX}"
        )
    chosen = lean if cpu else packages
    absent = [package for package in chosen if there.get(package.name, "").split("+")[0] != package.version]
    # those of other platforms have no size
    counted = [package for package in absent if package.download]
    extra = CPU_TORCH if fetches_torch else (0, 0)
    build = f", with {cpu_torch} (CPU, not hash-checked)" if cpu else ""
    if has_torch and not cpu:
        build = f", with {torch} ({'CUDA' if linux else 'CPU'})"
    print(
        f"{arguments.lock.name}: {len(counted) + fetches_torch} packages{build}; "
        f"{size(sum(p.download for p in counted) + extra[0])} to download, "
        f"{size(sum(p.disk for p in counted) + extra[1])} on disk"
        + ("" if linux and platform.machine() == "x86_64" else " (on Linux x86_64; others differ)"), flush=True,
    )
    if has_torch and may_be_cpu and not cpu:
        print(
            f"Without CUDA it would be {size(sum(p.download for p in lean) + CPU_TORCH[0])} and "
            f"{size(sum(p.disk for p in lean) + CPU_TORCH[1])}: {CPU_INDEX} make install", flush=True,
        )

    folder = Path(sysconfig.get_path("purelib"))
    action = ["wheel", "--wheel-dir", str(arguments.wheels)] if arguments.wheels else ["install"]
    if fetches_torch:
        only = lockfile.Package("torch", "", "", "", (), *CPU_TORCH)
        run_pip([*action, "--no-deps", cpu_torch], Progress([only], folder))
    with tempfile.TemporaryDirectory() as temporary:
        requirements = Path(temporary) / arguments.lock.name
        requirements.write_text("".join(f"{package.text}\n" for package in chosen))
        exact = ["--no-deps", "--require-hashes", "--requirement", str(requirements)]
        if os.environ.get("INSTALLER") == "uv" and not arguments.wheels:
            if not shutil.which("uv"):
                raise SystemExit("INSTALLER=uv, but uv is not on PATH: install it, or leave INSTALLER out")
            return subprocess.run(["uv", "pip", "install", "--python", sys.executable, *exact], check=False).returncode
        run_pip([*action, *exact], Progress(counted, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
