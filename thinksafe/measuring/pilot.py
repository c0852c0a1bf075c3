"""What a pilot shows besides rates: the odds that steering shifts, how foreign its traces are, what an example costs.

The prompt is the unit, as in :mod:`thinksafe.measuring.statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from thinksafe.measuring.statistics import RESAMPLES, bca_limits, proportion_of
from thinksafe.methods.rejection import Rejection
from thinksafe.run.details import Prediction, Quantity

PAIRS = 10
"""Prompts with accepted traces in both arms from which on the arms are compared on these prompts alone."""
BATCH = 500
"""Resamples that are in memory at once."""
RETRIES = 2
"""Retries of a rejected sample that are predicted."""

MANTEL_HAENSZEL = "Mantel-Haenszel over prompts, exact conditional interval"
PAIRED = "paired by prompt, BCa bootstrap over prompts"
UNPAIRED = "unpaired, BCa bootstrap over the prompts of each arm"


class Trace(NamedTuple):
    """An accepted response, or several of one prompt."""

    nats: float
    """Negative log-likelihood under the unsteered student."""
    tokens: int


def joined(traces: Iterable[Trace]) -> Trace:
    """Return several traces as one."""
    found = list(traces)
    return Trace(math.fsum(trace.nats for trace in found), sum(trace.tokens for trace in found))


def odds_ratio(plain: Sequence[float], steered: Sequence[float], confidence: float) -> Quantity:
    """Return the odds of acceptance steered over those plain, at the same prompt (omega).

    The prompts are strata with as many samples in each arm. Mantel and Haenszel's common odds ratio is then the number
    of prompts that only steering brings to acceptance, by that of those accepted plain alone; given their sum, the
    first is binomial (the conditional test of McNemar), so that Clopper and Pearson's limits of the share give those of
    the ratio. Nothing is added to empty cells: without prompts of the second kind the ratio has a lower limit only.

    Args:
        plain: Accepted share of each prompt's plain samples.
        steered: The same of its steered samples, in the same order.
        confidence: Two-sided.
    """
    gained = math.fsum(after * (1 - before) for before, after in zip(plain, steered, strict=True))
    lost = math.fsum(before * (1 - after) for before, after in zip(plain, steered, strict=True))
    if not gained + lost:
        return Quantity(n=len(plain), reason="every prompt ends the same in both arms")
    share = proportion_of(gained, gained + lost, confidence).interval
    return Quantity(
        value=gained / lost if lost else None, low=_odds(share.low), high=_odds(share.high), n=len(plain),
        method=MANTEL_HAENSZEL, reason="" if lost else "no prompt is accepted plain alone, so it has no upper limit",
    )


def _odds(share: float) -> float | None:
    return share / (1 - share) if share < 1 else None


def nats_a_token(traces: Mapping[str, Trace]) -> Quantity:
    """Return the cross-entropy of traces by prompt: their nats by their tokens."""
    whole = joined(traces.values())
    return Quantity(value=whole.nats / whole.tokens if whole.tokens else None, n=len(traces))


def excess_cross_entropy(
    plain: Mapping[str, Trace], steered: Mapping[str, Trace], confidence: float, seed: int
) -> Quantity:
    """Return by how many nats a token accepted steered traces are less likely to the student than accepted plain ones.

    With ``PAIRS`` prompts or more that have both, only these are compared, so that both arms answer the same prompts.
    With fewer, all accepted traces of one arm are compared with all of the other, and the prompts differ: the plain
    ones are then those that the student refuses anyway.

    Args:
        plain: Accepted plain traces, by prompt.
        steered: The same, steered.
        confidence: Two-sided.
        seed: Seed of the resamples.
    """
    import numpy as np

    both = plain.keys() & steered.keys()
    paired = len(both) >= PAIRS
    first, second = (
        np.array([of[prompt] for prompt in sorted(both if paired else of)], dtype=float) for of in (steered, plain)
    )
    for arm, found in (("steered", first), ("plain", second)):
        if not len(found):
            return Quantity(n=0, reason=f"no {arm} sample was accepted, or their likelihoods are unknown")
    value = float(_ratio(first) - _ratio(second))
    low, high = _limits(first, second, confidence, seed, paired=paired) if min(len(first), len(second)) > 1 else (
        None, None,
    )
    return Quantity(
        value=value, low=low, high=high, n=len(both) if paired else len(plain.keys() | steered.keys()),
        method=PAIRED if paired else UNPAIRED,
    )


def _ratio(traces: Any) -> Any:
    """Return nats by tokens, summed over the prompts, of an array [..., prompts, 2]."""
    sums = traces.sum(-2)
    return sums[..., 0] / sums[..., 1]


def _limits(first: Any, second: Any, confidence: float, seed: int, *, paired: bool) -> tuple[float, float]:
    """Return BCa limits of the difference of two ratios, of prompts [prompts, 2] that are drawn with replacement."""
    import numpy as np

    generator, value = np.random.default_rng(seed), float(_ratio(first) - _ratio(second))
    draws = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, BATCH):
        size = min(BATCH, RESAMPLES - start)
        one = generator.integers(len(first), size=(size, len(first)))
        two = one if paired else generator.integers(len(second), size=(size, len(second)))
        draws[start : start + size] = _ratio(first[one]) - _ratio(second[two])
    pulls = [_pulls(first) - _pulls(second)] if paired else [_pulls(first), -_pulls(second)]
    squares = math.fsum(float((of**2).sum()) / len(of) ** 2 for of in pulls)
    cubes = math.fsum(float((of**3).sum()) / len(of) ** 3 for of in pulls)
    return bca_limits(draws, value, cubes / (6 * squares**1.5) if squares > 0 else 0.0, confidence)


def _pulls(traces: Any) -> Any:
    """Return the influence of each prompt on the ratio: by how much it falls when the prompt is left out, times n-1."""
    rest = traces.sum(0) - traces
    without = rest[:, 0] / rest[:, 1]
    return (len(traces) - 1) * (without.mean() - without)


def predictions(plain: Sequence[float], safe: Sequence[float], steered: Sequence[float]) -> tuple[Prediction, ...]:
    """Return how many harmful prompts each way of sampling keeps, and the samples that a kept example takes.

    With one sample a prompt, a pilot does not tell whether all prompts are accepted at the mean rate or some always and
    the others never, which decides what more samples bring. Both are computed, the truth is in between.

    Args:
        plain: Accepted share of each prompt's plain samples.
        safe: Safe share of each prompt's plain samples, in the same order.
        steered: Accepted share of each prompt's steered samples.
    """
    n = Rejection.samples
    return (
        _predicted("thinksafe", *(([share], [1.0]) for share in _alike(steered))),
        _predicted(
            "retries",
            *(
                ([1 - (1 - share) ** (RETRIES + 1) for share in shares], [_tries(share) for share in shares])
                for shares in (steered, _alike(steered))
            ),
        ),
        _predicted(
            "rejection, keep: any",
            *(([1 - (1 - share) ** n for share in shares], [float(n)]) for shares in (plain, _alike(plain))),
        ),
        _predicted(
            "rejection, keep: all-safe",
            *(
                ([all_safe**n - (all_safe - share) ** n for share, all_safe in zip(*pair, strict=True)], [float(n)])
                for pair in ((plain, safe), (_alike(plain), _alike(safe)))
            ),
        ),
    )


def _alike(shares: Sequence[float]) -> list[float]:
    return [_mean(shares)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _tries(share: float) -> float:
    """Return the expected samples of a prompt that is sampled until one is accepted, at most ``RETRIES`` times more."""
    return math.fsum((1 - share) ** number for number in range(RETRIES + 1))


def _predicted(method: str, *cases: tuple[Sequence[float], Sequence[float]]) -> Prediction:
    """Return the range over cases, each the kept share and the samples of every prompt."""
    kept = [min(max(_mean(shares), 0.0), 1.0) for shares, _ in cases]
    drawn = [_mean(samples) for _, samples in cases]
    costs = [samples / share for samples, share in zip(drawn, kept, strict=True) if share > 0]
    return Prediction(
        method=method, kept_low=min(kept), kept_high=max(kept), drawn_low=min(drawn), drawn_high=max(drawn),
        samples_low=min(costs) if costs else None, samples_high=max(costs) if len(costs) == len(kept) else None,
    )
