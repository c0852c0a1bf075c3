"""What all trainers share that sample responses themselves, from the student as it is being trained.

Prompts are given as the token ids that training encoded, so that no library renders or cuts them again. Sampling is by
vLLM inside the training process on GPUs, by transformers elsewhere. Imports torch and TRL.
"""

from __future__ import annotations

import copy
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from datasets import Dataset

from thinksafe.digests import derived_seed
from thinksafe.errors import ConfigError
from thinksafe.methods.objectives import OnPolicy
from thinksafe.models.loading import end_tokens, local_copy
from thinksafe.training.objectives import Given
from thinksafe.training.weights import save_checkpoint

NAMES = {
    "completions/mean_length": "mean_length", "completions/clipped_ratio": "truncated", "entropy": "entropy",
    "kl": "kl", "reward": "reward", "reward_std": "reward_std", "frac_reward_zero_std": "equal_groups",
}
"""What TRL calls the points of the curve, and what they are called here; its others are left out."""


COUNTED = ("responses", "response_tokens", "unknown")
"""Counts since the last point of the curve; ``unknown``: responses without a reward."""


class PromptOrder(torch.utils.data.Sampler[int]):
    """Prompts of each step in an order that seed and epoch determine.

    A step's prompts stand ``rollouts`` times each, and the whole step as often as it is read: once for each forward
    pass, since a step's responses are sampled together and then learned in passes. The last step of an epoch is filled
    up with prompts from its beginning.

    Args:
        count: Number of prompts.
        prompts: Prompts of a step.
        rollouts: Responses to each.
        reads: How often a step is read.
        seed: Seed of all epochs.
        epoch: Returns the current epoch, from 0.
    """

    def __init__(
        self, count: int, prompts: int, rollouts: int, reads: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        self._count, self._prompts, self._rollouts, self._reads = count, prompts, rollouts, reads
        self._seed, self._epoch = seed, epoch

    def __len__(self) -> int:
        return -(-self._count // self._prompts) * self._prompts * self._rollouts * self._reads

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(derived_seed(self._seed, "order", self._epoch()))
        order = draw.sample(range(self._count), self._count)
        for start in range(0, self._count, self._prompts):
            step = [order[place % self._count] for place in range(start, start + self._prompts)]
            for _ in range(self._reads):
                for prompt in step:
                    yield from [prompt] * self._rollouts


class Rollouts:
    """Mixed into a TRL trainer that samples, in front of it."""

    logged: ClassVar[tuple[str, ...]] = ()
    """Points of the curve besides those of every objective."""

    def __init__(self, given: Given, **named: Any) -> None:
        objective: Any = given.section.objective
        self._given, self._objective = given, objective
        self.sums: Counter[str] = Counter()
        """Counts since the last point of the curve, which takes them over."""
        # a copy, because TRL gives the tokenizer a padding token
        tokenizer = copy.deepcopy(given.tokenizer)
        ends = sorted(end_tokens(given.model, tokenizer, "the student"))
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token_id = ends[0]
        if named["args"].use_vllm:  # it would look for a hub id's newest commit
            given.model.name_or_path = local_copy(given.student)
        if given.lora is None:  # TRL loads a reference for the KL by this name, which says no revision
            given.model.config._name_or_path = local_copy(given.student)
        super().__init__(  # type: ignore[call-arg]
            model=given.model,
            train_dataset=Dataset.from_dict({"prompt": [str(place) for place in range(len(given.rows))]}),
            processing_class=tokenizer, peft_config=given.lora, callbacks=given.callbacks, **named,
        )
        self.eos_token_ids = ends
        if not self.use_vllm:
            self.generation_config.eos_token_id = ends
            self.generation_kwargs["eos_token_id"] = ends

    use_vllm: bool
    generation_config: Any
    generation_kwargs: dict[str, Any]
    accelerator: Any
    args: Any
    state: Any
    _metrics: dict[str, Any]

    def totals(self) -> Counter[str]:
        """Return the counts of the whole training, with those of the steps before a checkpoint."""
        found = Counter(self.sums)
        for entry in self.state.log_history:
            found.update({name: int(entry[name]) for name in COUNTED if name in entry})
        return found

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save what is trained, for a checkpoint, and nothing beside it."""
        if self._given.lora is None:
            save_checkpoint(self, output_dir)
        else:
            super().save_model(output_dir, _internal_call)  # type: ignore[misc]

    def _send_telemetry(self) -> None:
        """Send nothing: the name of a student is private."""

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self._given.rows[int(place)].input_ids for place in prompts], None, {}

    def _get_train_sampler(self, dataset: Any = None) -> PromptOrder:
        settings, objective = self._given.section.training, self._objective
        prompts, rows = settings.batch_size // objective.rollouts, len(self._given.rows)
        steps = -(-rows // prompts)
        # from the step, not from set_epoch, which accelerate's wrappers do not pass on when batches are skipped
        return PromptOrder(
            rows, prompts, objective.rollouts, self.args.gradient_accumulation_steps, self.args.seed,
            lambda: self.state.global_step // steps,
        )

    def _generate(self, prompts: list[str]) -> Any:
        made = super()._generate(prompts)  # type: ignore[misc]
        counts = torch.tensor([len(made[1]), sum(map(len, made[1]))], device=self.accelerator.device)
        responses, tokens = self.accelerator.reduce(counts, "sum").tolist()
        self.sums.update(responses=responses, response_tokens=tokens)
        return made

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the points of the curve under our names, and the counts since the last point."""
        found = self._metrics["train"]
        self._metrics["train"] = defaultdict(list, {ours: found[name] for name, ours in NAMES.items() if name in found})
        if "loss" in logs:
            logs |= dict(self.sums)
            self.sums.clear()
        super().log(logs, start_time)  # type: ignore[misc]


def sampling_arguments(objective: OnPolicy, max_length: int) -> dict[str, Any]:
    """Return the arguments of a TRL configuration that say how responses are sampled and dropout is switched off.

    Args:
        objective: Its settings of sampling.
        max_length: Most tokens of prompt and response.

    Raises:
        ConfigError: there is a GPU, but not vLLM.
    """
    gpu = torch.cuda.is_available()
    if gpu and find_spec("vllm") is None:
        raise ConfigError(
            "Training samples by vLLM on GPUs, and vLLM is not installed here.",
            "Install thinksafe[vllm], or train in the image sampler.",
        )
    return {
        "temperature": objective.temperature, "top_p": 1.0, "top_k": 0, "max_completion_length": objective.max_tokens,
        # else the student is sampled, and its likelihood computed, with the adapter's dropout active
        "disable_dropout": True,
        "use_vllm": gpu, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": objective.vllm_memory,
        "vllm_max_model_length": max_length, "vllm_enable_sleep_mode": gpu,
        "log_completions": False,
    }
