"""The variables of the acceptance suite stand in its README and in docs/operators.md, each with what it does."""

from __future__ import annotations

import re
from pathlib import Path

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
