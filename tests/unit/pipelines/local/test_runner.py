"""The pipelines as host processes, with a stand-in for the stage command: every way in which a run can end."""

import builtins
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl
from kfp.local.config import LocalExecutionConfig
from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator

from thinksafe.errors import StageError
from thinksafe_pipelines.local import runner as local

ROLES = ("base", "candidate", "champion")
MEASURED = ("sample", "judge", "grade", "metrics")
PILOT = {"plan", "prepare", "due", "sample-pilot", "judge-pilot", "diagnose", "report"}
TRAINING = {"sample-training", "judge-training"}
EVALUATION = {f"{stage}-{role}" for stage in MEASURED for role in ROLES}
DECIDED = PILOT | TRAINING | EVALUATION | {"curate", "train", "register", "gate"}
EVALUATED = {"plan", "prepare", "monitor", *(f"{stage}-evaluated" for stage in MEASURED)} | {
    f"{stage}-previous" for stage in MEASURED if stage != "sample"
}


def tasks(outcome: Any, status: str = "succeeded") -> set[str]:
    """Tasks that ended in a way."""
    return {task.task for task in outcome.tasks if task.status == status}


def lineage(path: str) -> Any:
    """What the stand-in wrote: the task and, in the same form, the files that it was made from."""
    return json.loads(Path(path).read_text())


class TestPromoted:
    def test_all_tasks_ran_once(self, promoted: Any) -> None:
        run, outcome = promoted
        assert (outcome.failed, outcome.exit_code, outcome.failed_task) == (False, 0, None)
        assert tasks(outcome) == DECIDED | {"promote"}
        names = [task.task for task in outcome.tasks]
        assert len(set(names)) == len(names) == len(run.calls)
        assert (names[0], names[-1]) == ("plan", "report")

    def test_plan_gets_the_configuration_as_it_was_given(self, promoted: Any) -> None:
        plan = promoted[0].call("plan")
        assert (plan["config"], json.loads(plan["overrides"])) == ("name: micro\n", ["seed=7"])

    def test_every_stage_gets_the_plan_its_section_and_the_store(self, promoted: Any) -> None:
        run, _ = promoted
        sections = {call["task"]: call["section"] for call in run.calls if "section" in call}
        expected = {
            "sample-pilot": "sample_pilot", "judge-pilot": "judge_pilot", "sample-training": "sample_training",
            "judge-training": "judge_filter", "sample-champion": "sample_evaluation", "judge-base": "judge_evaluate",
        }
        assert sections | expected == sections
        for call in run.calls:
            assert call["artifacts"] == str(run.out / "store")
            if call["stage"] not in ("plan", "report"):
                assert lineage(call["plan"]) == ["plan"]

    def test_the_verdict_on_the_student_comes_from_the_pilot(self, promoted: Any) -> None:
        pilot = ["sample-pilot", ["plan"], ["prepare"]]
        diagnose = promoted[0].call("diagnose")
        assert lineage(diagnose["samples"]) == pilot
        assert lineage(diagnose["verdicts"]) == ["judge-pilot", pilot]
        assert lineage(promoted[0].call("train")["safety-context"])[0] == "diagnose"

    def test_examples_come_from_the_training_samples_and_their_verdicts(self, promoted: Any) -> None:
        run, _ = promoted
        training = ["sample-training", ["plan"], ["prepare"]]
        curate = run.call("curate")
        assert lineage(curate["samples"]) == training
        assert lineage(curate["verdicts"]) == ["judge-training", training]
        prompts = {use: run.call(f"sample-{use}")["prompts"] for use in ("pilot", "training", "base")}
        assert len(set(prompts.values())) == 3
        assert {run.call(f"sample-{role}")["prompts"] for role in ROLES} == {prompts["base"]}

    @pytest.mark.parametrize(("role", "model"), [("base", "plan"), ("candidate", "train"), ("champion", "plan")])
    def test_each_evaluation_is_of_its_own_model(self, promoted: Any, role: str, model: str) -> None:
        gate = promoted[0].call("gate")
        metrics, samples, verdicts, grades = lineage(gate[f"{role}-metrics"])
        assert metrics == f"metrics-{role}"
        assert samples[0] == f"sample-{role}"
        assert samples[1][0] == model
        assert (verdicts, grades) == ([f"judge-{role}", samples], [f"grade-{role}", samples])
        assert lineage(gate[f"{role}-outcomes"]) == [metrics, samples, verdicts, grades]
        assert promoted[0].call(f"metrics-{role}")["role"] == role

    def test_the_base_and_the_champion_are_two_files(self, promoted: Any) -> None:
        run, _ = promoted
        models = {role: run.call(f"sample-{role}")["model"] for role in ROLES}
        assert len(set(models.values())) == 3
        assert run.call("train")["base"] == models["base"]
        assert run.call("promote")["champion"] == models["champion"]

    def test_no_two_tasks_write_to_one_place(self, promoted: Any) -> None:
        written = [value for call in promoted[0].calls for name, value in call.items() if name.endswith("-out")]
        assert len(set(written)) == len(written)

    def test_metadata_reaches_kfp(self, promoted: Any) -> None:
        message = json.loads(promoted[0].call("gate")["executor-input"])
        (metrics,) = message["inputs"]["artifacts"]["base_metrics"]["artifacts"]
        assert metrics["metadata"] == {"harm": 0.5}

    def test_the_exit_task_hears_of_success(self, promoted: Any) -> None:
        assert json.loads(promoted[0].call("report")["status"])["state"] == "SUCCEEDED"

    def test_the_console_shows_the_run_and_nothing_of_kfp(self, promoted: Any) -> None:
        shown = promoted[0].shown.getvalue()
        assert "train" in shown
        assert "kfp" not in shown.lower()
        assert all(line.startswith("  done ") for line in shown.splitlines())

    def test_what_stages_and_kfp_print_is_kept_in_logs(self, promoted: Any) -> None:
        _, outcome = promoted
        train = next(task for task in outcome.tasks if task.task == "train")
        assert Path(train.log).read_text() == "train starts\n"
        assert "finished with status" in Path(outcome.log).read_text()

    def test_the_folder_holds_kfp_and_logs_and_nothing_temporary(self, promoted: Any) -> None:
        assert {path.name for path in promoted[0].out.iterdir()} == {"calls.jsonl", "kfp", "logs"}


def test_a_refused_candidate_is_registered_and_not_promoted(fake_run: Any) -> None:
    outcome = fake_run(refuse="gate")
    assert not outcome.failed
    assert tasks(outcome) == DECIDED
    assert json.loads(fake_run.call("report")["status"])["state"] == "SUCCEEDED"


def test_a_promoted_candidate_is_rolled_out_where_the_plan_says_so(fake_run: Any) -> None:
    outcome = fake_run(rollout="yes")
    assert not outcome.failed
    assert tasks(outcome) == DECIDED | {"promote", "sample-rollout", "deploy"}
    deploy, sample = fake_run.call("deploy"), fake_run.call("sample-rollout")
    assert lineage(deploy["promotion"])[0] == "promote"
    assert lineage(deploy["samples"])[0] == "sample-rollout"
    assert sample["model"] == fake_run.call("sample-candidate")["model"]
    assert sample["prompts"] == deploy["prompts"] == fake_run.call("sample-candidate")["prompts"]
    assert sample["section"] == "sample_rollout"


def test_an_unsteerable_model_ends_after_the_pilot(fake_run: Any) -> None:
    outcome = fake_run(refuse="diagnose")
    assert not outcome.failed
    assert tasks(outcome) == PILOT
    assert json.loads(fake_run.call("report")["status"])["state"] == "SUCCEEDED"


def test_a_run_that_is_not_due_ends_green_after_prepare(fake_run: Any) -> None:
    outcome = fake_run(refuse="due")
    assert not outcome.failed
    assert tasks(outcome) == {"plan", "prepare", "due", "report"}
    assert fake_run.call("due")["if-changed"].lower() == "false"
    assert json.loads(fake_run.call("report")["status"])["state"] == "SUCCEEDED"


def test_a_failing_stage_fails_the_run_and_is_reported(fake_run: Any) -> None:
    outcome = fake_run(fail="train")
    assert (outcome.failed, outcome.exit_code, outcome.failed_task.task) == (True, 1, "train")
    assert (outcome.error, outcome.action) == ("The disk of train is full.", "Free some space.")
    assert tasks(outcome, "failed") == {"train"}
    assert outcome.tasks[-1].task == "report"
    assert json.loads(fake_run.call("report")["status"])["state"] == "FAILED"
    shown = fake_run.shown.getvalue()
    assert "failed" in shown
    assert "The disk of train is full." in shown


def test_nothing_but_the_report_starts_after_a_failure(fake_run: Any) -> None:
    outcome = fake_run(fail="prepare")
    assert [task.task for task in outcome.tasks] == ["plan", "prepare", "report"]


@pytest.mark.parametrize("failing", ["sample-training", "judge-training"])
def test_a_failure_within_conditions_ends_the_run_after_what_came_before(fake_run: Any, failing: str) -> None:
    outcome = fake_run(fail=failing)
    assert outcome.failed_task.task == failing
    assert tasks(outcome, "failed") == {failing}
    before = {"sample-training"} - {failing}
    assert tasks(outcome) == PILOT | before
    assert outcome.tasks[-1].task == "report"


def test_a_failing_plan_is_reported(fake_run: Any) -> None:
    outcome = fake_run(fail="plan")
    assert [task.task for task in outcome.tasks] == ["plan", "report"]
    assert outcome.failed


def test_what_looks_like_a_placeholder_of_kfps_reaches_the_plan(fake_run: Any) -> None:
    text = "{{$}} {{$.inputs.parameters['run_id']}} {{$.json_escape[1]}} $(HOME) $$x"
    fake_run.document = json.dumps({"name": "micro", "text": text})
    fake_run(fail="plan")
    assert yaml.safe_load(fake_run.call("plan")["config"]) == {"name": "micro", "text": text}


def test_a_failing_report_fails_the_run(fake_run: Any) -> None:
    outcome = fake_run(refuse="diagnose", fail="report")
    assert (outcome.failed, outcome.failed_task.task) == (True, "report")


def test_a_killed_stage_fails_the_run(fake_run: Any) -> None:
    outcome = fake_run(kill="diagnose")
    assert "SIGKILL" in outcome.error
    assert "memory" in outcome.error
    assert outcome.tasks[-1].task == "report"


def test_one_model_is_evaluated(fake_run: Any) -> None:
    outcome = fake_run("evaluate")
    assert not outcome.failed
    assert tasks(outcome) == EVALUATED | {"report"}
    model = lineage(fake_run.call("monitor")["model"])
    assert model == lineage(fake_run.call("sample-evaluated")["model"]) == ["plan"]
    assert (fake_run.call("plan")["model"], fake_run.call("plan")["fresh"].lower()) == ("", "false")


def test_a_regression_ends_in_an_alarm_that_fails_and_is_reported(fake_run: Any) -> None:
    outcome = fake_run("evaluate", refuse="monitor")
    assert (outcome.failed, outcome.failed_task.task, outcome.failed_task.exit_code) == (True, "alarm", 3)
    assert tasks(outcome) == EVALUATED | {"report"}
    assert lineage(fake_run.call("alarm")["decision"])[0] == "monitor"


def test_an_evaluation_with_nothing_to_measure_is_green(fake_run: Any) -> None:
    outcome = fake_run("evaluate", refuse="plan_evaluation")
    assert (outcome.failed, outcome.exit_code) == (False, 0)
    assert tasks(outcome) == {"plan", "report"}


def test_too_few_examples_stop_the_run_before_training(fake_run: Any) -> None:
    outcome = fake_run(refuse="curate")
    assert (outcome.failed, outcome.exit_code) == (False, 0)
    assert tasks(outcome) == PILOT | TRAINING | {"curate", "report"}


def test_a_candidate_that_is_the_base_is_neither_registered_nor_measured(fake_run: Any) -> None:
    outcome = fake_run(refuse="train")
    assert (outcome.failed, outcome.exit_code) == (False, 0)
    assert tasks(outcome) == PILOT | TRAINING | {"curate", "train", "report"}


def test_a_missing_command_is_an_error_that_says_so(fake_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    fake_run.bin = fake_run.out
    outcome = fake_run()
    assert "'thinksafe' is not on PATH" in outcome.error


class Listener:
    def started(self, task: str, stage: str) -> None:
        pass

    def progress(self, task: str, label: str, done: float, total: float, reused: float) -> None:
        pass

    def finished(self, outcome: Any) -> None:
        pass


def run_locally(pipeline: Any, tmp_path: Path, bin_folder: Path, **arguments: Any) -> local.RunOutcome:
    return local.run_locally(
        pipeline, arguments, root=tmp_path / "kfp", logs=tmp_path / "logs", listener=Listener(), path=bin_folder,
    )


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """Folder with a ``thinksafe`` that writes to the path after its stage: what comes next, or ``true``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "thinksafe").write_text('#!/bin/sh\nmkdir -p "$(dirname "$2")"\nprintf "${3:-true}" > "$2"\n')
    (folder / "thinksafe").chmod(0o755)
    return folder


@dsl.container_component
def flag(passed: dsl.OutputPath(bool)):  # type: ignore[no-untyped-def, valid-type]
    return dsl.ContainerSpec(image="image", command=["thinksafe", "flag"], args=[passed])


@dsl.container_component
def say_so(task: str, value: str, so_it_is: dsl.OutputPath(bool)):  # type: ignore[no-untyped-def, valid-type]
    return dsl.ContainerSpec(
        image="image", command=["thinksafe", "flag"], args=[so_it_is, value, "--task", task]
    )


@pytest.mark.parametrize(("outer", "inner", "ran"), [
    ("true", "false", ["outer", "inner", "both"]), ("true", "true", ["outer", "inner"]), ("false", "false", ["outer"]),
])
def test_a_condition_on_the_output_of_a_task_holds_or_does_not(
    tmp_path: Path, command: Path, outer: str, inner: str, ran: list[str]
) -> None:
    @dsl.pipeline
    def nested() -> None:
        first = say_so(task="outer", value=outer)
        with dsl.If(first.outputs["so_it_is"] == True, name="outer-holds"):  # noqa: E712
            second = say_so(task="inner", value=inner)
            with dsl.If(second.outputs["so_it_is"] == False, name="inner-holds"):  # noqa: E712
                say_so(task="both", value="true").after(second)

    outcome = run_locally(nested, tmp_path, command)
    assert not outcome.failed, outcome.error
    assert [task.task for task in outcome.tasks] == ran


def test_a_condition_that_kfp_skips_silently_fails_the_run(
    tmp_path: Path, command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dsl.pipeline
    def bare() -> None:
        with dsl.If(flag().outputs["passed"] == True):  # noqa: E712
            flag()

    monkeypatch.setattr(local, "_channel", ConditionEvaluator._resolve_pipeline_channel)
    outcome = run_locally(bare, tmp_path, command)
    assert len(outcome.tasks) == 1
    assert (outcome.failed, outcome.exit_code) == (True, 1)
    assert "left tasks out" in outcome.error


def test_what_a_run_changes_in_this_process_is_put_back(
    tmp_path: Path, command: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    @dsl.container_component
    def one(name: str, passed: dsl.OutputPath(bool)):  # type: ignore[no-untyped-def, valid-type]
        return dsl.ContainerSpec(image="image", command=["thinksafe", name], args=[passed])

    @dsl.pipeline
    def side_by_side() -> None:  # KFP runs only the iterations of a loop at once
        with dsl.ParallelFor(["a", "b", "c", "d"]) as name:
            one(name=name)

    root = logging.getLogger()
    before = (root.handlers[:], root.level, builtins.print, LocalExecutionConfig.instance)
    assert not run_locally(side_by_side, tmp_path, command).failed
    assert (root.handlers, root.level, builtins.print, LocalExecutionConfig.instance) == before
    assert capfd.readouterr() == ("", "")


def test_another_minor_version_of_kfp_is_refused(
    tmp_path: Path, command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfp.__version__", "2.18.0")
    with pytest.raises(StageError, match=r"kfp 2\.18\.0"):
        run_locally(None, tmp_path, command)


def test_a_pipeline_that_kfp_cannot_run_is_a_failed_run(tmp_path: Path, command: Path) -> None:
    @dsl.pipeline
    def needs(value: str) -> None:
        flag()

    outcome = run_locally(needs, tmp_path, command)
    assert outcome.failed
    assert outcome.failed_task is None
    assert "KFP's local runner failed" in outcome.error
    assert "Traceback" in Path(outcome.log).read_text()
