"""One signature a stage: its function's. The command has the same inputs and hands each on under its own name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from thinksafe.cli.main import app
from thinksafe.config import load_config, load_suite, sections_of, suite_sections
from thinksafe.config.plan_document import plan_document
from thinksafe.config.stage_table import STAGES
from thinksafe.run.record import StageContext

COMMON = {"plan", "section", "artifacts", "run_id", "task", "method", "executor_input"}
"""Options that make the function's context and section."""

TEXTS = {"overrides": '["seed=7"]', "role": "base", "rounds": "3"}
"""Values of options that are no files; other texts get the option's name."""

SECTIONS = {"sample": "sample_training", "judge": "judge_filter"}
"""Stages that a run uses several times have a section for each use."""

ONLY_COMMAND = {"report": {"run", "tracking_uri"}}
"""It is a command of people, too."""
PARALLEL = ("sample", "judge", "grade")
ONLY_FUNCTION = {"report": {"tracked"}, **{stage: {"parallelism"} for stage in PARALLEL}}
"""Runs that end before their plan report without MLflow; the parallelism is in the plan."""


class Called(BaseException):
    """Ends a command where its stage would begin."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments


def function_of(stage: str) -> Callable[..., Any]:
    found: Callable[..., Any] = import_module(f"thinksafe.stages.{stage}").run
    return found


def command_of(stage: str) -> Callable[..., None]:
    """Return the function behind a command; its parameters are the options."""
    (found,) = (info.callback for info in app.registered_commands if info.callback and name_of(info) == stage)
    return found


def name_of(info: Any) -> str:
    return str(info.name or info.callback.__name__)


def options_of(stage: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(command_of(stage)).parameters)


def is_file(hint: Any) -> bool:
    return hint in (Path, Path | None)


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_has_the_inputs_of_the_function(stage: str) -> None:
    inputs = set(inspect.signature(function_of(stage)).parameters) - {"context", "section"}
    options = set(options_of(stage)) - COMMON
    assert options - ONLY_COMMAND.get(stage, set()) - inputs <= {"job_id"}
    assert inputs - options == ONLY_FUNCTION.get(stage, set())


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_a_file_and_what_is_required_is_the_same(stage: str) -> None:
    hints, given = get_type_hints(function_of(stage)), get_type_hints(command_of(stage))
    parameters = inspect.signature(function_of(stage)).parameters
    for name, option in options_of(stage).items():
        if name in parameters and name not in ONLY_COMMAND.get(stage, ()):
            assert is_file(given[name]) == is_file(hints[name]), name
            needed = parameters[name].default is inspect.Parameter.empty
            assert needed or option.default is not inspect.Parameter.empty, f"{name} is required by the command only"


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_hands_each_input_on_under_its_own_name(
    stage: str, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signature, hints = inspect.signature(function_of(stage)), get_type_hints(function_of(stage))

    def called(*positional: Any, **named: Any) -> None:
        raise Called(signature.bind(*positional, **named).arguments)

    monkeypatch.setattr(f"thinksafe.stages.{stage}.run", called)
    sections = sections_of(load_config("micro", ["sampling.parallelism=5", "evaluation.parallelism=7"]))
    if stage in ("monitor", "alarm"):
        sections = suite_sections(load_suite("micro"), "think", "")
    plan = tmp_path / "plan.json"
    plan.write_text(plan_document("run-of-the-plan", sections).model_dump_json())

    arguments: list[object] = ["--task", "task-1", "--artifacts", tmp_path / "store"]
    expected: dict[str, Any] = {}
    for name in options_of(stage):
        if name == "plan":
            arguments += ["--plan", plan]
        elif name == "section" and stage in SECTIONS:
            arguments += ["--section", SECTIONS[stage]]
        elif name in COMMON or name in ONLY_COMMAND.get(stage, ()):
            continue
        elif is_file(get_type_hints(command_of(stage))[name]):
            expected[name] = tmp_path / name
            arguments += [f"--{name.replace('_', '-')}", expected[name]]
        else:
            hint = hints.get(name, str)
            text = "true" if hint is bool else TEXTS.get(name, name)
            if name in signature.parameters:
                expected[name] = True if hint is bool else int(text) if hint is int else text
            arguments += [f"--{name.replace('_', '-')}", text]
    if "overrides" in expected:
        expected["overrides"] = ["seed=7"]

    with pytest.raises(Called) as caught:
        cli(stage, *arguments)
    given = dict(caught.value.arguments)
    context, section = given.pop("context", None), given.pop("section", None)
    assert {name: value for name, value in given.items() if name not in ONLY_FUNCTION.get(stage, ())} == expected
    if stage in PARALLEL:
        assert given["parallelism"] == (7 if stage == "grade" else 5)
    assert isinstance(context, StageContext)
    assert (context.stage, context.task) == (stage, "task-1")
    assert context.run_id == ("run-of-the-plan" if "plan" in options_of(stage) else "job_id")
    assert section is None or isinstance(section, hints["section"])
