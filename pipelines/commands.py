"""The pipelines behind the user commands: run one on this machine, compile one for a cluster.

Imported lazily by ``thinksafe.cli``, which never imports KFP itself.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from thinksafe.config.placeholders import escape_document, escape_json, holds_placeholder, require_short
from thinksafe.errors import ConfigError
from thinksafe.jsonl import write_atomic
from thinksafe_components.images import Images, default_images

if TYPE_CHECKING:
    from thinksafe.config.cluster import ClusterSettings
    from thinksafe_pipelines.local.runner import RunOutcome

PIPELINES = ("realign", "evaluate", "compare", "promote")
"""Names of the pipelines, each a module of this package with a ``make(setting)``."""

COMPARE = "compare"
"""The pipeline whose shape follows from the configuration: it is made for the methods that this lists."""

PROMOTE = "promote"
"""The pipeline that goes on with a run, by the run's records: it takes no configuration."""


def make_pipeline(
    name: str, images: Images | None = None, cluster: ClusterSettings | None = None,
    config_document: str | None = None, overrides: Sequence[str] = (),
) -> Any:
    """Return a pipeline with its images, the default ones when None, or for a cluster, whose settings name them.

    Args:
        name: Name of the pipeline.
        images: Images of the tasks.
        cluster: Settings of the cluster.
        config_document: Configuration; ``realign`` has its rounds, and ``compare`` its methods. None for one round.
        overrides: ``key=value`` texts for it.

    Raises:
        ConfigError: there is no pipeline of this name, or there are no methods to compare.
    """
    if name not in PIPELINES:
        raise ConfigError(f"There is no pipeline {name!r}.", f"Pipelines: {', '.join(PIPELINES)}.")
    make: Callable[..., Any] = import_module(f"thinksafe_pipelines.{name}").make
    setting = images or default_images()
    if cluster is not None:
        setting = import_module("thinksafe_pipelines.kfp.cluster").ClusterSetting(cluster)
    if name == "realign":
        return make(setting, _rounds(config_document, overrides))
    if name != COMPARE:
        return make(setting)
    from thinksafe.config.comparison import load_comparison, shared_work

    if config_document is None:
        raise ConfigError("The pipeline compare is made for the methods of a config.", "Give the config.")
    return make(setting, shared_work(load_comparison(config_document, list(overrides))))


def _rounds(config_document: str | None, overrides: Sequence[str]) -> int:
    """Return the rounds of a configuration, of which nothing else is read. Raises ConfigError."""
    from thinksafe.config.load import find_document, read_value, validated
    from thinksafe.config.model import SampleSettings

    if config_document is None:
        return 1
    document = find_document(config_document)
    value, _ = read_value(document, list(overrides))
    return validated(SampleSettings, document, value.get("sampling") or {}, {}).rounds


def run_pipeline(
    name: str, config_document: str, out: Path, run_id: str, overrides: list[str], console: Console,
    *, artifacts: str = "", arguments: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None, path: Path | None = None,
    runner: Literal["host", "docker"] = "host", mounts: Sequence[Path] = (),
) -> RunOutcome:
    """Run a pipeline on this machine and show it on the console.

    Everything lands below ``out``: the store, MLflow's database, KFP's folders (``kfp``) and the logs
    (``logs/<run id>``). A failing task does not raise; the exit task has run when this returns.

    Args:
        name: Name of the pipeline.
        config_document: Configuration: YAML text, path or recipe name.
        out: Folder of the run; created if missing.
        run_id: Run id.
        overrides: ``key=value`` texts.
        console: Where to show the run.
        artifacts: Store root; ``out/store`` by default.
        arguments: Further parameters of the pipeline.
        environment: Environment variables of the stages in addition to those of this process.
        path: Folder whose commands take precedence; the interpreter's own by default.
        runner: ``host``: stages are processes of this machine. ``docker``: containers of the default images.
        mounts: Files and folders that containers read besides ``out``.

    Raises:
        ConfigError: there is no pipeline of this name, or Docker, an image or a mount is missing.
        StageError: the installed KFP is not one that the local runner works with.
        KeyboardInterrupt, SystemExit: the run was asked to stop; all stages have ended.
    """
    from thinksafe_pipelines.local.display import Display
    from thinksafe_pipelines.local.runner import run_locally

    out = out.absolute()
    given = {
        "config": escape_document(config_document), "overrides": escape_json(json.dumps(overrides)), "run_id": run_id,
        "artifacts": artifacts or str(out / "store"), **(arguments or {}),
    }
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{out / 'mlflow.db'}", **(environment or {})}
    containers, images = None, default_images()
    if runner == "docker":
        from thinksafe_pipelines.local.containers import Containers, has_gpu

        images = default_images(gpu=has_gpu())
        containers = Containers(out, images, tuple(mount.absolute() for mount in mounts))
    with Display(console) as display:
        return run_locally(
            make_pipeline(name, images, None, config_document, overrides), given,
            root=out / "kfp", logs=out / "logs" / run_id, listener=display,
            environment=variables, path=path, containers=containers,
        )


def run_realign(
    config_document: str, out: Path, run_id: str, overrides: list[str], console: Console, **options: Any
) -> RunOutcome:
    """Run a realignment on this machine; see :func:`run_pipeline`."""
    return run_pipeline("realign", config_document, out, run_id, overrides, console, **options)


def run_evaluation(
    suite_document: str, out: Path, run_id: str, overrides: list[str], console: Console, *, model: str, fresh: bool,
    **options: Any,
) -> RunOutcome:
    """Run an evaluation on this machine; see :func:`run_pipeline`."""
    arguments = {"model": model, "fresh": fresh}
    return run_pipeline("evaluate", suite_document, out, run_id, overrides, console, arguments=arguments, **options)


def run_comparison(
    config_document: str, out: Path, run_id: str, overrides: list[str], console: Console, **options: Any
) -> RunOutcome:
    """Run a comparison on this machine; see :func:`run_pipeline`."""
    return run_pipeline(COMPARE, config_document, out, run_id, overrides, console, **options)


def compile_pipeline(
    name: str, config_document: str | None, overrides: list[str], output: Path, images: Images | None = None,
    cluster: ClusterSettings | None = None, author: str = "",
) -> Path:
    """Write a pipeline as KFP's IR YAML, which can be uploaded to a cluster.

    With the settings of a cluster the file has two documents; the second holds what only Kubernetes knows.

    Args:
        name: Name of the pipeline.
        config_document: Configuration that becomes the default of the pipeline's parameter; None leaves it required.
            A comparison is made for its methods.
        overrides: Become the default of the parameter of that name.
        output: File to write, ``.yaml``; replaced atomically.
        images: Images of the tasks; the default ones when None.
        cluster: Settings of the cluster, its images among them; its store becomes the default of ``artifacts``.
        author: Becomes the default of the parameter of that name; empty leaves it empty.

    Returns:
        The file.

    Raises:
        ConfigError: no pipeline of this name, the file's name does not end in ``.yaml``, the author's name holds a
            placeholder, or the configuration or the workflow is too large for a cluster.
        StageError: the file could not be written.
    """
    from kfp import compiler, components

    from thinksafe_pipelines.kfp.canonical import rewrite_file
    from thinksafe_pipelines.kfp.size import require_size

    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"The output {output} is not a YAML file.", "Name a file that ends in .yaml.")
    if holds_placeholder(author):
        raise ConfigError(f"The author {author[:80]!r} contains a placeholder of Kubeflow.", "Act as somebody else.")
    takes = name != PROMOTE
    defaults = {"config": escape_document(config_document)} if takes and config_document is not None else {}
    if takes and overrides:
        defaults["overrides"] = escape_json(json.dumps(overrides))
    if author:
        defaults["author"] = author
    if cluster is not None:
        require_short(defaults.get("config", ""), defaults.get("overrides", ""))
        defaults["artifacts"] = cluster.store
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "pipeline.yaml"
        compiler.Compiler().compile(make_pipeline(name, images, cluster, config_document, overrides), str(path))
        rewrite_file(path, defaults)
        components.load_component_from_file(str(path))
        if cluster is not None:
            require_size(path)
        write_atomic(output, path.read_bytes())
    return output
