"""A virtual environment with lm-eval, which needs other versions than the project; made once, then kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REQUIREMENT = "lm-eval[math]==0.4.13"


def lm_eval_python() -> Path:
    """Return the interpreter of the environment, which is made where it is not there.

    It lies in ``THINKSAFE_TEST_CACHE``, else ``$XDG_CACHE_HOME/thinksafe/tests``.

    Raises:
        RuntimeError: pip could not install lm-eval; says why.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(os.environ.get("THINKSAFE_TEST_CACHE") or Path(cache, "thinksafe", "tests"))
    folder = root / REQUIREMENT.replace("[", "-").replace("]", "").replace("==", "-")
    python = folder / "bin" / "python"
    if (folder / ".complete").is_file():
        return python
    root.mkdir(parents=True, exist_ok=True)
    for command in ([sys.executable, "-m", "venv", "--clear", folder], [python, "-m", "pip", "install", REQUIREMENT]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            break
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"pip could not install {REQUIREMENT}: {last[:200]}")
    (folder / ".complete").touch()
    return python
