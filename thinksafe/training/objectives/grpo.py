"""GRPO with TRL's trainer, rewarded by a guard. Imports torch and TRL."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from thinksafe.errors import ConfigError, StageError
from thinksafe.judging.guards import open_guard
from thinksafe.models.templates import prefilled, tags_of
from thinksafe.sampling.engines.tokens import written
from thinksafe.training.objectives import Given
from thinksafe.training.objectives.rollouts import Rollouts, sampling_arguments
from thinksafe.training.rewards import Response, rewards


class GrpoTrainer(Rollouts, GRPOTrainer):
    """See the module."""

    logged: ClassVar[tuple[str, ...]] = (
        "reward", "reward_std", "equal_groups", "kl", "entropy", "mean_length", "truncated", "unknown",
    )

    def __init__(self, given: Given, **named: Any) -> None:
        section = given.section
        if section.guard is None:
            raise ConfigError("The training has no guard for its rewards.", "Start the run again.")
        self._guard, self._reasoning = open_guard(section.guard), section.reasoning
        self._tags, self._opened = tags_of(given.tokenizer, section.reasoning), prefilled(given.tokenizer)
        super().__init__(given, reward_funcs=[_reward], **named)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        """Return the rewards of the responses of all processes; those without one are not a number.

        TRL's own would log prompt and response of one that has none.
        """
        ends = frozenset(self.eos_token_ids)
        responses = []
        for given, ids in zip(inputs, completion_ids_list, strict=True):
            text, _, ended = written(self.processing_class, ids, ends)
            response = self._tags.canonical(self._opened + text)
            responses.append(Response(self._given.rows[int(given["prompt"])], response, ended))
        # a guard that samples must not change what the student samples next
        with torch.random.fork_rng():
            found = rewards(self._guard, responses, self._reasoning, compliance=self._objective.compliance)
        values = [[math.nan if reward is None else reward] for reward in found]
        gathered: torch.Tensor = self.accelerator.gather(
            torch.tensor(values, dtype=torch.float32, device=self.accelerator.device)
        )
        self.sums["unknown"] += int(gathered.isnan().sum())
        self._check_unknown()
        return gathered

    def _check_unknown(self) -> None:
        planned = self.state.max_steps * self._given.section.training.batch_size
        unknown, limit = self.totals()["unknown"], self._objective.max_unknown
        if unknown > limit * planned:
            raise StageError(
                f"The guard cannot judge {unknown:,} of the {planned:,} responses of this training, and more than "
                f"{100 * limit:g} % may not be.",
                "Check guard.reward with `thinksafe guards`, or raise method.reward.max_unknown.",
            )


def _reward(**_: Any) -> list[float]:
    """Stand for the reward, whose name TRL wants; see :meth:`GrpoTrainer._calculate_rewards`."""
    raise NotImplementedError


def make(given: Given) -> GrpoTrainer:
    """Return the trainer."""
    objective: Any = given.section.objective
    arguments = GRPOConfig(
        **given.arguments, **sampling_arguments(objective, given.section.training.max_length),
        num_generations=objective.rollouts, beta=objective.beta, epsilon=objective.epsilon, loss_type="grpo",
        scale_rewards="group", num_iterations=1,
    )
    arguments.report_to = []
    return GrpoTrainer(given, args=arguments)
