"""Writes into a lock how large each package is on Linux x86_64 with Python 3.11, so that install.py can say it."""

from __future__ import annotations

import io
import json
import re
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lockfile
from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

PLATFORMS = [*(f"manylinux_2_{minor}_x86_64" for minor in range(31, 4, -1)), "manylinux2014_x86_64",
             "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
TAGS = [*cpython_tags((3, 11), platforms=PLATFORMS), *compatible_tags((3, 11), "cp311", PLATFORMS)]
ENVIRONMENT = {
    "os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64",
    "implementation_name": "cpython", "platform_python_implementation": "CPython",
    "python_version": "3.11", "python_full_version": "3.11.9", "implementation_version": "3.11.9",
}
TAIL = 2**18  # bytes at the end of a wheel that are read first; the list of its files stands there


def write(path: Path, known: dict[tuple[str, str], lockfile.Package]) -> None:
    """Add the sizes to a lock that was just made; those of `known` versions are not asked for again."""
    packages = lockfile.read(path)

    def size(package: lockfile.Package) -> tuple[int, int]:
        if package.marker and not Marker(package.marker).evaluate(ENVIRONMENT):
            return 0, 0
        before = known.get((package.name, package.version))
        return (before.download, before.disk) if before and before.download else _ask(package)

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip([package.text for package in packages], pool.map(size, packages), strict=True))
    text = path.read_text()
    for block, (download, disk) in found.items():
        if download:
            text = text.replace(f"{block}\n", f"{block}\n    # {download} bytes to download, {disk} on disk\n")
    path.write_text(text)


def _ask(package: lockfile.Package) -> tuple[int, int]:
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    files = json.loads(_get(f"https://pypi.org/simple/{package.name}/", accept))["files"]
    hashes = set(re.findall(r"sha256:(\w+)", package.text))
    ours = [file for file in files if file["hashes"]["sha256"] in hashes]
    ranks = {tag: rank for rank, tag in enumerate(TAGS)}

    def rank(file: dict[str, Any]) -> int:
        tags = parse_wheel_filename(file["filename"])[3] if file["filename"].endswith(".whl") else ()
        return min((ranks[tag] for tag in tags if tag in ranks), default=len(ranks))

    best = min(ours, key=rank)
    if rank(best) == len(ranks):  # no wheel: source text packs about four to one
        return best["size"], 4 * best["size"]
    return best["size"], _unpacked(best["url"], best["size"])


def _unpacked(url: str, size: int) -> int:
    """Bytes of a wheel's files, with the compiled copy that pip makes of each module."""
    tail = TAIL
    while True:
        end = _get(url, {"Range": f"bytes={max(0, size - tail)}-{size - 1}"})
        try:
            files = zipfile.ZipFile(io.BytesIO(end)).infolist()
        except zipfile.BadZipFile:
            if tail >= size:
                raise
            tail *= 8
            continue
        return sum(file.file_size * (2 if file.filename.endswith(".py") else 1) for file in files)


def _get(url: str, headers: dict[str, str]) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as response:
        return bytes(response.read())
