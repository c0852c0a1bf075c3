"""The comparison pipeline: several methods on one student, each to a candidate that is measured and decided on.

The fan-out is fixed when compiling: the pipeline is made for the methods of one configuration. Work that several
methods share is one task. Each method is a group of its own, so that one that fails leaves the others standing. Nothing
is registered or promoted.
"""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from thinksafe.config.compared import Shared
from thinksafe_components.catalog import Setting, load_all
from thinksafe_pipelines.evaluation import evaluated
from thinksafe_pipelines.rounds import trained, training_samples
from thinksafe_pipelines.sampling import JudgedSamples, judged_samples


def make(setting: Setting, shared: Sequence[Shared]) -> Any:
    """Return the pipeline for a place and for the methods of a configuration.

    Args:
        setting: Where it runs; its images are fixed from here on (KFP cannot take them as parameters).
        shared: The methods, and what they share (:func:`thinksafe.config.comparison.shared_work`).
    """
    stages = load_all(setting)
    compiled = json.dumps([one.model_dump() for one in shared])

    @dsl.pipeline(name="compare", description="Compare several methods of repairing a model.")
    def compare(config: str, overrides: str = "[]", run_id: str = "", artifacts: str = ""):
        """Compare several methods of repairing a model, on the same prompts.

        Args:
            config: Configuration with the methods that this pipeline was compiled for: YAML text, or the name of a
                shipped recipe.
            overrides: JSON list of key=value texts that replace settings.
            run_id: Run id; empty takes KFP's job id.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        report = stages.report(job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, artifacts=artifacts, run_id=run_id)
        with dsl.ExitHandler(report, name="comparison"):
            planned = stages.plan_comparison(
                config=config, overrides=overrides, shared=compiled, job_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                artifacts=artifacts, run_id=run_id,
            ).outputs
            where = {"plan": planned["plan"], "artifacts": artifacts}
            prompts = stages.prepare(**where).outputs
            diagnosed = _diagnoses(stages, planned["base"], prompts["pilot"], shared, where)
            measured = _measured(stages, planned, prompts["evaluation"], where)
            for leader in dict.fromkeys(one.samples for one in shared):
                members = [one for one in shared if one.samples == leader]
                diagnosis = diagnosed[members[0].diagnosis]
                passed = diagnosis["passed"]
                with dsl.If(passed == True, name=f"samples-{leader}"):  # noqa: E712 - builds a condition
                    training = training_samples(
                        stages, planned["base"], prompts["training"], number=1, rounds=members[0].rounds,
                        method=leader, **where,
                    )
                    for one in members:
                        # the same flag again: what it makes is a group of the method's own
                        with dsl.If(passed == True, name=one.method):  # noqa: E712
                            _method(
                                stages, planned, prompts, training, diagnosis["safety_context"], measured,
                                one.rounds, {**where, "method": one.method},
                            )

    return compare


def _diagnoses(
    stages: SimpleNamespace, base: Any, prompts: Any, shared: Sequence[Shared], where: dict[str, Any]
) -> dict[str, Any]:
    """Add pilots and diagnoses, each once for the methods that share it; return their outputs by their names."""
    pilots = {
        name: judged_samples(
            stages, base, prompts, sample="sample_pilot", judge="judge_pilot", use="pilot", method=name, **where
        )
        for name in dict.fromkeys(one.pilot for one in shared)
    }
    found = {}
    for one in shared:
        if one.diagnosis not in found:
            pilot = pilots[one.pilot]
            found[one.diagnosis] = stages.diagnose(
                samples=pilot.samples, verdicts=pilot.verdicts, method=one.diagnosis, **where
            ).outputs
    return found


def _measured(stages: SimpleNamespace, planned: Any, prompts: Any, where: dict[str, Any]) -> dict[str, Any]:
    """Add the evaluation of base and champion, done once; return what the gate reads of them."""
    return {
        f"{role}_{kind}": output
        for role in ("base", "champion")
        for kind, output in evaluated(stages, planned[role], prompts, role=role, **where).items()
        if kind in ("metrics", "outcomes")
    }


def _method(
    stages: SimpleNamespace, planned: Any, prompts: Any, training: JudgedSamples, safety_context: Any,
    measured: dict[str, Any], rounds: int, where: dict[str, Any],
) -> None:
    """Add what each method does by itself: from judged training samples to the decision on its candidate."""
    def decided(candidate: Any, _examples: Any) -> None:
        of = evaluated(stages, candidate, prompts["evaluation"], role="candidate", **where)
        stages.gate(
            candidate_metrics=of["metrics"], candidate_outcomes=of["outcomes"],
            contamination=prompts["contamination"], registration=planned["registration"], **measured, **where,
        )

    trained(
        stages, planned["base"], prompts["training"], training, safety_context, decided, rounds=rounds, where=where
    )
