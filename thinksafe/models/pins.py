"""Hub ids of a configuration: which ones are not pinned to a commit, and their current commits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.data import FileSource, HubSource, KnownSource
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.pods import DIGEST_VARIABLE
from thinksafe.config.suite import SuiteConfig
from thinksafe.errors import ConfigError
from thinksafe.models.hub import hub_commit, is_commit, is_hub_id


@dataclass(frozen=True)
class Pin:
    """A hub id and its revision in a configuration."""

    key: str
    """Dotted key of the revision."""
    kind: str
    """``model`` or ``dataset``."""
    name: str
    revision: str


def hub_ids(config: RealignmentConfig | SuiteConfig) -> list[Pin]:
    """Return every model and data set of the hub that a configuration names, in the order of its keys."""
    return [pin for pin in _named(config) if is_hub_id(pin.name)]


def unpinned(config: RealignmentConfig | SuiteConfig) -> list[Pin]:
    """Return the hub ids whose revision is not a commit: they may change at any time."""
    return [pin for pin in hub_ids(config) if not is_commit(pin.revision)]


def require_pinned(config: RealignmentConfig | SuiteConfig) -> ClusterSettings:
    """Return the ``cluster`` section of a configuration that can be run on a cluster.

    Raises:
        ConfigError: there is no such section, a hub id is not pinned, a file is on this machine, or there are two
            MLflow servers.
    """
    if config.cluster is None:
        raise ConfigError(
            f"The configuration {config.name} has no section cluster.", "Add one; docs/cluster.md shows the smallest."
        )
    if loose := unpinned(config):
        named = ", ".join(f"{pin.key} ({pin.name})" for pin in loose)
        raise ConfigError(
            f"A cluster needs hub ids at a commit; not pinned: {named}.",
            f"Run `thinksafe config pin` and set {loose[0].key} to the commit that it prints.",
        )
    if here := _files_here(config):
        raise ConfigError(
            f"The pods of a cluster cannot read the files of this folder: {', '.join(here)}.",
            "Copy them into the bucket and name them s3://bucket/key, or give their absolute path in pods.",
        )
    tracking = config.registry.tracking_uri if config.registry is not None else ""
    if tracking and tracking.rstrip("/") != config.cluster.mlflow.uri:
        raise ConfigError(
            "registry.tracking_uri and cluster.mlflow.uri name two MLflow servers, and the first would win.",
            "Leave registry.tracking_uri out: on a cluster, cluster.mlflow sets the server and its credentials.",
        )
    return config.cluster


def _files_here(config: RealignmentConfig | SuiteConfig) -> list[str]:
    """Return the key and path of every file or folder named relative to the working directory."""
    found = [(pin.key.replace(".revision", ".repo" if pin.kind == "dataset" else ".model"), pin.name)
             for pin in _named(config) if pin.name.startswith(".")]
    sets = [(f"evaluation.benchmarks.{index}", item.prompts) for index, item in enumerate(config.evaluation.benchmarks)]
    if isinstance(config, RealignmentConfig):
        for label, of in (("harmful", config.data.harmful), ("benign", config.data.benign)):
            sets += [(f"data.{label}.{index}", item.prompts) for index, item in enumerate(of)]
    found += [
        (f"{key}.prompts.path", prompts.path) for key, prompts in sets
        if isinstance(prompts, FileSource | KnownSource) and prompts.path
    ]
    found += [(f"guard.{use}.policy", guard.policy) for use, guard in config.guard.named.items() if guard.policy]
    return [f"{key} ({path})" for key, path in found if not path.startswith(("/", "s3://"))]


def require_pinned_methods(config: str, overrides: list[str]) -> ClusterSettings:
    """Return the ``cluster`` section of a comparison whose methods can all be run on a cluster.

    Args:
        config: Recipe name, path or YAML text.
        overrides: ``key=value`` texts.

    Raises:
        ConfigError: see :func:`require_pinned` and :func:`thinksafe.config.comparison.load_comparison`.
    """
    from thinksafe.config.comparison import load_comparison

    comparison = load_comparison(config, overrides)
    for method in comparison.methods.values():
        require_pinned(method)
    return require_pinned(comparison.base)


def require_compiled_cluster(config: RealignmentConfig | SuiteConfig) -> None:
    """Refuse, in a pod, a configuration for another cluster than the pipeline was compiled for.

    The section is compiled into the pipeline, so a run would ignore another one. Outside a cluster, where
    :data:`thinksafe.config.pods.DIGEST_VARIABLE` is not set, everything is accepted.

    Raises:
        ConfigError: the sections differ, or see :func:`require_pinned`.
    """
    compiled = os.environ.get(DIGEST_VARIABLE, "")
    if compiled and require_pinned(config).digest != compiled:
        raise ConfigError(
            "The cluster section of the configuration differs from the one that this pipeline was compiled with.",
            "Run `thinksafe publish` with this configuration, and submit that version.",
        )


def require_place_for_nodes(config: RealignmentConfig) -> None:
    """Refuse, outside a cluster, a configuration whose training wants several nodes. Raises ConfigError."""
    if config.training.nodes > 1 and not os.environ.get(DIGEST_VARIABLE):
        raise ConfigError(
            f"training.nodes is {config.training.nodes}, and this is a run on one machine: several nodes need a "
            "cluster.",
            "Run `thinksafe publish` and `thinksafe submit` with this configuration, or set training.nodes to 1.",
        )


def resolve(pin: Pin) -> str:
    """Return the current commit of a hub id. Raises InputError if the hub gives no access or cannot be reached."""
    return hub_commit(pin.key, pin.name, pin.revision, dataset=pin.kind == "dataset")[0]


def _named(config: RealignmentConfig | SuiteConfig) -> Iterator[Pin]:
    if config.student is not None:
        yield Pin("student.revision", "model", config.student.model, config.student.revision)
    if isinstance(config, RealignmentConfig) and (teacher := config.method.other()) is not None:
        yield Pin("method.teacher.revision", "model", teacher.model, teacher.revision)
    for use, guard in config.guard.named.items():
        if guard.model:
            yield Pin(f"guard.{use}.revision", "model", guard.model, guard.revision)
    if isinstance(config, RealignmentConfig):
        for label, sets in (("harmful", config.data.harmful), ("benign", config.data.benign)):
            for index, prompts in enumerate(sets):
                if isinstance(prompts.prompts, HubSource):
                    key = f"data.{label}.{index}.prompts.revision"
                    yield Pin(key, "dataset", prompts.prompts.repo, prompts.prompts.revision)
    for index, benchmark in enumerate(config.evaluation.benchmarks):
        if isinstance(benchmark.prompts, HubSource):
            key = f"evaluation.benchmarks.{index}.prompts.revision"
            yield Pin(key, "dataset", benchmark.prompts.repo, benchmark.prompts.revision)
