"""Run a pipeline on this machine with ``kfp.local``, its container components as host processes or in Docker.

``kfp.local`` runs container components only in Docker, and there it reports some failed ones as successes. During a
run, :func:`replaced_parts` replaces its task handlers with ours and keeps its log off the terminal. The replaced parts
are internal to KFP: tests/unit/pipelines/local/test_kfp_contract.py fails if any of them changes.
"""

from __future__ import annotations

import functools
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kfp
from kfp import local
from kfp.local import config, docker_task_handler, logging_utils, status, subprocess_task_handler
from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator

from thinksafe.errors import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_OK, StageError
from thinksafe_pipelines.local import prefork
from thinksafe_pipelines.local.containers import Containers
from thinksafe_pipelines.local.host import Listener, Session, TaskOutcome, stopping_on_signals
from thinksafe_pipelines.local.progress import PROGRESS_VARIABLE, ProgressFollower

TESTED_KFP = "2.17.0"
"""KFP version that the replacements were tested with."""

SILENT_SKIPS = (
    "Could not resolve", "Condition evaluation failed", "Unknown items type", "Unknown iterator type",
    "Failed to get artifact iterator items", "Failed to evaluate parameter expression",
)
"""Prefixes of the warnings after which kfp.local silently leaves out tasks."""


@dataclass(frozen=True)
class RunOutcome:
    """Result of a pipeline."""

    tasks: tuple[TaskOutcome, ...]
    """In the order in which they ended, without tasks that were left out after a failure."""
    seconds: float
    log: str
    """Log of KFP's local runner."""
    failed: bool = False
    error: str = ""
    """The first problem, if the run failed."""
    action: str = ""

    @property
    def failed_task(self) -> TaskOutcome | None:
        """The task that failed first; None if none did or KFP itself failed."""
        return next((task for task in self.tasks if task.status == "failed"), None)

    @property
    def exit_code(self) -> int:
        """The failed stage's exit code if it is one of :mod:`thinksafe.errors`, otherwise 1."""
        if not self.failed:
            return EXIT_OK
        bad_input = self.failed_task is not None and self.failed_task.exit_code == EXIT_BAD_INPUT
        return EXIT_BAD_INPUT if bad_input else EXIT_FAILED


class TaskHandler:
    """Runs one container component as the session does; has the interface of KFP's task handlers."""

    def __init__(
        self, session: Session, image: str, full_command: list[str], pipeline_root: str, runner: Any,
        env_vars: dict[str, str] | None = None,
    ) -> None:
        self._session = session
        self._image = image
        self._command = full_command
        self._variables = env_vars or {}

    def run(self) -> status.Status:
        """Run the command to its end."""
        succeeded = self._session.execute(self._command, self._variables, self._image)
        return status.Status.SUCCESS if succeeded else status.Status.FAILURE


def run_locally(
    pipeline: Any, arguments: Mapping[str, Any], *, root: Path, logs: Path, listener: Listener,
    environment: Mapping[str, str] | None = None, path: Path | None = None, containers: Containers | None = None,
) -> RunOutcome:
    """Run a pipeline to its end; a failing task does not raise but shows in the outcome.

    Args:
        pipeline: A pipeline function (``dsl.pipeline``) of container components.
        arguments: Its parameters.
        root: Pipeline root: KFP creates a folder in it.
        logs: Folder for ``kfp.log``, ``progress.jsonl`` and one log for each task.
        listener: Hears of every task.
        environment: Variables that the stages get over those of this process.
        path: Folder whose commands win over all others; the interpreter's own by default.
        containers: How stages run in containers; as host processes when None.

    Raises:
        StageError: this version of KFP is not one that the runner works with.
        ConfigError: see :meth:`thinksafe_pipelines.local.containers.Containers.prepare`.
        KeyboardInterrupt, SystemExit: the run was asked to stop; all stages have ended.
    """
    _check_version()
    logs.mkdir(parents=True, exist_ok=True)
    progress = logs / "progress.jsonl"
    variables = {
        **(environment or {}), PROGRESS_VARIABLE: str(progress.absolute()),
        "PYTHONUNBUFFERED": "1",  # an error must stand last in the log
    }
    forks = path is None and containers is None and prefork.available()
    session = Session(logs, listener, variables, forks=forks, containers=containers)
    if path is not None:
        session.path = path
    if session.forks:
        prefork.warm_up()
    if containers is not None:
        root.mkdir(parents=True, exist_ok=True)
        progress.touch()
        containers.prepare()
    clock = time.monotonic()
    with (
        replaced_parts(session, logs / "kfp.log") as skipped,
        _local_configuration(root, logs, containers),
        ProgressFollower(progress, listener.progress),
        stopping_on_signals(session),
    ):
        try:
            pipeline(**arguments)
            failure = ""
        except Exception as error:  # KFP raises RuntimeError for a failed task, anything for what it cannot resolve
            logging.exception("The pipeline failed.")
            failure = f"KFP's local runner failed ({type(error).__name__})."
    if not failure and skipped:
        failure = "KFP's local runner left tasks out."
    outcome = RunOutcome(tuple(session.outcomes.values()), time.monotonic() - clock, str(logs / "kfp.log"))
    if not failure:
        return outcome
    first = outcome.failed_task
    if first is None:
        return replace(outcome, failed=True, error=failure, action=f"See {outcome.log}.")
    return replace(outcome, failed=True, error=first.error, action=first.action)


@contextmanager
def replaced_parts(session: Session, log: Path) -> Iterator[list[str]]:
    """Put our handler into kfp.local and its log into a file; yields the warnings of :data:`SILENT_SKIPS`.

    KFP's own contexts change the root logger and ``print`` and restore them in the order in which parallel tasks end,
    which leaves both broken; so they are replaced, too.
    """
    skipped: list[str] = []
    handler = logging.FileHandler(log, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(functools.partial(_note_skips, skipped))
    handler.handleError = lambda _: None  # type: ignore[method-assign]  # a full disk is said by what fails on it
    with ExitStack() as stack:
        stack.callback(handler.close)
        stack.enter_context(_root_logger(handler))
        stack.enter_context(warnings.catch_warnings())
        warnings.showwarning = _log_warning  # type: ignore[assignment]
        for owner, name, value in (
            (subprocess_task_handler, "SubprocessTaskHandler", functools.partial(TaskHandler, session)),
            (docker_task_handler, "DockerTaskHandler", functools.partial(TaskHandler, session)),
            (logging_utils, "local_logger_context", nullcontext),
            (logging_utils, "indented_print", nullcontext),
            (logging_utils, "print_horizontal_line", lambda: None),
            (ConditionEvaluator, "_resolve_pipeline_channel", staticmethod(_channel)),
        ):
            stack.enter_context(_attribute(owner, name, value))
        yield skipped


def _channel(reference: str, values: Any) -> Any:
    """Return the value of a channel in a condition: an input of the enclosing group, or an output of a task in it.

    KFP takes a task's output for an input, does not find it, and skips what the condition guards.
    """
    name = reference.removeprefix("pipelinechannel--")
    for key in (name, f"pipelinechannel--{name}"):
        with suppress(ValueError, KeyError):
            return values.get_parent_input(key)
    parts = name.split("-")
    for cut in range(1, len(parts)):
        with suppress(ValueError, KeyError):
            return values.get_task_output("-".join(parts[:cut]), "-".join(parts[cut:]))
    logging.warning("Could not resolve the channel %s", reference)
    return None


def _note_skips(skipped: list[str], record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if record.levelno == logging.WARNING and message.startswith(SILENT_SKIPS):
        skipped.append(message)
    return True


def _log_warning(message: Any, category: type[Warning], filename: str, *_rest: Any) -> None:
    logging.info("%s: %s (%s)", category.__name__, message, filename)


@contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _root_logger(handler: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def _local_configuration(root: Path, logs: Path, containers: Containers | None) -> Iterator[None]:
    """Initialise kfp.local, and undo it afterwards: while it is initialised, calling any component runs it."""
    before = config.LocalExecutionConfig.instance
    local.init(
        runner=local.DockerRunner() if containers else local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root), raise_on_error=True,
        # the run deletes it; by default it is a temporary folder, which a killed run leaves behind
        workspace_root=str(logs / f"workspace-{os.getpid()}"),
    )
    try:
        yield
    finally:
        config.LocalExecutionConfig.instance = before


def _check_version() -> None:
    minor = TESTED_KFP.rpartition(".")[0]
    if kfp.__version__.rpartition(".")[0] != minor:
        raise StageError(
            f"kfp {kfp.__version__} is installed; the local runner was tested with {TESTED_KFP}.",
            f"Install kfp {minor}: pip install 'kfp=={minor}.*'.",
        )
