"""The commands of docs/governance.md, to be run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from micro_runs import COMMAND

DOCS = Path(__file__).parents[2] / "docs" / "governance.md"


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env={**os.environ, "PATH": path, "COLUMNS": "200"},
        capture_output=True, text=True, timeout=900, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def blocks(section: str) -> list[str]:
    """Return the console blocks of a section as shell scripts."""
    text = DOCS.read_text("utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in found]
