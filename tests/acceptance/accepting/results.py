"""What came of each case: a table at the end of the session, and a file of JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

WORDS = {"passed": "passed", "failed": "failed", "skipped": "not possible here"}
OUT = "build/acceptance"


class Results:
    """A plugin of pytest that keeps the outcome of each case."""

    def __init__(self) -> None:
        self.cases: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        case = self.cases.setdefault(name, {"outcome": "passed", "reason": "", "seconds": 0.0})
        case["seconds"] = round(case["seconds"] + report.duration, 1)
        if report.outcome != "passed" and case["outcome"] == "passed":
            case["outcome"], case["reason"] = WORDS[report.outcome], reason_of(report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.cases:
            return
        terminalreporter.section("acceptance")
        for name, case in self.cases.items():
            line = f"{case['outcome']:18}{case['seconds']:7.0f} s  {name}"
            terminalreporter.write_line(f"{line}: {case['reason']}" if case["reason"] else line)
        path = Path(os.environ.get("ACCEPT_OUT") or OUT) / "acceptance.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.cases, indent=2) + "\n")
        terminalreporter.write_line(f"wrote {path}")


def reason_of(report: pytest.TestReport) -> str:
    """Return in one line why a case did not pass."""
    if isinstance(report.longrepr, tuple):
        text = str(report.longrepr[2]).removeprefix("Skipped: ")
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash is not None else str(report.longrepr)
    return " ".join(text.split())[:400]
