"""plan_comparison: one plan for all methods, for the pipeline that was compiled for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from thinksafe.config.comparison import load_comparison, shared_work
from thinksafe.config.plan_document import read_plan
from thinksafe.errors import ConfigError
from thinksafe.jsonl import read_record
from thinksafe.models.references import ModelReference
from thinksafe.run.details import PlanDetails
from thinksafe.run.record import StageContext, find_record
from thinksafe.stages import plan_comparison

DOCUMENT = "extends: micro\ncompare: [{name: a}, {name: b, overrides: {method: {benign_loss: kl}}}]\n"
FILES = ("plan", "base", "champion", "registration")


@pytest.fixture
def run(
    tmp_path: Path, make_context: Callable[..., StageContext], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., StageContext]:
    monkeypatch.setattr("thinksafe.registry.tracking.ensure_parent_run", lambda registry, run, name: name)

    def planned(document: str = DOCUMENT, compiled: str = DOCUMENT) -> StageContext:
        context = make_context("plan_comparison", task="plan")
        shared = json.dumps([one.model_dump() for one in shared_work(load_comparison(compiled))])
        plan_comparison.run(
            context, document, [], shared, **{f"{name}_out": tmp_path / name for name in FILES}
        )
        return context

    return planned


def test_outputs(run: Callable[..., StageContext], tmp_path: Path) -> None:
    context = run()
    plan = read_plan(tmp_path / "plan")
    assert plan.methods == ("a", "b")
    assert "train.b" in plan.sections
    base, champion = (read_record(tmp_path / name, ModelReference) for name in ("base", "champion"))
    assert (base.role, champion.absent) == ("base", True)
    assert json.loads((tmp_path / "registration").read_text()) is None
    record = find_record(context.store, context.run_id, "plan")
    assert record is not None
    details = record.require(PlanDetails)
    assert {name: of["method"]["benign_loss"] for name, of in details.methods.items()} == {
        "a": "cross-entropy", "b": "kl"
    }
    assert [one.samples for one in details.shared] == ["a", "a"]


def test_another_list_of_methods_than_the_pipeline_was_compiled_for(run: Callable[..., StageContext]) -> None:
    with pytest.raises(ConfigError, match="not those that this pipeline was compiled for"):
        run(compiled=DOCUMENT.replace("name: b", "name: c"))
