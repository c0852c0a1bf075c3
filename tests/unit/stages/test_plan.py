"""plan: one section per stage, the references of the models."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from measured_runs import leave_run

from thinksafe.config import Sections, load_config, sections_of
from thinksafe.config.plan_document import read_plan
from thinksafe.digests import digest_json
from thinksafe.errors import ConfigError, InputError
from thinksafe.jsonl import read_record
from thinksafe.models.references import ModelReference
from thinksafe.registry.ledger import Digests, LedgerEntry, append
from thinksafe.run.record import StageContext, StageResult, list_records
from thinksafe.stages import plan
from thinksafe.store.local import LocalStore

FILES = ("plan", "base", "champion")


@pytest.fixture
def run(
    tmp_path: Path, make_context: Callable[..., StageContext], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[StageResult, dict[str, str]]]:
    """Return a function that plans, and gives the result and the text of each output file and section."""
    monkeypatch.setattr(
        "thinksafe.registry.tracking.ensure_parent_run", lambda registry, run, name: f"mlflow-{run}-{name}"
    )

    def planned(
        config: str = "micro", *overrides: str, author: str = "", rounds: int = 1, **changes: Any
    ) -> tuple[StageResult, dict[str, str]]:
        folder = tmp_path / "out"
        outputs = {f"{name}_out": folder / name for name in FILES}
        result = plan.run(
            make_context("plan", **changes), config, list(overrides), author=author, rounds=rounds, **outputs
        )
        files = {path.name: path.read_text() for path in folder.iterdir()}
        return result, files | {
            name: json.dumps(section) for name, section in json.loads(files["plan"])["sections"].items()
        }

    return planned


def test_outputs(run: Callable[..., Any], tmp_path: Path) -> None:
    overrides = ["sampling.parallelism=3", "evaluation.parallelism=2"]
    _, _files = run("micro", *overrides)
    document = read_plan(tmp_path / "out" / "plan")
    assert document.run_id == "run-1"
    assert document.parallelism == {
        "sample_training": 3, "judge_filter": 3, "sample_evaluation": 2, "judge_evaluate": 2, "grade": 2
    }
    sections = {
        name: of for name, of in sections_of(load_config("micro", overrides)) if name not in ("parallelism", "rounds")
    }
    assert set(document.sections) == set(sections)
    for name, section in sections.items():
        assert document.section(name, type(section), "plan") == section


def test_the_rounds_are_those_of_the_pipeline(run: Callable[..., Any]) -> None:
    _, files = run("micro", "sampling.rounds=2", rounds=2)
    assert json.loads(files["rounds"]) == {"rounds": 2}
    for configured, compiled in ((2, 1), (1, 2), (2, 3)):
        with pytest.raises(ConfigError, match=f"rounds is {configured}, .* compiled for {compiled}"):
            run("micro", f"sampling.rounds={configured}", rounds=compiled)


def test_a_gate_threshold_changes_no_other_section(run: Callable[..., Any]) -> None:
    _, before = run()
    _, after = run("micro", "gate.harm.max=0.5")
    assert {name for name in before if before[name] != after[name]} == {"plan", "gate"}


def test_a_teacher_is_found_and_pinned(run: Callable[..., Any], micro_reference: ModelReference) -> None:
    _, plain = run()
    assert json.loads(plain["sample_training"])["teacher"] is None
    method = "method={kind: teacher, steered: false, teacher: {model: micro://default}}"
    _, files = run("micro", method)
    found = json.loads(files["sample_training"])
    assert found["teacher"]["digest"] == micro_reference.base_digest
    assert (found["arms"]["harmful"], found["template"]) == (["plain"], "")
    assert json.loads(files["sample_pilot"])["teacher"] is None
    with pytest.raises(InputError, match=r"method\.teacher\.model: the folder './nowhere' does not exist"):
        run("micro", method.replace("micro://default", "./nowhere"))


def test_a_teacher_thinks_as_the_student_does(run: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"method\.teacher\.reasoning is 'none'"):
        run("micro", "method={kind: teacher, teacher: {model: micro://default, reasoning: none}}")


def test_an_endpoint_serves_no_teacher(run: Callable[..., Any]) -> None:
    endpoint = "engine={kind: endpoint, base_url: 'http://127.0.0.1:9/v1', served_model: student}"
    with pytest.raises(ConfigError, match="pass for the teacher's"):
        run("micro", "method={kind: teacher, teacher: {model: micro://default}}", endpoint)


WAIVED = "gate.waivers=[{check: reasoning/loss, person: Ann, reason: known, expires: 2030-01-31}]"


def test_the_day_of_the_first_plan_is_that_of_the_run(
    run: Callable[..., Any], store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime.datetime):
        day = 1

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2029, 5, cls.day, 23, 30, tzinfo=tz)

    monkeypatch.setattr("thinksafe.stages.plan.datetime.datetime", Clock)
    _, files = run("micro", WAIVED)
    section = json.loads(files["gate"])
    assert section["waivers_on"] == "2029-05-01"
    assert "champion/reasoning" in section["known_checks"]
    Clock.day = 2
    assert run("micro", WAIVED)[1] == files, "a restarted run decides by the same day"
    assert json.loads(run("micro", WAIVED, run_id="run-2")[1]["gate"])["waivers_on"] == "2029-05-02"
    assert json.loads(run("micro", run_id="run-3")[1]["gate"])["waivers_on"] is None, "the day is in no other section"


def test_a_failed_first_plan_fixes_the_day_too(run: Callable[..., Any], store: LocalStore) -> None:
    with pytest.raises(ConfigError):
        run("micro", "seed=no")
    key = "runs/run-1/plan.json"
    record = json.loads(store.get(key))
    record["details"]["date"] = "2029-05-01"
    store.put(key, json.dumps(record).encode())
    assert json.loads(run("micro", WAIVED)[1]["gate"])["waivers_on"] == "2029-05-01"
    store.put(key, b"not a record")
    assert json.loads(run("micro", WAIVED)[1]["gate"])["waivers_on"] is not None


def test_references_without_a_champion(run: Callable[..., Any], micro_reference: ModelReference) -> None:
    result, files = run()
    base = ModelReference.model_validate_json(files["base"])
    champion = ModelReference.model_validate_json(files["champion"])
    assert base == micro_reference
    assert (champion.role, champion.absent) == ("champion", True)
    assert result.outputs == {"base": base.digest, "champion": ""}
    assert result.details.champion_generation is None


def test_the_policies_of_guards_are_named_by_their_texts(run: Callable[..., Any], tmp_path: Path) -> None:
    policy = tmp_path / "policy.md"
    guards = f"guard={{filter: {{kind: gpt-oss-safeguard, policy: '{policy}'}}, evaluate: {{kind: micro-exact}}}}"
    found = []
    for text in ("Nothing about sheds.", "Nothing about ladders."):
        policy.write_text(text)
        outputs = run("micro", guards)[0].outputs
        found.append({key: value for key, value in outputs.items() if key.startswith("policy")})
    assert [list(each) for each in found] == [["policy of guard.filter"]] * 2
    assert found[0] != found[1]
    policy.unlink()
    with pytest.raises(InputError, match=r"Cannot read guard\.policy"):
        run("micro", guards)


def promote(store: LocalStore, base: ModelReference, run_id: str) -> ModelReference:
    target = base.model_copy(update={"role": "candidate", "adapter": "adapters/a", "adapter_digest": "a"})
    append(
        store,
        LedgerEntry(
            model="micro-student", generation=1, previous=None, action="promote", target=target, version="1",
            run_id=run_id, digests=Digests(adapter="a", base=base.base_digest), reason="r", who="w",
            created="2026-01-01T00:00:00Z",
        ),
    )
    return target


def test_the_champion_comes_from_the_ledger(
    run: Callable[..., Any], micro_reference: ModelReference, store: LocalStore
) -> None:
    target = promote(store, micro_reference, "earlier")
    result, files = run()
    champion = ModelReference.model_validate_json(files["champion"])
    assert champion == target.model_copy(update={"role": "champion"})
    assert result.outputs["champion"] == champion.digest
    assert result.details.champion_generation == 1


def test_a_restarted_run_is_not_compared_with_itself(
    run: Callable[..., Any], micro_reference: ModelReference, store: LocalStore
) -> None:
    promote(store, micro_reference, "run-1")
    _, files = run()
    assert ModelReference.model_validate_json(files["champion"]).absent


def test_record(run: Callable[..., Any], store: LocalStore) -> None:
    run("micro", "seed=7")
    details = list_records(store, "run-1").found["plan"].details
    assert details["config"]["seed"] == 7
    assert details["config_digest"] == digest_json(details["config"])
    assert details["mlflow_run"] == "mlflow-run-1-micro"
    assert {"thinksafe", "python", "torch", "transformers", "pydantic"} <= set(details["code"])
    assert set(details["sections"]) == set(Sections.model_fields) - {"parallelism", "rounds"}
    assert load_config(json.dumps(details["config"], indent=1)).seed == 7, "the record can be run again"


def test_wrong_configuration_is_recorded(run: Callable[..., Any], store: LocalStore) -> None:
    with pytest.raises(ConfigError, match="sede"):
        run("micro", "sede=7")
    record = list_records(store, "run-1").found["plan"]
    assert record.status == "failed"
    assert "did you mean 'seed'" in record.error


def test_missing_student(run: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="student"):
        run("micro", "student.model=micro://nobody")
    with pytest.raises(InputError, match="does not exist"):
        run("micro", "student.model=./nowhere")


def test_reference_files_are_records(run: Callable[..., Any], tmp_path: Path) -> None:
    run()
    assert read_record(tmp_path / "out" / "base", ModelReference).role == "base"


def test_the_plan_keeps_what_earlier_runs_say_about_its_time(run: Callable[..., Any], store: LocalStore) -> None:
    result, _ = run()
    assert result.details.estimate is None, "nothing was measured yet"
    records = leave_run(store, load_config("micro"), "earlier")
    result, files = run("micro", run_id="run-2")
    kept = result.details.estimate
    assert kept is not None
    assert (kept.runs, kept.gpus, kept.complete) == (("earlier",), False, True)
    spent = sum(record.seconds for task, record in records.items() if task != "plan") / 3600
    assert kept.point == pytest.approx(spent, rel=0.01), "the newest plan was of the run before"
    assert "estimate" not in files["plan"], "no stage reads it"


APPROVAL = ("promotion.approval.required=1", "promotion.approval.by=[ann]")


def test_without_approvals_the_plan_says_nothing_of_them(run: Callable[..., Any], store: LocalStore) -> None:
    _, files = run(author="ann")
    assert "promotion" not in json.loads(files["promote"])
    assert "author" not in list_records(store, "run-1").found["plan"].details


def test_the_plan_holds_whose_approval_counts_and_the_record_who_started_it(
    run: Callable[..., Any], store: LocalStore
) -> None:
    _, files = run("micro", *APPROVAL, author="bob")
    approval = json.loads(files["promote"])["promotion"]["approval"]
    assert (approval["required"], approval["by"], approval["identity"]) == (1, ["ann"], "system")
    assert list_records(store, "run-1").found["plan"].details["author"] == "bob"


def test_four_eyes_need_an_author(run: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="nobody says who the author"):
        run("micro", *APPROVAL)
    run("micro", *APPROVAL, "promotion.approval.distinct_from_author=false")


@pytest.mark.parametrize(("waiver", "fine"), [("ann", True), ("Ann", False), ("mallory", False)])
def test_waivers_may_be_for_approvers_only(run: Callable[..., Any], waiver: str, fine: bool) -> None:
    given = f"gate.waivers=[{{check: decided/evidence, person: {waiver}, reason: r, expires: 2999-01-01}}]"
    given = given.replace("decided/evidence", "harm/micro-harm")
    overrides = [*APPROVAL, "promotion.approval.waivers=approvers", given]
    if fine:
        run("micro", *overrides, author="bob")
    else:
        with pytest.raises(ConfigError, match="who waives"):
            run("micro", *overrides, author="bob")
