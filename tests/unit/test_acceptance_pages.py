"""The variables of the acceptance suite stand in its README and in docs/operators.md, each with what it does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "tests" / "acceptance" / "README.md", REPOSITORY / "docs" / "operators.md"]


def rows(page: Path) -> list[str]:
    lines = page.read_text("utf-8").splitlines()
    return [line for line in lines if re.match(r"\| `(ACCEPT_|AWS_ACCESS_KEY_ID`, `AWS_SECRET|KUBECONFIG)", line)]


def test_both_pages_have_the_same_variables() -> None:
    first, second = map(rows, PAGES)
    assert first == second
    assert len(first) > 10


def test_they_are_those_that_the_suite_reads() -> None:
    suite = REPOSITORY / "tests" / "acceptance"
    text = "".join(path.read_text("utf-8") for path in suite.rglob("*.py"))
    read = set(re.findall(r'"(ACCEPT_[A-Z0-9_]+)"', text))
    assert read == set(re.findall(r"`(ACCEPT_[A-Z0-9_]+)`", "".join(rows(PAGES[0]))))


@pytest.mark.slow  # a pytest of its own
def test_without_a_cluster_nothing_is_possible_and_the_table_says_why(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ACCEPT_", "AWS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "accept", "-q", "-p", "no:cacheprovider", "tests/acceptance"],
        env={**environment, "ACCEPT_OUT": str(tmp_path)}, cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "acceptance.json").read_text())
    assert {case["outcome"] for case in found.values()} == {"not possible here"}
    assert "ACCEPT_NAMESPACE" in found["install"]["reason"]
    assert "not possible here" in done.stdout
