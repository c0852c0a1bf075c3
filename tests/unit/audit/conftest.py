from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from judged_runs import judge_run

from thinksafe.audit.population import JudgedRun, find_run
from thinksafe.records import Sample
from thinksafe.store.local import LocalStore


@pytest.fixture
def judged(store: LocalStore, make_sample: Callable[..., Sample]) -> Callable[..., JudgedRun]:
    def build(run_id: str = "run-1", **changes: Any) -> JudgedRun:
        judge_run(store, make_sample, run_id, **changes)
        return find_run(store, run_id)

    return build
