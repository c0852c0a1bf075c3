"""Give a compiled pipeline the same text every time.

KFP merges a sub-pipeline by walking protobuf maps, whose order changes from process to process, and numbers
components and executors with the same name in that order: compiling twice gives two texts. It also renames executors
one after the other, so tasks of one component may end up sharing an executor. That is harmless only if all tasks of a
stage have the same settings, so here each component gets a separate executor again.

Loops, conditions and exit handlers with a name of ours have it only as the display name: their key stays
``for-loop-1``, and other tasks refer to the key. In some releases, KFP's drivers record a loop, a condition or an exit
handler under the display name, but all releases look it up by key. If the two differ, the drivers do not find the
outputs of a loop's iterations (kubeflow/pipelines#13239). Here the key becomes the name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

COMPONENT, EXECUTOR = "comp-", "exec-"


def canonicalise(pipeline: dict[str, Any], platforms: dict[str, Any] | None = None) -> None:
    """Rename tasks, components and executors in place, in the order of the tasks from the root.

    Args:
        pipeline: PipelineSpec, as KFP writes it.
        platforms: PlatformSpec, the second document of pipelines with settings for Kubernetes.
    """
    components, executors = pipeline["components"], pipeline["deploymentSpec"]["executors"]
    for component in (pipeline["root"], *components.values()):
        if "dag" in component:
            _name_tasks(component["dag"])
    names: dict[str, str] = {}
    _name_components(pipeline["root"], components, names)
    labels = {
        EXECUTOR + new.removeprefix(COMPONENT): components[old]["executorLabel"]
        for old, new in names.items()
        if "executorLabel" in components[old]
    }
    for old, new in names.items():
        if "executorLabel" in components[old]:
            components[old]["executorLabel"] = EXECUTOR + new.removeprefix(COMPONENT)
    for component in (pipeline["root"], *components.values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["componentRef"]["name"] = names[task["componentRef"]["name"]]
    pipeline["components"] = {new: components[old] for old, new in names.items()}
    pipeline["deploymentSpec"]["executors"] = _relabelled(executors, labels)
    for platform in (platforms or {}).get("platforms", {}).values():
        settings = platform["deploymentSpec"]
        settings["executors"] = _relabelled(settings["executors"], labels)


def rewrite_file(path: Path, defaults: Mapping[str, Any]) -> None:
    """Rewrite a compiled pipeline in its canonical form, KFP's comment on top kept.

    Args:
        path: File that KFP's compiler wrote.
        defaults: New defaults of pipeline parameters. They are set here because KFP's compiler copies a default of
            several lines into its comment as it is, and the file is no YAML any more.
    """
    text = path.read_text("utf-8")
    comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    documents = list(yaml.load_all(text, yaml.CSafeLoader))
    canonicalise(*documents)
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    for name, value in defaults.items():
        parameters[name] |= {"defaultValue": value, "isOptional": True}
    path.write_text(comment + yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True), "utf-8")


def _name_tasks(dag: dict[str, Any]) -> None:
    """Give each task of a DAG its shown name as its key; where another bears that name, show the key instead."""
    tasks, names = dag["tasks"], {key: key for key in dag["tasks"]}
    for key, task in sorted(tasks.items()):
        about = task.get("taskInfo", {"name": key})
        if about["name"] not in names.values():
            names[key] = about["name"]
        about["name"] = names[key]
    dag["tasks"] = {names[key]: task for key, task in tasks.items()}
    for task in tasks.values():
        if "dependentTasks" in task:
            task["dependentTasks"] = sorted(names[key] for key in task["dependentTasks"])
    _refer(dag, names)


def _refer(part: Any, names: Mapping[str, str]) -> None:
    # producerTask in inputs and final states, producerSubtask in outputs of the DAG: nothing else names a task
    if isinstance(part, list):
        for value in part:
            _refer(value, names)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("producerTask", "producerSubtask") and isinstance(value, str):
                part[key] = names[value]
            else:
                _refer(value, names)


def _name_components(component: dict[str, Any], components: dict[str, Any], names: dict[str, str]) -> None:
    for task_name, task in sorted(component.get("dag", {}).get("tasks", {}).items()):
        old = task["componentRef"]["name"]
        if old in names:
            continue
        number, new = 1, COMPONENT + task_name
        taken = set(names.values())
        while new in taken:
            number += 1
            new = f"{COMPONENT}{task_name}-{number}"
        names[old] = new
        _name_components(components[old], components, names)


def _relabelled(executors: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    # copies, because YAML writes an object that occurs twice as a reference
    return {new: json.loads(json.dumps(executors[old])) for new, old in labels.items() if old in executors}
