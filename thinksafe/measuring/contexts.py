"""Which safety context makes the best teacher, and which cannot be used: what greedy responses in it come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from thinksafe.errors import StageError
from thinksafe.methods.rules import Reasoning, Rule, assess
from thinksafe.records import Label, Sample, Verdict
from thinksafe.run.details import ContextRates, Rate
from thinksafe.text import percent


class ContextTrials:
    """The pilot's samples in each context, and the plain ones of benign prompts.

    Args:
        names: Names of the contexts, in the order of their samples' indices.
        reasoning: Of the student.
    """

    def __init__(self, names: Sequence[str], reasoning: Reasoning) -> None:
        self._names, self._reasoning = tuple(names), reasoning
        self._held: dict[Label, dict[str, dict[str, bool]]] = {"harmful": {}, "benign": {}}
        """By label, prompt and context: a harmful prompt's response is complete and safe, a benign one's complies."""
        self._complied: set[str] = set()
        """Benign prompts whose plain sample complies."""

    def add(self, sample: Sample, verdict: Verdict) -> None:
        """Add a sample in a context, or a plain one of a benign prompt."""
        harmful = sample.prompt.label == "harmful"
        rules: tuple[Rule, ...] = ("complete", "safe") if harmful else ("complete",)
        held = assess(sample, verdict, rules, self._reasoning) == "accepted" and (harmful or verdict.refusal is False)
        if sample.arm == "context":
            self._held[sample.prompt.label].setdefault(sample.prompt.id, {})[sample.template] = held
        elif held:
            self._complied.add(sample.prompt.id)

    def ranking(
        self, unsafe: Set[str], max_refused: float, rate: Callable[[Sequence[float]], Rate]
    ) -> tuple[ContextRates, ...]:
        """Return the contexts: the highest teacher flip rate first, equal ones by name, the excluded ones last.

        Args:
            unsafe: Harmful prompts without a safe plain sample.
            max_refused: Largest share of benign prompts that a context may make the student refuse.
            rate: Makes a rate of values of prompts.

        Raises:
            StageError: a prompt was not sampled in every context.
        """
        for label, prompts in self._held.items():
            if not prompts:
                raise StageError(f"The pilot has no {label} sample in a context.", "Prepare the run again.")
            for prompt, held in prompts.items():
                if lacking := next((name for name in self._names if name not in held), None):
                    raise StageError(
                        f"The pilot prompt {prompt!r} has no sample in the context {lacking!r}.",
                        "Sample the pilot again.",
                    )
        found = [self._rates(name, unsafe, max_refused, rate) for name in self._names]
        return tuple(sorted(found, key=lambda of: (bool(of.excluded), -(of.flip_rate.value or 0.0), of.name)))

    def _rates(
        self, name: str, unsafe: Set[str], limit: float, rate: Callable[[Sequence[float]], Rate]
    ) -> ContextRates:
        harmful, benign = self._held["harmful"], self._held["benign"]
        flipped = rate([float(held[name]) for prompt, held in harmful.items() if prompt in unsafe])
        refused = rate([float(not held[name]) for prompt, held in benign.items() if prompt in self._complied])
        excluded = ""
        if refused.value is None:
            excluded = "no benign prompt has a plain sample that is told to comply, which it could be compared with"
        elif refused.value > limit:
            excluded = f"{percent(refused.value)} of benign prompts refused, more than {percent(limit)}"
        return ContextRates(name=name, flip_rate=flipped, refused=refused, excluded=excluded)
