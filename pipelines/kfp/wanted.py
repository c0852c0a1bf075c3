"""What the settings of a cluster say of each pipeline: its name there, and when it runs by itself."""

from dataclasses import dataclass
from typing import Any

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.cluster_services import KfpSettings
from thinksafe.errors import ConfigError
from thinksafe_pipelines.commands import COMPARE, PIPELINES, PROMOTE


@dataclass(frozen=True)
class Wanted:
    """A pipeline as a configuration wants it on its cluster."""

    pipeline: str
    """As this package calls it: one of :data:`thinksafe_pipelines.commands.PIPELINES`."""
    name: str
    """As Kubeflow shows it, and its recurring run."""
    description: str
    enabled: bool
    """Whether it runs by itself."""
    cron: str
    parameters: dict[str, Any]
    """Parameters of scheduled runs that differ from the defaults of the pipeline."""


def name_of(kfp: KfpSettings, pipeline: str) -> str:
    """Return the name of a pipeline and of its recurring run. Raises ConfigError when there is none such."""
    if pipeline not in PIPELINES:
        raise ConfigError(f"There is no pipeline {pipeline!r}.", f"Pipelines: {', '.join(PIPELINES)}.")
    others = {
        "evaluate": kfp.evaluation_pipeline, COMPARE: kfp.comparison_pipeline, PROMOTE: kfp.promotion_pipeline,
    }
    return others.get(pipeline, kfp.pipeline)


def wanted(cluster: ClusterSettings, pipeline: str) -> Wanted:
    """Return what the settings say of a pipeline. Raises ConfigError when there is none of this name."""
    name = name_of(cluster.kfp, pipeline)
    if pipeline == "evaluate":
        schedule = cluster.schedule.evaluate
        return Wanted(
            pipeline, name, "Measure a model, and raise the alarm if it got worse.", schedule.enabled, schedule.cron,
            {"model": "champion", "fresh": schedule.fresh, "if_champion": True},
        )
    if pipeline == COMPARE:
        return Wanted(
            pipeline, name, "Compare several methods of repairing a model.", cluster.schedule.compare.enabled,
            cluster.schedule.compare.cron, {},
        )
    if pipeline == PROMOTE:
        return Wanted(pipeline, name, "Promote a model that people approved, and roll it out.", False, "", {})
    return Wanted(
        pipeline, name, "Repair the safety of a reasoning model from its own samples.", cluster.schedule.enabled,
        cluster.schedule.cron, {"if_changed": True},
    )
