"""The pods of a compiled pipeline, as Kubeflow's launcher and kfp-kubernetes' settings make them, as processes.

A pod's environment holds what the container and the second document give it, Secrets and ConfigMaps resolved, and
nothing of this process but where the commands are. Pods share no disk: artifacts travel through a folder that stands
for the bucket of Kubeflow's artifacts, and lie at ``<disk>/s3/...`` in a pod, as they lie at ``/s3/...`` in a real one.
Volumes are folders; the environment that points into one points into the folder. Images are recorded.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ir_control import Control

ROOT = "s3://pipelines/root"
IMAGE_VARIABLES = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
"""What stands for the environment that comes with an image."""
PLACEMENT = {
    "activeDeadlineSeconds", "emptyDirMounts", "imagePullPolicy", "imagePullSecret", "nodeAffinity", "nodeSelector",
    "podMetadata", "securityContext", "tolerations",
}
"""Settings of the platform that reach neither the environment nor the files of a command."""
KINDS: dict[str, tuple[type, ...]] = {
    "STRING": (str,), "BOOLEAN": (bool,), "NUMBER_DOUBLE": (int, float), "NUMBER_INTEGER": (int, float),
    "LIST": (list,), "STRUCT": (dict,), "TASK_FINAL_STATUS": (dict,),
}
PLACEHOLDER = re.compile(r"\{\{\$[^}]*\}\}")


class IRError(Exception):
    """A backend could not run this file."""


class CannotStartError(IRError):
    """A pod of it cannot start: its Secret, ConfigMap or image is missing. On a cluster it waits, without a word."""

    reason = "CreateContainerConfigError"
    """Kubernetes' reason."""
    pod = ""
    """Its name."""
    labels: Mapping[str, str] = {}


class ImageError(CannotStartError):
    """Its image is missing."""

    reason = "ImagePullBackOff"


@dataclass(frozen=True)
class Namespace:
    """What the namespace of the pods holds."""

    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    injected: Mapping[str, str] = field(default_factory=dict)
    """Environment that a webhook of the cluster gives to all pods, as those of workload identities do."""


@dataclass(frozen=True)
class Pod:
    """A pod that ran."""

    task: str
    """Shown names from the root to the task."""
    image: str
    command: list[str]
    environment: dict[str, str]
    code: int
    text: str


@dataclass
class Values:
    """Inputs or outputs: parameters, and artifacts, which are always lists."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pods:
    """Starts the pods of a run, one after the other."""

    executors: dict[str, Any]
    platform: dict[str, Any]
    namespace: Namespace
    folder: Path
    run_id: str
    ran: list[Pod]
    control: Control

    def start(self, component: dict[str, Any], given: Values, path: str, replaced: int = 0) -> Values | None:
        """Run a pod to its end; returns its outputs, None where it failed.

        A pod that is lost is replaced up to ``replaced`` times, by one with the same disk.
        """
        label, definitions = component["executorLabel"], component.get("outputDefinitions", {})
        known(found(self.executors, label, f"{path}: no executor"), {"container"}, path)
        container = self.executors[label]["container"]
        known(container, {"args", "command", "env", "image", "resources"}, path)
        disk = self.folder / "disks" / path.strip("/").replace("/", ".")
        made = Values({}, {
            name: [{"name": name, "uri": f"{ROOT}/{self.run_id}{path}/{name}", "type": of["artifactType"]}]
            for name, of in definitions.get("artifacts", {}).items()
        })
        fetched = {name: [self.fetch(one, disk) for one in some] for name, some in given.artifacts.items()}
        placed = {name: [placed_at(one, disk) for one in some] for name, some in made.artifacts.items()}
        files = {name: disk / "outputs" / name for name in definitions.get("parameters", {})}
        for file in (*files.values(), *(Path(one["customPath"]) for some in placed.values() for one in some)):
            file.parent.mkdir(parents=True, exist_ok=True)
        executor_input = {
            "inputs": {"parameterValues": given.parameters, "artifacts": listed(fetched)},
            "outputs": {
                "parameters": {name: {"outputFile": str(file)} for name, file in files.items()},
                "artifacts": listed(placed), "outputFile": str(disk / "executor_output.json"),
            },
        }
        values = placeholders(executor_input)
        command = [filled(text, values, path) for text in (*container["command"], *container["args"])]
        added = self.platform.get(label, {}).get("podMetadata", {}).get("labels", {})
        try:
            environment = self.environment(label, container, disk, path)
            if self.control.images and container["image"] not in self.control.images:
                raise ImageError(f'{path}: Back-off pulling image "{container["image"]}"')
        except CannotStartError as error:
            error.pod, error.labels = self.name(path), added
            raise
        labels = {**added, "pipeline/runid": self.run_id}
        for _ in range(replaced + 1):
            code, text = self.control.run(self.name(path), labels, command, disk, environment)
            if not self.control.lost:
                break
        self.ran.append(Pod(path, container["image"], command, environment, code, text))
        if code:
            return None
        for name, file in files.items():
            made.parameters[name] = read(definitions["parameters"][name]["parameterType"], file, path)
        merge(json.loads((disk / "executor_output.json").read_text("utf-8")), made, path)
        for name, (one,) in made.artifacts.items():
            source = Path(placed[name][0]["customPath"])
            if not source.exists():
                raise IRError(f"{path}: the artifact {name} was not written")
            copy(source, self.stored(one))
        return made

    def name(self, path: str) -> str:
        """Return the name of a task's pod."""
        return f"{path.strip('/').replace('/', '.')}-{self.run_id[:8]}"

    def stored(self, artifact: dict[str, Any]) -> Path:
        return self.folder / "bucket" / artifact["uri"].removeprefix("s3://")

    def fetch(self, artifact: dict[str, Any], disk: Path) -> dict[str, Any]:
        here = placed_at(artifact, disk)
        copy(self.stored(artifact), Path(here["customPath"]))
        return here

    def environment(self, label: str, container: dict[str, Any], disk: Path, path: str) -> dict[str, str]:
        """Return the environment of a pod; makes its volumes."""
        made = {**IMAGE_VARIABLES, "HOME": str(disk / "home"), "TMPDIR": str(disk / "tmp"), **self.namespace.injected}
        for name in ("HOME", "TMPDIR"):
            Path(made[name]).mkdir(parents=True, exist_ok=True)
        settings = dict(self.platform.get(label, {}))
        mounts = self.mounts(settings, disk, path)
        known(settings, PLACEMENT | {"secretAsEnv", "configMapAsEnv", "fieldPathAsEnv"}, f"{path}: platform")
        name = self.name(path)
        fields = {
            "metadata.annotations['workflows.argoproj.io/node-name']": f"{name}(0)",
            "metadata.name": name, "metadata.uid": f"uid-{name}",
        }
        for item in settings.get("fieldPathAsEnv", ()):
            known(item, {"name", "fieldPath"}, f"{path}: fieldPathAsEnv")
            made[item["name"]] = found(fields, item["fieldPath"], f"{path}: a pod has no field")
        for item in container.get("env", ()):
            known(item, {"name", "value"}, path)
            mount = next((mount for mount in mounts if item["value"].startswith(f"{mount}/")), "")
            made[item["name"]] = str(mounts.get(mount, "")) + item["value"].removeprefix(mount)
        for kind, key, holders in (
            ("secretAsEnv", "secret", self.namespace.secrets),
            ("configMapAsEnv", "configMap", self.namespace.config_maps),
        ):
            for source in settings.get(kind, ()):
                data = self.data(source, key, holders, {"keyToEnv"}, path)
                for one in source["keyToEnv"]:
                    known(one, {"envVar", f"{key}Key"}, f"{path}: {kind}")
                    if source["optional"] and one[f"{key}Key"] not in data:
                        continue
                    made[one["envVar"]] = found(
                        data, one[f"{key}Key"], f"{path}: the {key} has no key", CannotStartError
                    )
        return made

    def data(
        self, source: dict[str, Any], key: str, holders: Mapping[str, Mapping[str, str]], keys: set[str], path: str
    ) -> Mapping[str, str]:
        """Return what a Secret or ConfigMap holds."""
        known(source, {"optional", f"{key}Name", f"{key}NameParameter", *keys}, path)
        name = constant(source[f"{key}NameParameter"]["runtimeValue"], path)
        if name != source[f"{key}Name"]:
            raise IRError(f"{path}: a {key} has two names")
        if source["optional"] and name not in holders:
            return {}
        return found(holders, name, f"{path}: there is no {key}", CannotStartError)

    def mounts(self, settings: dict[str, Any], disk: Path, path: str) -> dict[str, Path]:
        """Take the volumes out of a pod's settings, and return the folder of this machine for each mount path."""
        made, files = {}, {}
        for volume in settings.pop("configMapAsVolume", ()):
            data = self.data(volume, "configMap", self.namespace.config_maps, {"mountPath"}, path)
            made[volume["mountPath"]] = disk / "config-maps" / volume["configMapName"]
            files |= {made[volume["mountPath"]] / key: text for key, text in data.items()}
        for volume in settings.pop("pvcMount", ()):
            known(volume, {"constant", "mountPath", "pvcNameParameter"}, path)
            made[volume["mountPath"]] = self.folder / "claims" / volume["constant"]
        for volume in settings.pop("genericEphemeralVolume", ()):
            made[volume["mountPath"]] = disk / "volumes" / volume["volumeName"]
        for folder in made.values():
            folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            file.write_text(text)
        return made


def typed(component: dict[str, Any], given: Values, path: str) -> Values:
    """Return inputs with the defaults of the component, checked against its definitions."""
    definitions = component.get("inputDefinitions", {})
    known(definitions, {"artifacts", "parameters"}, path)
    expected = definitions.get("parameters", {})
    known(given.parameters, set(expected), f"{path}: parameters")
    parameters = dict(given.parameters)
    for name, of in expected.items():
        known(of, {"defaultValue", "description", "isOptional", "parameterType"}, f"{path}: {name}")
        if name not in parameters and "defaultValue" not in of:
            raise IRError(f"{path}: parameter {name} has neither a value nor a default")
        kind, value = of["parameterType"], parameters.setdefault(name, of.get("defaultValue"))
        if kind == "STRING":
            parameters[name] = as_text(value)
        elif not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
            raise IRError(f"{path}: parameter {name} is no {kind}")
    if set(given.artifacts) != set(definitions.get("artifacts", {})):
        raise IRError(f"{path}: artifacts {sorted(given.artifacts)}, not {sorted(definitions.get('artifacts', {}))}")
    return Values(parameters, given.artifacts)


def placeholders(executor_input: dict[str, Any]) -> dict[str, str]:
    """Return what the launcher puts in the place of each placeholder."""
    inputs, outputs = executor_input["inputs"], executor_input["outputs"]
    # as protobuf writes messages: without the maps that are empty
    filled = {side: {key: value for key, value in of.items() if value} for side, of in executor_input.items()}
    made = {"{{$}}": json.dumps(filled)}
    made |= {f"{{{{$.inputs.parameters['{name}']}}}}": as_text(at) for name, at in inputs["parameterValues"].items()}
    made |= {
        f"{{{{$.outputs.parameters['{name}'].output_file}}}}": at["outputFile"]
        for name, at in outputs["parameters"].items()
    }
    for side, of in (("inputs", inputs), ("outputs", outputs)):
        for name, some in of["artifacts"].items():
            if some["artifacts"]:  # of a list, the first
                made[f"{{{{$.{side}.artifacts['{name}'].uri}}}}"] = some["artifacts"][0]["uri"]
                made[f"{{{{$.{side}.artifacts['{name}'].path}}}}"] = some["artifacts"][0]["customPath"]
    return made


def filled(text: Any, values: Mapping[str, str], path: str) -> str:
    """Return an argument with its placeholders filled in."""
    if not isinstance(text, str) or text.startswith(('{"IfPresent"', '{"Concat"')):
        raise IRError(f"{path}: no component of ours has an argument such as {str(text)[:40]}")
    used = PLACEHOLDER.findall(text)
    if missing := [one for one in used if one not in values]:
        raise IRError(f"{path}: nothing to put in the place of {missing}")
    # the launcher fills in one after the other, in any order: also what a value brings along
    if any(PLACEHOLDER.search(values[one]) for one in used):
        raise IRError(f"{path}: a value holds a placeholder")
    return PLACEHOLDER.sub(lambda match: values[match[0]], text)


def read(kind: str, file: Path, path: str) -> Any:
    """Return an output parameter as the launcher reads it."""
    if not file.is_file():
        raise IRError(f"{path}: the output parameter {file.name} was not written")
    text = file.read_text("utf-8")
    value = text if kind == "STRING" else json.loads(text)
    if not isinstance(value, KINDS[kind]):
        raise IRError(f"{path}: the output parameter {file.name} is no {kind}")
    return value


def merge(written: dict[str, Any], made: Values, path: str) -> None:
    """Merge the executor output into the output artifacts."""
    known(written, {"artifacts"}, f"{path}: executor output")
    for name, of in written["artifacts"].items():
        (one,), (target,) = of["artifacts"], found(made.artifacts, name, f"{path}: no output artifact")
        known(one, {"name", "uri", "metadata"}, f"{path}: executor output")
        target |= {"uri": one["uri"], "metadata": one["metadata"]}


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def constant(value: dict[str, Any], path: str) -> Any:
    known(value, {"constant"}, path)
    return value["constant"]


def placed_at(artifact: dict[str, Any], disk: Path) -> dict[str, Any]:
    """Return an artifact with its path on a pod's disk, which the launcher's ``/s3`` stands in."""
    return {**artifact, "customPath": str(disk / "s3" / artifact["uri"].removeprefix("s3://"))}


def listed(artifacts: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {name: {"artifacts": some} for name, some in artifacts.items()}


def copy(source: Path, target: Path) -> None:
    """Copy an artifact: a file or a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def known(part: Mapping[str, Any], keys: set[str], where: str) -> None:
    if unknown := set(part) - keys:
        raise IRError(f"{where}: unknown keys {sorted(unknown)}")


def only(source: dict[str, Any], where: str) -> tuple[str, Any]:
    if len(source) != 1:
        raise IRError(f"{where}: not one source but {sorted(source)}")
    return next(iter(source.items()))


def found(values: Mapping[str, Any], name: str, problem: str, error: type[IRError] = IRError) -> Any:
    if name not in values:
        raise error(f"{problem} {name}")
    return values[name]
