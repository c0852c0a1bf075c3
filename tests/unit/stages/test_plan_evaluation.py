"""plan_evaluation: the model and its sections; an evaluation of a champion that is not there yet has nothing to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from thinksafe.errors import InputError
from thinksafe.models.references import ModelReference, read_reference
from thinksafe.registry.ledger import Digests, LedgerEntry, append
from thinksafe.report.summary import summarise
from thinksafe.report.words import why
from thinksafe.run.record import StageContext, StageResult, list_records
from thinksafe.stages import plan_evaluation
from thinksafe.store import Store

Planned = Callable[..., StageResult]
FILES = ("plan", "model", "previous", "passed")


@pytest.fixture
def context(make_context: Callable[..., StageContext]) -> StageContext:
    return make_context("plan_evaluation", task="plan")


@pytest.fixture
def plan(context: StageContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planned:
    monkeypatch.setattr("thinksafe.registry.tracking.ensure_parent_run", lambda registry, run, name: "mlflow-1")

    def planned(model: str = "champion", *, if_champion: bool = True) -> StageResult:
        return plan_evaluation.run(
            context, "micro", [], model, fresh=False, if_champion=if_champion,
            **{f"{name}_out": tmp_path / name for name in FILES},
        )

    return planned


def promote(store: Store, like: ModelReference) -> None:
    target = like.model_copy(update={"role": "candidate", "adapter": "adapters/a", "adapter_digest": "d"})
    append(
        store,
        LedgerEntry(
            model="micro-student", generation=1, previous=None, action="promote", target=target, version="1",
            run_id="r", reason="x", who="y", created="2026-01-01T00:00:00+00:00",
            digests=Digests(adapter="d", base="b"),
        ),
    )


@pytest.mark.parametrize("model", ["champion", "models:/micro-student@champion"])
def test_before_the_first_promotion_there_is_nothing_to_do(
    plan: Planned, context: StageContext, tmp_path: Path, model: str
) -> None:
    result = plan(model)
    assert result.verdict == "nothing to do"
    assert (tmp_path / "passed").read_text() == "false"
    assert json.loads((tmp_path / "model").read_text()) is None
    # what follows takes all outputs as its inputs, whether or not it does anything with them
    assert all((tmp_path / name).read_text() for name in FILES)
    summary = summarise(list_records(context.store, context.run_id).found)
    assert (summary.outcome, summary.is_evaluation) == ("nothing to do", True)
    assert why(summary) == "There is no champion to evaluate: nothing has been promoted yet."


def test_without_being_told_it_is_an_error(plan: Planned) -> None:
    with pytest.raises(InputError, match="has no champion"):
        plan(if_champion=False)


def test_a_champion_is_measured(plan: Planned, context: StageContext, tmp_path: Path) -> None:
    plan("")
    promote(context.store, read_reference(tmp_path / "model"))
    result = plan()
    assert result.verdict == ""
    assert (tmp_path / "passed").read_text() == "true"
    found = read_reference(tmp_path / "model")
    assert (found.role, found.adapter_digest) == ("evaluated", "d")
    assert result.outputs == {"model": found.digest}


def test_a_student_is_measured_without_a_champion(plan: Planned, tmp_path: Path) -> None:
    plan("")
    assert (tmp_path / "passed").read_text() == "true"
    assert read_reference(tmp_path / "model").role == "evaluated"
