"""What a pilot shows besides rates, against hand-made cases and references."""

from __future__ import annotations

import pytest
from statsmodels.stats.contingency_tables import StratifiedTable

from thinksafe.measuring.pilot import (
    PAIRED,
    UNPAIRED,
    Trace,
    excess_cross_entropy,
    nats_a_token,
    odds_ratio,
    predictions,
)


def test_the_odds_ratio_counts_the_prompts_that_only_one_arm_brings_to_acceptance() -> None:
    plain = [0.0] * 40 + [1.0] * 4 + [1.0] * 6 + [0.0] * 14
    steered = [1.0] * 40 + [0.0] * 4 + [1.0] * 6 + [0.0] * 14
    found = odds_ratio(plain, steered, 0.9)
    assert (found.value, found.n, found.reason) == (10.0, 64, "")
    assert found.low is not None
    assert found.high is not None
    assert 3 < found.low < 10 < found.high < 40


def test_with_several_samples_it_is_mantel_haenszel_over_prompts() -> None:
    cells = [(3, 4, 1, 4), (2, 4, 2, 4), (4, 4, 3, 4), (1, 4, 0, 4)]  # accepted and all: steered, plain
    tables = [[[a, m - a], [b, n - b]] for a, m, b, n in cells]
    found = odds_ratio([b / n for *_, b, n in cells], [a / m for a, m, *_ in cells], 0.9)
    assert found.value == pytest.approx(StratifiedTable([list(map(list, table)) for table in tables]).oddsratio_pooled)


def test_empty_cells_are_open_limits_and_never_filled() -> None:
    unbounded = odds_ratio([0.0] * 20, [1.0] * 20, 0.9)
    assert (unbounded.value, unbounded.high) == (None, None)
    assert unbounded.low is not None
    assert unbounded.low > 1
    assert "no upper limit" in unbounded.reason
    never = odds_ratio([1.0] * 20, [0.0] * 20, 0.9)
    assert (never.value, never.low) == (0.0, 0.0)
    same = odds_ratio([1.0, 0.0], [1.0, 0.0], 0.9)
    assert (same.value, same.low, same.high) == (None, None, None)
    assert same.reason


def traces(nats: list[float], first: int = 0, tokens: int = 10) -> dict[str, Trace]:
    return {f"p{first + place:03}": Trace(each * tokens, tokens) for place, each in enumerate(nats)}


def test_excess_is_paired_where_enough_prompts_have_both() -> None:
    # prompts differ much, the arms differ by 0.3 on each: only pairing can tell
    plain = traces([0.1 * place for place in range(20)])
    steered = traces([0.1 * place + 0.3 + 0.01 * (-1) ** place for place in range(20)]) | traces([9.0], first=90)
    found = excess_cross_entropy(plain, steered, 0.9, seed=1)
    assert found.value == pytest.approx(0.3)
    assert (found.method, found.n) == (PAIRED, 20)
    assert found.low is not None
    assert found.high is not None
    assert 0.28 < found.low < 0.3 < found.high < 0.32
    assert found == excess_cross_entropy(plain, steered, 0.9, seed=1)


def test_excess_is_unpaired_where_few_prompts_have_both() -> None:
    plain, steered = traces([0.4, 0.5, 0.6]), traces([0.7, 0.9] * 20, first=2)
    found = excess_cross_entropy(plain, steered, 0.9, seed=1)
    assert found.value == pytest.approx(0.3)
    assert (found.method, found.n) == (UNPAIRED, 42)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.3 < found.high


def test_excess_weighs_tokens_and_says_what_is_missing() -> None:
    assert nats_a_token({"a": Trace(10.0, 10), "b": Trace(0.0, 30)}).value == 0.25
    assert nats_a_token({}).value is None
    missing = excess_cross_entropy({}, traces([1.0] * 20), 0.9, seed=1)
    assert missing.value is None
    assert "no plain sample" in missing.reason
    single = excess_cross_entropy(traces([1.0]), traces([2.0] * 3), 0.9, seed=1)
    assert (single.value, single.low, single.high) == (1.0, None, None)
    flat = excess_cross_entropy(traces([1.0] * 12), traces([2.0] * 12), 0.9, seed=1)
    assert (flat.value, flat.low, flat.high) == (1.0, 1.0, 1.0)


def test_predictions_lie_between_prompts_that_are_all_alike_and_always_or_never() -> None:
    shares = ([1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0])
    found = {each.method: each for each in predictions(*shares)}
    one = found["thinksafe"]
    assert (one.kept_low, one.kept_high, one.samples_low, one.samples_high) == (0.75, 0.75, 4 / 3, 4 / 3)
    retries = found["retries"]
    assert (retries.kept_low, retries.kept_high) == (0.75, 1 - 0.25**3)
    assert (retries.drawn_high, retries.samples_high) == (1.5, 2.0)  # always or never: three more for the last prompt
    assert retries.drawn_low == 1 + 0.25 + 0.25**2
    assert retries.samples_low == pytest.approx(4 / 3)
    lenient = found["rejection, keep: any"]
    assert (lenient.kept_low, lenient.kept_high) == (0.25, 1 - 0.75**5)
    assert lenient.samples_high == 20.0
    strict = found["rejection, keep: all-safe"]
    assert strict.kept_high == 0.25
    assert strict.kept_low == pytest.approx(0.5**5 - 0.25**5)


def test_nothing_accepted_has_no_cost_and_all_accepted_no_spread() -> None:
    for each in predictions([0.0] * 3, [0.0] * 3, [0.0] * 3):
        assert (each.kept_high, each.samples_low, each.samples_high) == (0.0, None, None)
    assert all(each.kept_low == 1.0 for each in predictions([1.0] * 3, [1.0] * 3, [1.0] * 3))
