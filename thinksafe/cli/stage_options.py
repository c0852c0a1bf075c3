"""What all stage commands share: their options, and what stands before and behind a stage.

Options are the same everywhere: ``--section`` is the stage's configuration section as JSON (or a file that holds it),
``--artifacts`` the store root, ``--run-id`` and ``--task`` name the record, ``--executor-input`` is what KFP passes
and makes the command write KFP's executor output.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from thinksafe.run.record import StageContext

    S = TypeVar("S", bound=BaseModel)

Section = Annotated[str, typer.Option("--section", help="Configuration section of this stage: JSON or a file.")]
Artifacts = Annotated[str, typer.Option("--artifacts", help="Store root: a folder or s3://bucket/prefix.")]
RunId = Annotated[str, typer.Option("--run-id", help="Run that this stage belongs to.")]
Task = Annotated[str, typer.Option("--task", help="Name of this use of the stage, unique in the run.")]
JobId = Annotated[str, typer.Option("--job-id", help="KFP's job id: the run id where --run-id is empty.")]
Executor = Annotated[str, typer.Option("--executor-input", help="KFP's executor input, as JSON.")]
STORE, MANUAL = "thinksafe-store", "manual"


def add_commands(commands: typer.Typer, app: typer.Typer) -> None:
    """Add commands to the application under the heading of the stages."""
    for command in commands.registered_commands:
        command.rich_help_panel = "Stages (what the containers run)"
        app.registered_commands.append(command)


def stage_context(stage: str, artifacts: str, run_id: str, task: str) -> StageContext:
    """Return the context of a stage whose progress is shown. Raises ConfigError."""
    from thinksafe.run.progress import reporter
    from thinksafe.run.record import StageContext
    from thinksafe.store import open_store

    name = task or stage
    return StageContext(
        store=open_store(artifacts), run_id=safe_name(run_id, "--run-id"), stage=stage, task=safe_name(name, "--task"),
        track=reporter(name),
    )


def safe_name(name: str, option: str) -> str:
    """Return a name that is safe as part of a path or key. Raises ConfigError, which names the option."""
    import re

    from thinksafe.errors import ConfigError

    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", name):
        raise ConfigError(
            f"{option} {name[:80]!r} is not a name.", "Use up to 200 letters, digits, '.', '_' and '-'; no '.' first."
        )
    return name


def parse_section(text: str, model: type[S]) -> S:
    """Return the section that ``--section`` gives, as JSON or by the path of a file. Raises ConfigError."""
    from pydantic import ValidationError

    from thinksafe.errors import ConfigError

    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("--section is neither JSON nor a readable file.", "See `thinksafe plan`.") from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) or "text" for item in error.errors())
        raise ConfigError(
            f"--section is not a {model.__name__} (wrong: {fields}).", "Take it from the output of `thinksafe plan`."
        ) from error


def shard_count(shards: str) -> int:
    """Return how many shards there are; a pipeline can only hand on the list that it loops over. Raises ConfigError."""
    import json

    from thinksafe.errors import ConfigError

    try:
        value = json.loads(shards)
    except ValueError:
        value = None
    number = len(value) if isinstance(value, list) else value
    if type(number) is not int or number < 1:
        raise ConfigError(f"--shards {shards[:40]!r} is no number of shards.", "Or give the JSON list of their ids.")
    return number


def finish(executor_input: str, **metadata: dict[str, Any]) -> None:
    """Write KFP's executor output, where KFP is there; ``metadata`` by name of the output artifact."""
    if executor_input:
        from thinksafe.kube.executor import write_executor_output

        write_executor_output(executor_input, metadata)


def plan_options(overrides: str, output: list[str] | None) -> tuple[list[str], dict[str, Path]]:
    """Return the overrides, and the file of each output by name. Raises ConfigError."""
    import json

    from thinksafe.errors import ConfigError

    try:
        changes = json.loads(overrides)
        outputs = {name: Path(path) for name, path in (item.split("=", 1) for item in output or [])}
    except ValueError as error:
        raise ConfigError("--overrides or --output is malformed.", "See `thinksafe plan --help`.") from error
    if not isinstance(changes, list) or not all(isinstance(change, str) for change in changes):
        raise ConfigError("--overrides is not a JSON list of strings.", 'Write e.g. ["seed=7"].')
    return changes, outputs
