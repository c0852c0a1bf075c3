"""What all stage commands share: their options, and what happens before and after a stage.

Options mean the same everywhere: ``--plan`` is the file that ``plan`` wrote and ``--section`` the stage's section of
it, ``--artifacts`` is the store root, ``--run-id`` and ``--task`` name the record, ``--method`` is for a
comparison. ``--executor-input`` is what KFP
passes; with it the command writes KFP's executor output.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from thinksafe.run.record import StageContext

    S = TypeVar("S", bound=BaseModel)

PlanFile = Annotated[Path, typer.Option("--plan", help="Plan of the run: the file that plan wrote.")]
Section = Annotated[str, typer.Option("--section", help="Section of the plan; by default the stage's name.")]
Artifacts = Annotated[str, typer.Option("--artifacts", help="Store root: a folder or s3://bucket/prefix.")]
RunId = Annotated[str, typer.Option("--run-id", help="Run that this stage belongs to; by default the plan's.")]
Task = Annotated[str, typer.Option("--task", help="Name of this use of the stage, unique in the run.")]
Method = Annotated[
    str, typer.Option("--method", help="Method of a comparison: its section, if it has its own, and its task.")
]
JobId = Annotated[str, typer.Option("--job-id", help="KFP's job id: the run id where --run-id is empty.")]
Executor = Annotated[str, typer.Option("--executor-input", help="KFP's executor input, as JSON.")]
STORE, MANUAL = "thinksafe-store", "manual"


def add_commands(commands: typer.Typer, app: typer.Typer) -> None:
    """Add commands to the application under the heading of the stages."""
    for command in commands.registered_commands:
        command.rich_help_panel = "Stages (what the containers run)"
        app.registered_commands.append(command)


def stage_context(stage: str, artifacts: str, run_id: str, task: str, method: str = "") -> StageContext:
    """Return the context of a stage that shows its progress. Raises ConfigError."""
    from thinksafe.config.compared import scoped
    from thinksafe.run.attempts import current
    from thinksafe.run.progress import reporter
    from thinksafe.run.record import StageContext
    from thinksafe.store import open_store

    name = scoped(task or stage, method)
    return StageContext(
        store=open_store(artifacts), run_id=safe_name(run_id, "--run-id"), stage=stage, task=safe_name(name, "--task"),
        track=reporter(name), attempts=current(),
    )


def safe_name(name: str, option: str) -> str:
    """Return a name that is safe in a path or key. Raises ConfigError, which names the option."""
    import re

    from thinksafe.errors import ConfigError

    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", name):
        raise ConfigError(
            f"{option} {name[:80]!r} is not a name.", "Use up to 200 letters, digits, '.', '_' and '-'; not '.' first."
        )
    return name


def open_stage(
    stage: str, model: type[S], plan: Path, section: str, artifacts: str, run_id: str, task: str, method: str = ""
) -> tuple[StageContext, S]:
    """Return the context of a stage and its section of the plan. Raises ConfigError.

    Args:
        stage: Name of the stage, and of its section if ``section`` is empty.
        model: Type of the section.
        plan: File of the plan.
        section: Name of the section.
        artifacts: Store root.
        run_id: Run; empty uses the plan's.
        task: Name of this use of the stage; empty uses the stage's.
        method: Method of a comparison; empty for a run of one method.
    """
    from thinksafe.config.plan_document import read_plan

    document = read_plan(plan)
    context = stage_context(stage, artifacts, run_id or document.run_id, task, method)
    return context, document.section(document.name_of(section or stage, method, plan), model, plan)


def parallelism(plan: Path, section: str) -> int:
    """Return how many pods may work on a section at once. Raises ConfigError."""
    from thinksafe.config.plan_document import read_plan

    return read_plan(plan).parallelism.get(section, 1)


def finish(executor_input: str, **metadata: dict[str, Any]) -> None:
    """Write KFP's executor output when running under KFP; ``metadata`` by name of the output artifact."""
    if executor_input:
        from thinksafe.kube.executor import write_executor_output

        write_executor_output(executor_input, metadata)


def parse_overrides(overrides: str) -> list[str]:
    """Return the overrides in a JSON list. Raises ConfigError."""
    import json

    from thinksafe.errors import ConfigError

    try:
        changes = json.loads(overrides)
    except ValueError:
        changes = None
    if not isinstance(changes, list) or not all(isinstance(change, str) for change in changes):
        raise ConfigError("--overrides is not a JSON list of strings.", 'Write e.g. ["seed=7"].')
    return changes


def parse_flag(option: str, value: str) -> bool:
    """Return a flag that KFP passes as text. Raises ConfigError, which names the option."""
    from thinksafe.errors import ConfigError

    if value.lower() not in ("true", "false"):
        raise ConfigError(f"{option} {value[:40]!r} is neither true nor false.", f"Write {option} true.")
    return value.lower() == "true"
