"""Reads the locks: what each package is needed by, and how large it is. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)(?:\s*;\s*([^\\]*))?")
PARENT = re.compile(r"^    #(?: via|  ) +(\S.*)$")
SIZE = re.compile(r"^    # (\d+) bytes to download, (\d+) on disk$")


@dataclass(frozen=True)
class Package:
    """A pinned package; `download` and `disk` are bytes on Linux x86_64 with Python 3.11, 0 if it is not for there."""

    name: str
    version: str
    marker: str
    text: str
    parents: tuple[str, ...]
    download: int = 0
    disk: int = 0


def read(path: Path) -> list[Package]:
    """Read a lock.

    Raises:
        SystemExit: if the file is not there.
    """
    if not path.is_file():
        raise SystemExit(f"{path} is not there: make lock")
    blocks: list[list[str]] = []
    for line in path.read_text().splitlines():
        if PIN.match(line):
            blocks.append([line])
        elif blocks and line.startswith(" "):
            blocks[-1].append(line)
    return [_package(block) for block in blocks]


def _package(block: list[str]) -> Package:
    pin = PIN.match(block[0])
    assert pin is not None
    sizes = next((match for line in block if (match := SIZE.match(line))), None)
    parents = [match[1] for line in block if not SIZE.match(line) and (match := PARENT.match(line))]
    return Package(
        pin[1], pin[2], (pin[3] or "").strip(), "\n".join(block), tuple(parents),
        int(sizes[1]) if sizes else 0, int(sizes[2]) if sizes else 0,
    )


def names(path: Path) -> list[str]:
    """The lines of a list such as `cuda.excludes`, without comments."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def without(packages: list[Package], excluded: set[str]) -> list[Package]:
    """The packages that are left when some go, and with them all that only those need."""
    pinned = {package.name for package in packages}
    kept: set[str] = set()
    while True:
        # a parent that is no package is one of our own files
        found = {
            package.name
            for package in packages
            if package.name not in excluded and any(p in kept or p not in pinned for p in package.parents)
        }
        if found == kept:
            return [package for package in packages if package.name in kept]
        kept = found
