"""Compare the estimate of a run with what the run took."""

from __future__ import annotations

import pytest

FACTOR = 1.5
"""How far an estimate may be off once one run was measured."""


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


def check(records: dict[str, dict[str, object]], estimate: dict[str, object]) -> None:
    """Compare an estimate, told and kept, with what the run's stages took."""
    took = [float(str(record["seconds"])) for task, record in records.items() if task != "report"]
    spent = sum(took) / 3600
    details = records["plan"]["details"]
    assert isinstance(details, dict)
    kept, hours = details["estimate"], estimate["hours"]
    assert isinstance(hours, dict)
    assert kept["point"] == pytest.approx(hours["point"], rel=0.01), "the plan keeps what the command says"
    assert kept["gpus"] is False
    assert spent / FACTOR <= kept["point"] <= spent * FACTOR, (spent, kept)
    assert kept["low"] <= spent <= kept["high"], (spent, kept)
