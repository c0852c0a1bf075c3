"""Checks of methods whose training samples the responses itself, when a configuration is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thinksafe.config.guard_kinds import KINDS
from thinksafe.methods.objectives import Grpo, OnPolicy

if TYPE_CHECKING:
    from thinksafe.config.cluster import ClusterSettings
    from thinksafe.config.guard import GuardSettings, GuardsSettings
    from thinksafe.config.model import TrainingSettings
    from thinksafe.methods.base import Method


def reward_guard(method: Method, guards: GuardsSettings) -> GuardSettings | None:
    """Return the guard that gives a method's rewards; None for a method without rewards."""
    return (guards.reward or guards.filter) if isinstance(method.minimises(), Grpo) else None


def with_sampler(cluster: ClusterSettings, method: Method) -> ClusterSettings:
    """Return the section with the image that holds vLLM as the trainer's, where training samples."""
    if not isinstance(method.minimises(), OnPolicy):
        return cluster
    images = cluster.images.model_copy(update={"trainer": cluster.images.sampler})
    return cluster.model_copy(update={"images": images})


def check_on_policy(method: Method, guards: GuardsSettings, training: TrainingSettings) -> None:
    """Check that training can sample as the method asks, and that its reward is not what the evaluation measures.

    Raises:
        ValueError: it cannot, or it is; or ``guard.reward`` is there without use.
    """
    objective = method.minimises()
    guard = reward_guard(method, guards)
    if guard is not None:
        _check_reward(guard, guards, compliance=isinstance(objective, Grpo) and objective.compliance)
    elif guards.reward is not None:
        raise ValueError(f"guard.reward: method.kind {method.kind} has no rewards; leave it out")
    if not isinstance(objective, OnPolicy):
        return
    kind = f"method.kind is {method.kind}"
    if training.batch_size % objective.rollouts:
        raise ValueError(
            f"{kind} with {objective.rollouts} responses to each prompt: training.batch_size {training.batch_size} "
            "counts responses and must be a multiple"
        )
    if training.max_length <= objective.max_tokens:
        raise ValueError(
            f"training.max_length is {training.max_length}, which leaves no room for a prompt beside "
            f"method.max_tokens, {objective.max_tokens}"
        )


def _check_reward(guard: GuardSettings, guards: GuardsSettings, *, compliance: bool) -> None:
    name = "guard.reward" if guards.reward is not None else "guard.filter, which gives the reward,"
    evaluating = {(one.kind, one.model, one.policy) for one in guards.evaluate.each if not KINDS[one.kind].exact}
    if any((one.kind, one.model, one.policy) in evaluating for one in guard.each):
        raise ValueError(
            f"{name} also evaluates: training would learn its mistakes, which the evaluation would not see; name "
            "another in guard.reward"
        )
    if any(one.backend == "vllm" for one in guard.each):
        raise ValueError(
            f"{name} has backend: vllm, but vLLM of the student holds the GPU's memory during training; set "
            "guard.reward with backend: endpoint or transformers"
        )
    if compliance and not guard.answers_refusals and not all(one.match_refusals for one in guard.each):
        raise ValueError(
            f"{name} does not tell whether a text declines, which method.reward.benign: compliance needs; set "
            "match_refusals, or reward.benign: none"
        )
