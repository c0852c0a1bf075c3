"""The table of stages: what is known of a stage besides its code.

A new stage is a module in ``thinksafe/stages``, a component folder, and one entry here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

ImageKind = Literal["cpu", "sampler", "trainer"]


@dataclass(frozen=True)
class StageSpec:
    """One stage."""

    image: ImageKind = "cpu"
    """Kind of image that its pods run in; only ``cpu`` asks for no GPU."""
    plans: bool = False
    """It makes the plan, so that it checks for which cluster the pipeline was compiled."""
    reads_models: bool = False
    """It reads the hub or copies of it: its pods get the hub's token and the model cache."""
    mlflow: bool = False
    """It talks to MLflow: only such pods get its credentials."""
    cached: bool = True
    """Kubeflow may take the outputs of an earlier task with the same inputs. Not where the stage reads or changes
    something outside of them: registry, ledger, records, served model."""
    retried: bool = True
    """It is started again after a failure. Not where it gives or announces a verdict: none is drawn or sent twice."""
    runs_after_failure: bool = False
    """It runs although another task failed."""
    shown: bool = True
    """A success has a line of its own on the terminal."""
    preloaded: bool = False
    """Local runs import its module once, before the first stage: several stages need what it imports."""


STAGES: dict[str, StageSpec] = {
    "plan": StageSpec(plans=True, reads_models=True, mlflow=True, cached=False, preloaded=True),
    "prepare": StageSpec(reads_models=True),
    "due": StageSpec(cached=False),
    "sample": StageSpec("sampler", reads_models=True, preloaded=True),
    "judge": StageSpec("sampler", reads_models=True, preloaded=True),
    "grade": StageSpec(preloaded=True),
    "merge": StageSpec(shown=False, preloaded=True),
    "diagnose": StageSpec(retried=False),
    "curate": StageSpec(),
    "train": StageSpec("trainer", reads_models=True),
    "register": StageSpec(mlflow=True, cached=False, preloaded=True),
    "metrics": StageSpec(preloaded=True),
    "gate": StageSpec(mlflow=True, cached=False, retried=False, preloaded=True),
    "promote": StageSpec(mlflow=True, cached=False),
    # it judges what the served model says, with the guard of the evaluation
    "deploy": StageSpec("sampler", reads_models=True, mlflow=True, cached=False),
    "plan_evaluation": StageSpec(plans=True, reads_models=True, mlflow=True, cached=False),
    "monitor": StageSpec(cached=False, retried=False),
    "alarm": StageSpec(cached=False, retried=False),
    "report": StageSpec(mlflow=True, cached=False, runs_after_failure=True),
}
"""All stages, in the order in which a realignment meets them, then those of an evaluation."""

DEFAULT = StageSpec()
"""What holds for ``default`` in ``cluster.stages``."""

if TYPE_CHECKING:
    StageName = str
else:
    StageName = Literal[("default", *STAGES)]
"""A stage in ``cluster.stages``, or ``default``: what the other stages take where they say nothing."""


def spec_of(stage: str) -> StageSpec:
    """Return the entry of a stage, or that of ``default``. Raises KeyError for an unknown name."""
    return DEFAULT if stage == "default" else STAGES[stage]
