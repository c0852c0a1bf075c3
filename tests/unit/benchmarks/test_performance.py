"""The benchmarks' own arithmetic and page; what they measure is measured by ``make bench``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.performance import makespan, orchestration
from benchmarks.performance.page import BEGIN, END, machine, table, write
from benchmarks.performance.result import Pairs, Result, alternate, rate


def test_sides_take_turns_in_being_first() -> None:
    calls: list[str] = []

    def side(name: str, value: float) -> Any:
        def run() -> float:
            calls.append(name)
            return value

        return run

    pairs = alternate(side("ours", 3.0), side("reference", 2.0), 3)
    assert calls == ["ours", "reference", "reference", "ours", "ours", "reference"]
    assert pairs.ratio == pytest.approx(1.5)
    assert pairs.medians == (3.0, 2.0)


def test_interval_of_the_ratio() -> None:
    pairs = Pairs([1.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    # mean log 2^1, standard deviation log 2, t(2, 0.975) = 4.3027 (tables)
    half = 4.30265 * math.log(2) / math.sqrt(3)
    assert pairs.ratio == pytest.approx(2.0)
    assert pairs.interval == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-4)
    assert Pairs([1.0], [1.0]).interval is None


def test_rate_takes_the_clock_that_it_is_given() -> None:
    moments = iter([10.0, 14.0])
    assert rate(lambda: 8.0, lambda: next(moments)) == 2.0


def test_table_says_what_was_not_measured_and_why() -> None:
    results = [
        Result("a", "speed.", "rows/s", 10.0, 8.0, 1.25, (1.1, 1.4), 3, "at least 1.5", False, "9 rows", "Odd | text."),
        Result("b", notes="vLLM is not installed.", status="skipped"),
        Result("c", notes="exit code 1.", status="failed"),
    ]
    text = table(results, machine(), 2.0)
    first, second, third = (line for line in text.splitlines() if line.startswith(("| a ", "| b ", "| c ")))
    assert first == "| a | 1.25 | 1.100 to 1.400 | 3 | at least 1.5 | no | 10 | 8 | rows/s | 9 rows |"
    assert "not measured" in second
    assert "not measured" in third
    assert "- **a**: speed. Odd / text." in text
    assert "- **b**: not measured: vLLM is not installed." in text
    assert "- **c**: **failed**: exit code 1." in text


def test_page_keeps_what_stands_around_the_results(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write(page, "new\n")
    write(page, "newer\n")
    assert page.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"
    page.write_text("no markers\n")
    with pytest.raises(SystemExit):
        write(page, "new\n")


def test_claims_beat_a_fixed_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makespan, "DRAWS", 3)
    monkeypatch.setattr(makespan, "PROMPTS", 10_000)
    claimed, fixed = (makespan.simulate(assign, 16)[2] for assign in (makespan.claimed, makespan.fixed))
    assert 1.0 <= median(claimed) < median(fixed)


def test_processor_time_counts_what_is_left_running() -> None:
    script = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    end = time.process_time() + 0.3\n"
        "    while time.process_time() < end: pass\n"
    )
    wall, processor = orchestration.timed([sys.executable, "-c", script])
    assert processor >= 0.3
    assert wall >= 0.0
