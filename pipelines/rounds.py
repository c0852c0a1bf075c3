"""Training samples to a candidate, in rounds: what a realignment and each method of a comparison share."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from thinksafe.config.rounds import round_suffix
from thinksafe_pipelines.sampling import JudgedSamples, judged_samples


def training_samples(
    stages: SimpleNamespace, model: Any, prompts: Any, *, number: int, rounds: int, **where: Any
) -> JudgedSamples:
    """Add the tasks that draw a round's training samples from a model and judge them."""
    return judged_samples(
        stages, model, prompts, sample="sample_training", judge="judge_filter",
        use=f"training{round_suffix(number, rounds)}", **where,
    )


def trained(
    stages: SimpleNamespace, base: Any, prompts: Any, samples: JudgedSamples, safety_context: Any,
    then: Callable[[Any, Any], None], *, rounds: int, where: dict[str, Any], number: int = 1,
) -> None:
    """Add the tasks from a round's judged samples to the last candidate, each in a condition on what came before.

    Args:
        stages: The components.
        base: Reference of the student, which every round trains.
        prompts: The training prompts.
        samples: The round's samples, judged.
        safety_context: Output of the diagnosis.
        then: Adds what follows; it is given the last candidate and its examples.
        rounds: Rounds of the run.
        where: Plan, store and method.
        number: The round, from 1.
    """
    ending = round_suffix(number, rounds)
    of_round = {**where, "in_round": ending} if ending else where
    curated = stages.curate(samples=samples.samples, verdicts=samples.verdicts, **of_round).outputs
    with dsl.If(curated["passed"] == True, name=f"enough-examples{ending}"):  # noqa: E712 - builds a condition
        made = stages.train(
            base=base, examples=curated["examples"], safety_context=safety_context, **of_round
        ).outputs
        with dsl.If(made["passed"] == True, name=f"changed{ending}"):  # noqa: E712 - builds a condition
            if number == rounds:
                then(made["candidate"], curated["examples"])
                return
            again = training_samples(
                stages, made["candidate"], prompts, number=number + 1, rounds=rounds, **where
            )
            trained(
                stages, base, prompts, again, safety_context, then, rounds=rounds, where=where, number=number + 1
            )
