"""Runs a compiled pipeline as Kubeflow Pipelines' backend does, each task's pod being a process of this machine.

It goes by the two documents of the compiled file alone, as the source of the backend's drivers has it:

- an input is looked up in the inputs of the DAG around, or by the recorded (that is, shown) name of a task of the same
  DAG; a condition reads one of the task's own inputs;
- a task starts when those it depends on succeeded, and is left out where one failed or was skipped;
- what pods get, and what they hand back, is in :mod:`ir_pods`.

Strict: what is not understood, not found, or of another type is an :class:`IRError`. What Argo keeps of a run, and how
large that may get, is in :mod:`argo_workflow`. Not done: deadlines, caching, placement, tasks side by side. Of retries
only those of lost pods are done, as by Kubeflow Pipelines 2.17.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from argo_workflow import TooLargeError, Workflow
from ir_pods import (
    PLACEHOLDER,
    Control,
    IRError,
    Namespace,
    Pod,
    Pods,
    Values,
    constant,
    found,
    known,
    only,
    typed,
)

SUCCEEDED, FAILED, SKIPPED = "SUCCEEDED", "FAILED", "SKIPPED"
PIPELINE = {"components", "deploymentSpec", "pipelineInfo", "root", "schemaVersion", "sdkVersion"}
TASK = {
    "cachingOptions", "componentRef", "dependentTasks", "inputs", "retryPolicy", "taskInfo", "triggerPolicy",
}
ALWAYS = "ALL_UPSTREAM_TASKS_COMPLETED"
CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\] (==|!=) (true|false|'[^']*'|-?\d+(?:\.\d+)?)")


@dataclass
class PipelineRun:
    """What came of a run."""

    run_id: str
    state: str = ""
    pods: list[Pod] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    """State of every task that was reached, DAGs included, by path; those left out are not there."""

    error: str = ""
    """What Argo says of a workflow that it could not keep; Kubeflow does not show it."""
    steps: int = 0
    """Pods of the longest chain, Kubeflow's drivers included."""
    bytes: int = 0
    """Size of the workflow at the end, with its status compressed."""

    @property
    def seconds(self) -> int:
        """What the pods of the longest chain cost on a cluster, however short their work is; nobody waits here."""
        return self.steps * STEP_SECONDS

    def pod(self, ending: str) -> Pod:
        (found,) = (pod for pod in self.pods if pod.task.endswith(f"/{ending}"))
        return found

    @property
    def failed(self) -> list[str]:
        """Names of the tasks whose pods failed."""
        return [pod.task.rsplit("/", 1)[1] for pod in self.pods if pod.code]

    @property
    def text(self) -> str:
        return "\n".join(f"--- {pod.task}: {pod.code}\n{pod.text}" for pod in self.pods)


STEP_SECONDS = 10
"""Seconds that a pod takes on a cluster, a driver's or a stage's, until the next one starts."""

Recorded = dict[str, tuple[str, Values]]
"""State and outputs of the tasks of a DAG, by the shown name, under which the drivers record them."""


class Backend:
    """Runs one compiled file in a folder.

    Args:
        compiled: The file.
        folder: For Kubeflow's artifacts and the disks of the pods.
        namespace: What the namespace of the pods holds.
    """

    def __init__(self, compiled: Path, folder: Path, namespace: Namespace) -> None:
        self.spec, *others = yaml.safe_load_all(compiled.read_text("utf-8"))
        known(self.spec, PIPELINE, "the pipeline")
        self.executors = self.spec["deploymentSpec"]["executors"]
        self.platform: dict[str, Any] = {}
        for document in others:
            known(document, {"platforms"}, "the second document")
            known(document["platforms"], {"kubernetes"}, "platforms")
            self.platform |= document["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        known(self.platform, set(self.executors), "the executors of the platform")
        self._folder, self._namespace = folder, namespace

    def run(self, run_id: str = "", control: Control | None = None, /, **parameters: Any) -> PipelineRun:
        """Run the pipeline with parameters; the defaults of the root hold for those not given.

        Args:
            run_id: Kubeflow's id of the run; made up where it is empty.
            control: Ends the run, or a pod of it, from outside.
            **parameters: By name.
        """
        run, control = PipelineRun(run_id or str(uuid.uuid4())), control or Control()
        folder = self._folder / run.run_id
        pods = Pods(self.executors, self.platform, self._namespace, folder, run.run_id, run.pods, control)
        given = typed(self.spec["root"], Values(parameters), "the run")
        workflow = Workflow(self.spec, self.platform)
        try:
            root = _Run(self.spec["components"], pods, run, workflow)
            run.state, _, run.steps = root.dag(self.spec["root"], given, "")
        except TooLargeError as error:  # Argo ends the workflow with an error: no exit task runs
            run.state, run.error = FAILED, str(error)
        run.bytes = workflow.bytes
        return run


@dataclass(frozen=True)
class _Run:
    components: dict[str, Any]
    pods: Pods
    run: PipelineRun
    workflow: Workflow

    def dag(self, component: dict[str, Any], given: Values, path: str) -> tuple[str, Values, int]:
        """Run a DAG; returns its state, its outputs, and the pods of its longest chain."""
        dag = component["dag"]
        known(dag, {"tasks", "outputs"}, path or "root")
        recorded: Recorded = {}
        ended: dict[str, str] = {}  # by the key, under which Argo knows a task
        chains: dict[str, int] = {}
        for key, task in in_order(dag["tasks"], path):
            name, policy = task["taskInfo"]["name"], task.get("triggerPolicy", {})
            known(policy, {"condition", "strategy"}, f"{path}/{name}: triggerPolicy")
            strategy = policy.get("strategy")
            if strategy not in (None, ALWAYS):
                raise IRError(f"{path}/{name}: strategy {strategy}")
            waits = {ended.get(other, "") for other in task.get("dependentTasks", ())}
            if strategy != ALWAYS and (FAILED in ended.values() or waits - {SUCCEEDED} or self.pods.control.terminated):
                continue  # where something failed, Argo starts no more in a DAG
            if name in recorded:
                raise IRError(f"{path}: two tasks are called {name}")
            state, made, steps = self.task(task, given, recorded, f"{path}/{name}")
            recorded[name] = state, made
            ended[key] = self.run.states[f"{path}/{name}"] = state
            chains[key] = steps + max((chains.get(other, 0) for other in task.get("dependentTasks", ())), default=0)
        longest = max(chains.values(), default=0)
        if FAILED in ended.values() or self.pods.control.terminated:
            return FAILED, Values(), longest
        return SUCCEEDED, outputs_of(component, recorded, path), longest

    def task(
        self, task: dict[str, Any], around: Values, recorded: Recorded, path: str
    ) -> tuple[str, Values, int]:
        """Run a task; returns its state, its outputs, and how many pods ran one after the other, the driver's first."""
        known(task, TASK, path)
        component = found(self.components, task["componentRef"]["name"], f"{path}: no component")
        known(component, {"dag", "executorLabel", "inputDefinitions", "outputDefinitions"}, path)
        given = typed(component, self.inputs(task, around, recorded, path), path)
        self.workflow.add(task, component)
        if (condition := task.get("triggerPolicy", {}).get("condition")) and not holds(condition, given, path):
            return SKIPPED, Values(), 1
        if "dag" in component:
            state, made, steps = self.dag(component, given, path)
            return state, made, 1 + steps
        self.workflow.add(task, component)
        ran = self.pods.start(component, given, path, task.get("retryPolicy", {}).get("maxRetryCount", 0))
        return (FAILED, Values(), 2) if ran is None else (SUCCEEDED, ran, 2)

    def inputs(self, task: dict[str, Any], around: Values, recorded: Recorded, path: str) -> Values:
        """Return the inputs of a task."""
        given, spec = Values(), task.get("inputs", {})
        known(spec, {"parameters", "artifacts"}, path)

        def of(producer: str) -> tuple[str, Values]:
            return found(recorded, producer, f"{path}: no task is recorded as")

        for name, source in spec.get("artifacts", {}).items():
            kind, at = only(source, path)
            if kind == "componentInputArtifact":
                given.artifacts[name] = found(around.artifacts, at, f"{path}: the DAG around has no artifact")
            elif kind == "taskOutputArtifact":
                made = of(at["producerTask"])[1].artifacts
                given.artifacts[name] = found(made, at["outputArtifactKey"], f"{path}: {at['producerTask']} made no")
            else:
                raise IRError(f"{path}: an artifact from {kind}")
        for name, source in spec.get("parameters", {}).items():
            kind, at = only(source, path)
            if kind == "componentInputParameter":
                given.parameters[name] = found(around.parameters, at, f"{path}: the DAG around has no parameter")
            elif kind == "taskOutputParameter":
                values = of(at["producerTask"])[1].parameters
                given.parameters[name] = found(
                    values, at["outputParameterKey"], f"{path}: {at['producerTask']} made no"
                )
            elif kind == "runtimeValue":
                value = constant(at, path)
                if value == "{{$.pipeline_job_uuid}}":
                    value = self.run.run_id
                elif PLACEHOLDER.search(str(value)):
                    raise IRError(f"{path}: {value} is filled in nowhere")
                given.parameters[name] = value
            elif kind == "taskFinalStatus":
                state = of(at["producerTask"])[0]
                given.parameters[name] = {
                    "state": "COMPLETE" if state == SUCCEEDED else state, "pipelineTaskName": at["producerTask"],
                    "pipelineJobResourceName": f"runs/{self.run.run_id}", "error": {},
                }
            else:
                raise IRError(f"{path}: a parameter from {kind}")
        return given


def in_order(tasks: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tasks of a DAG, those first that others depend on; exit tasks come last."""
    left, done = dict(sorted(tasks.items())), set()
    while left:
        ready = [key for key, task in left.items() if set(task.get("dependentTasks", ())) <= done]
        if not ready:
            raise IRError(f"{path}: {sorted(left)} wait for tasks that are not there, or for one another")
        done.add(ready[0])
        yield ready[0], left.pop(ready[0])


def outputs_of(component: dict[str, Any], recorded: Recorded, path: str) -> Values:
    """Return the outputs of a DAG; of several selectors the one whose task was not skipped."""
    made, spec = Values(), component["dag"].get("outputs", {})
    known(spec, {"artifacts", "parameters"}, f"{path}: outputs")

    def chosen(selectors: list[dict[str, str]], name: str) -> tuple[Values, dict[str, str]]:
        ran = [one for one in selectors if recorded.get(one["producerSubtask"], ("",))[0] == SUCCEEDED]
        if len(ran) != 1:
            raise IRError(f"{path}: {len(ran)} tasks made {name}")
        return recorded[ran[0]["producerSubtask"]][1], ran[0]

    for name, source in spec.get("artifacts", {}).items():
        known(source, {"artifactSelectors"}, path)
        values, one = chosen(source["artifactSelectors"], name)
        made.artifacts[name] = found(values.artifacts, one["outputArtifactKey"], f"{path}: no output")
    for name, source in spec.get("parameters", {}).items():
        kind, at = only(source, path)
        known({kind: at}, {"valueFromParameter", "valueFromOneof"}, path)
        values, one = chosen([at] if kind == "valueFromParameter" else at["parameterSelectors"], name)
        made.parameters[name] = found(values.parameters, one["outputParameterKey"], f"{path}: no output")
    return made


def holds(condition: str, given: Values, path: str) -> bool:
    """Return whether a condition holds; of CEL only what our pipelines use."""
    match = CONDITION.fullmatch(condition)
    if match is None:
        raise IRError(f"{path}: condition {condition}")
    name, sign, text = match.groups()
    value = found(given.parameters, name, f"{path}: the condition has no parameter")
    wanted = text[1:-1] if text.startswith("'") else json.loads(text)
    if isinstance(value, bool) != isinstance(wanted, bool) or isinstance(value, str) != isinstance(wanted, str):
        raise IRError(f"{path}: CEL does not compare {type(value).__name__} with {type(wanted).__name__}")
    return bool((value == wanted) == (sign == "=="))
