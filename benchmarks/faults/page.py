"""docs/reliability.md, from the records."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.faults.settings import Settings

LIBRARIES = ("torch", "transformers", "peft", "trl", "boto3", "moto", "mlflow")

HEAD = """\
# Reliability

Written by `make faults` (`python -m benchmarks.faults`); do not edit. Every stage ran as a process through its own
command line, against real servers over HTTP; a proxy in front of the real server causes its faults. The student is that
of the recipe `micro`. A scenario passes if everything is as expected; one that failed is listed as failed.
"""

NOTES = """\
## How to read it

- **The moments of the kills** are drawn uniformly from the time of an uninterrupted run: four of five between the first
  unit of work and the end, one before it. Each is expressed by the work done up to then. The stage is started again
  after each kill. Rows are compared one by one with those of the uninterrupted run, adapters byte for byte.
- **Repeated tokens** are counted inside the model's decoding loop: every token drawn for an unfinished row. The count
  includes tokens that were lost with a process before they reached a chunk. In an uninterrupted run it equals the
  record's `tokens`; the scenario checks that.
- **A kill costs the work that is not yet in a complete chunk.** With transformers, that is the current chunk of each
  killed task, half a chunk on average and one at most, so the share is at most
  `kills x chunk_size / prompts of the task`. vLLM works on several chunks at once: a kill costs at most the rows that
  it runs together, plus one chunk. Of 40,000 prompts in chunks of 64, with 256 rows together, that is at most 0.8 %.
- **Failed clearly** means exit code 1 or 2 with `error: <problem>` and the corrective action, and no traceback.
- **Corrupt objects** claim to be complete but are not: a chunk's `done.json` without its rows, an adapter's or
  checkpoint's manifest without its files, a stage record or ledger entry that is not JSON. To count them, all
  objects of the run are read.
"""


def document(records: list[dict[str, Any]], settings: Settings, seconds: float) -> dict[str, Any]:
    """Return everything that the page shows, as JSON."""
    return {
        "settings": {**asdict(settings), "names": sorted(settings.names)},
        "machine": machine(), "software": software(), "minutes": round(seconds / 60, 1),
        "scenarios": records,
    }


def render(report: dict[str, Any]) -> str:
    """Return the page."""
    scenarios = report["scenarios"]
    tally = {name: sum(one["outcome"] == name for one in scenarios) for name in ("passed", "failed", "skipped")}
    parts = [
        HEAD,
        (
            f"{tally['passed']} scenarios passed, {tally['failed']} failed, {tally['skipped']} were skipped, in "
            f"{report['minutes']:g} minutes on {report['machine']}.\n"
        ),
    ]
    for group in dict.fromkeys(one["group"] for one in scenarios):
        rows = [_row(one) for one in scenarios if one["group"] == group]
        parts.append("\n".join([f"## {TITLES.get(group, group)}", "", COLUMNS, RULE, *rows, ""]))
    settings = ", ".join(f"`{name}` {value}" for name, value in report["settings"].items() if value != [])
    versions = ", ".join(f"{name} {version}" for name, version in report["software"].items())
    parts += [NOTES, f"## Settings and software\n\nSettings: {settings}.\n\nSoftware: {versions}.\n"]
    return "\n".join(parts)


COLUMNS = "| scenario | what was done | times | expected | observed | outcome |"
RULE = "| --- | --- | --- | --- | --- | --- |"
TITLES = {
    "kills": "kill -9", "S3": "A failing S3 server", "MLflow": "MLflow and the ledger",
    "promoters": "Concurrent promoters", "disk": "A full disk",
}


def _row(one: dict[str, Any]) -> str:
    figures = [
        f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}"
        for name, value in one["observed"].items()
    ]
    problems = [f"**{problem}**" for problem in one["problems"]]
    text = "; ".join([*figures, *problems, *filter(None, [one["skipped"]])])
    outcome = one["outcome"] if one["outcome"] == "passed" else f"**{one['outcome']}**"
    cells = (one["name"], one["done"], str(one["repeats"]), one["expected"], text, outcome)
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Return text for a table, without the ports and temporary folders of this machine."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", text)
    text = re.sub(r"(?<![\w:/])/[\w.+-]+(?:/[\w.+-]+)+", lambda path: f".../{path[0].rpartition('/')[2]}", text)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def machine() -> str:
    """Return a description of the machine."""
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    system = platform.system()
    release = Path("/etc/os-release")
    if release.is_file() and (found := re.search(r'^PRETTY_NAME="(.*)"', release.read_text(), re.MULTILINE)):
        system = found[1]
    return f"a machine with {os.cpu_count()} CPU cores, {memory} GiB of memory and no GPU in use ({system})"


def software() -> dict[str, str]:
    """Return versions by name."""
    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        found[name] = metadata.version(name)
    if radosgw := shutil.which("radosgw"):
        text = subprocess.run([radosgw, "--version"], capture_output=True, text=True, check=False).stdout
        if version := re.search(r"ceph version (\S+)", text):
            found["Ceph"] = version[1]
    return found
