"""Compare the estimate of a run with what the run did. How long it took is a benchmark's concern."""

from __future__ import annotations

from typing import Any

import pytest


def require_done_anew(records: dict[str, dict[str, object]], tasks: set[str]) -> None:
    """Check that the run came to its end and found none of its work done, so that there is something to compare."""
    assert tasks <= records.keys()
    assert "gate" in records
    for task in tasks:  # a champion that is absent is not estimated
        record = records[task]
        counts = record["counts"]
        assert isinstance(counts, dict)
        if record["stage"] == "sample":  # grading a chunk without a problem is the same work for every model
            assert counts["tokens_new"] == counts["tokens"] > 0, task
        assert not counts.get("reused"), task


def check(records: dict[str, dict[str, Any]], estimate: dict[str, Any]) -> None:
    """Compare an estimate, told and kept, with the work of the run's stages."""
    kept = records["plan"]["details"]["estimate"]
    assert kept["point"] == pytest.approx(estimate["hours"]["point"], rel=0.01), "the plan keeps what the command says"
    assert kept["gpus"] is False
    assert 0 < kept["low"] < kept["point"] < kept["high"]
    sampled = [task for task in estimate["tasks"] if task["stage"] == "sample"]
    tokens = sum(records[task["task"]]["counts"]["tokens"] for task in sampled)
    assert sum(task["tokens"]["low"] for task in sampled) <= tokens <= sum(task["tokens"]["high"] for task in sampled)
    for task in sampled:
        assert records[task["task"]]["counts"]["responses"] == pytest.approx(task["samples"]["point"], rel=0.01)
