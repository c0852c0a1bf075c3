"""Keep the compiled pipelines in the repository, so that a review shows what a change does to them.

``python -m thinksafe_pipelines.kfp.snapshot`` writes them; with ``--check`` it only says which ones are out of date
and exits 1. Each pipeline stands there whole, with fixed images and without a configuration, but the comparison, which
is made for the methods of one. For each cluster in
``clusters/`` stands what its settings add to the tasks of a stage, and nothing else: everything is compiled for it
and compared.
"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.parallelism import with_jobs
from thinksafe.config.pods import JOBS_VARIABLE, STAGE_LABEL
from thinksafe_components.images import Images
from thinksafe_pipelines.commands import COMPARE, PIPELINES, compile_pipeline

SNAPSHOT_IMAGES = Images(*(f"thinksafe/{kind}:snapshot" for kind in Images._fields))
FOLDER = Path(str(resources.files("thinksafe_pipelines.kfp")))
CLUSTERS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted((FOLDER / "clusters").glob("*.yaml"))
}
"""``cluster`` sections of three clusters, as examples."""

COMPARED = "extends: micro\ncompare: [{name: thinksafe}, {name: rejection, overrides: {method: {kind: rejection}}}]\n"
"""The comparison whose pipeline stands there: its shape follows from the methods."""

SETTINGS = {"container": ("env", "image", "resources"), "task": ("retryPolicy",)}
"""What a cluster may add to the container and to the task of a stage."""

STARTS_JOB = " (starts a Job)"
"""What the name of a stage gets whose task starts a Job for the work."""

HEAD = "# Written by `python -m thinksafe_pipelines.kfp.snapshot`: what the settings of {name} add, by stage.\n"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the snapshots; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m thinksafe_pipelines.kfp.snapshot", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when one is out of date")
    check = parser.parse_args(arguments).check
    folder = FOLDER / "snapshots"
    wanted = snapshots()
    stale = [folder / name for name, text in wanted.items() if _text(folder / name) != text]
    # a snapshot of a pipeline or cluster that went
    stale += [path for path in sorted(folder.glob("*")) if path.name not in wanted]
    for path in stale:
        if not check and path.name in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path.name], "utf-8")
        elif not check:
            path.unlink()
        sys.stdout.write(f"{'out of date' if check else 'written'}: {path.parent.name}/{path.name}\n")
    return 1 if check and stale else 0


def snapshots() -> dict[str, str]:
    """Return the text of each snapshot by its file's name.

    Raises:
        ValueError: see :func:`additions`.
    """
    texts, plain = {}, {}
    for pipeline in PIPELINES:
        texts[f"{pipeline}.yaml"] = _compile(pipeline, None)
        plain[pipeline] = yaml.load(texts[f"{pipeline}.yaml"], yaml.CSafeLoader)
    for name, section in CLUSTERS.items():
        # with the parallelism of micro, so that tasks that start a Job are in them
        cluster = with_jobs(ClusterSettings.model_validate(section), dict(load_config("micro")))
        stages: dict[str, Any] = {}
        for pipeline in PIPELINES:
            document = yaml.load_all(_compile(pipeline, cluster), yaml.CSafeLoader)
            for stage, added in additions(plain[pipeline], *document).items():
                if stages.setdefault(stage, added) != added:
                    raise ValueError(f"{name}: the pipelines give the stage {stage} different settings.")
        texts[f"cluster-{name}.yaml"] = HEAD.format(name=name) + _written(_condensed(stages))
    return texts


def additions(plain: Mapping[str, Any], spec: Mapping[str, Any], platform: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cluster's settings add to the tasks of each stage.

    Args:
        plain: The pipeline without a cluster.
        spec: The pipeline compiled for the cluster.
        platform: Second document of that: what only Kubernetes knows.

    Returns:
        By stage (see also :data:`STARTS_JOB`): ``container`` and ``task`` (see :data:`SETTINGS`) and ``kubernetes``.

    Raises:
        ValueError: two tasks of a stage differ, or the settings change anything else.
    """
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    stages: dict[str, Any] = {}
    for (task, executor, label), (bare_task, bare, _) in zip(_tasks(spec), _tasks(plain), strict=True):
        stage, added = executor["container"]["command"][1], {"kubernetes": copy.deepcopy(pods[label])}
        if any(variable["name"] == JOBS_VARIABLE for variable in executor["container"].get("env", ())):
            stage += STARTS_JOB
        for part, ours, theirs in (("container", executor["container"], bare["container"]), ("task", task, bare_task)):
            added[part] = {key: ours[key] for key in SETTINGS[part] if key in ours and ours[key] != theirs.get(key)}
        if stages.setdefault(stage, added) != added:
            raise ValueError(f"The tasks of the stage {stage} have different settings.")
    if _bare(spec) != _bare(plain):
        raise ValueError("The settings of a cluster change more of the pipeline than its tasks' settings.")
    return stages


def _compile(pipeline: str, cluster: ClusterSettings | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        config = COMPARED if pipeline == COMPARE else None
        return compile_pipeline(pipeline, config, [], path, SNAPSHOT_IMAGES, cluster).read_text("utf-8")


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def _written(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=110)


def _tasks(spec: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """Yield task, executor and executor's label of every task that runs a stage."""
    for group in (spec["root"], *spec["components"].values()):
        for task in group.get("dag", {}).get("tasks", {}).values():
            if label := spec["components"][task["componentRef"]["name"]].get("executorLabel"):
                yield task, spec["deploymentSpec"]["executors"][label], label


def _bare(spec: Mapping[str, Any]) -> Any:
    """Return the pipeline without what the settings of a cluster may change."""
    bare = copy.deepcopy(dict(spec))
    for task, executor, _ in _tasks(bare):
        for part, held in (("container", executor["container"]), ("task", task)):
            for key in SETTINGS[part]:
                held.pop(key, None)
    # the store
    bare["root"]["inputDefinitions"]["parameters"]["artifacts"].pop("defaultValue", None)
    return bare


def _condensed(stages: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``every stage`` with what all share, then the rest, stages with the same rest together."""
    for stage, added in stages.items():
        labels = added["kubernetes"]["podMetadata"]["labels"]
        if labels[STAGE_LABEL] != stage.removesuffix(STARTS_JOB):
            raise ValueError(f"The pods of the stage {stage} are labelled {labels[STAGE_LABEL]}.")
        labels[STAGE_LABEL] = "(the stage)"
    shared = _shared(list(stages.values()))
    rest: dict[str, list[str]] = {}
    for stage, added in stages.items():
        rest.setdefault(yaml.safe_dump(_without(added, shared)), []).append(stage)
    by_names = sorted((", ".join(sorted(names)), yaml.safe_load(text)) for text, names in rest.items())
    return {"every stage": shared, **dict(by_names)}


def _shared(values: list[Any]) -> Any:
    first, *others = values
    if isinstance(first, dict):
        keys = [key for key in first if all(key in value for value in others)]
        parts = {key: _shared([value[key] for value in values]) for key in keys}
        return {key: part for key, part in parts.items() if part not in (None, {}, [])}
    if isinstance(first, list):
        return [item for item in first if all(item in value for value in others)]
    return first if all(value == first for value in others) else None


def _without(value: Any, shared: Any) -> Any:
    if isinstance(value, dict):
        parts = {
            key: _without(part, shared[key]) if key in shared else part
            for key, part in value.items() if shared.get(key) != part
        }
        return {key: part for key, part in parts.items() if part not in ({}, [])}
    if isinstance(value, list):
        return [item for item in value if item not in shared]
    return value


if __name__ == "__main__":
    raise SystemExit(main())
