"""The table of stages: everything about a stage except its code.

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
    """It makes the plan, so it checks for which cluster the pipeline was compiled."""
    reads_models: bool = False
    """It reads the hub or copies of it: its pods get the hub's token and the model cache."""
    mlflow: bool = False
    """It talks to MLflow: only these pods get its credentials."""
    signs: bool = False
    """It signs: only these pods mount the private key."""
    cached: bool = True
    """Kubeflow may reuse the outputs of an earlier task with the same inputs. False if the stage reads or changes
    anything
    else: registry, ledger, records, served model."""
    retried: bool = True
    """It is retried after a failure. False if it gives or announces a verdict: none is drawn or sent twice."""
    runs_after_failure: bool = False
    """It runs even if another task failed."""
    preloaded: bool = False
    """Local runs import its module once, before the first stage, because several stages need the same imports."""


STAGES: dict[str, StageSpec] = {
    "plan": StageSpec(plans=True, reads_models=True, mlflow=True, cached=False, preloaded=True),
    "prepare": StageSpec(reads_models=True),
    "due": StageSpec(cached=False),
    "sample": StageSpec("sampler", reads_models=True, preloaded=True),
    "judge": StageSpec("sampler", reads_models=True, preloaded=True),
    "grade": StageSpec(preloaded=True),
    "diagnose": StageSpec(retried=False),
    "curate": StageSpec(),
    "train": StageSpec("trainer", reads_models=True),
    "register": StageSpec(mlflow=True, signs=True, cached=False, preloaded=True),
    "metrics": StageSpec(preloaded=True),
    "gate": StageSpec(mlflow=True, cached=False, retried=False, preloaded=True),
    "promote": StageSpec(mlflow=True, signs=True, cached=False),
    # it judges responses of the served model with the guard of the evaluation
    "deploy": StageSpec("sampler", reads_models=True, mlflow=True, cached=False),
    "plan_evaluation": StageSpec(plans=True, reads_models=True, mlflow=True, cached=False),
    "plan_comparison": StageSpec(plans=True, reads_models=True, mlflow=True, cached=False),
    "plan_promotion": StageSpec(cached=False),
    "monitor": StageSpec(cached=False, retried=False),
    "alarm": StageSpec(cached=False, retried=False),
    "report": StageSpec(mlflow=True, cached=False, runs_after_failure=True),
}
"""All stages, in the order of a realignment, then those of an evaluation."""

DEFAULT = StageSpec()
"""The entry for ``default`` in ``cluster.stages``."""

if TYPE_CHECKING:
    StageName = str
else:
    StageName = Literal[("default", *STAGES)]
"""A stage in ``cluster.stages``, or ``default``, which fills in what a stage leaves out."""


def spec_of(stage: str) -> StageSpec:
    """Return the entry of a stage, or that of ``default``. Raises KeyError for an unknown name."""
    return DEFAULT if stage == "default" else STAGES[stage]
