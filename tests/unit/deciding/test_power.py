from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from thinksafe.config.model import RealignmentConfig
from thinksafe.deciding.feasibility import gate_feasibility
from thinksafe.deciding.power import Finding
from thinksafe.measuring.statistics import Pairs, paired_difference, proportion_of, stratified_average

SIZES = {"harmbench": 300, "xstest": 250, "gsm8k": 1319}
METRICS = {"harmbench": "harm", "xstest": "over_refusal", "gsm8k": "reasoning", "aime": "reasoning"}


def source(count: int | None = None) -> dict[str, Any]:
    return {"source": "jsonl", "path": "x.jsonl", "count": count}


def findings(
    sizes: Mapping[str, int | None], available: Mapping[str, int] | None = None, **fields: Any
) -> dict[str, Finding]:
    evaluation = fields.pop("evaluation", {})
    config = RealignmentConfig.model_validate(
        {
            "name": "x", "student": {"model": "m"}, "registry": {"model": "m"},
            "data": {
                "harmful": [{"name": "h", "prompts": source()}], "benign": [{"name": "b", "prompts": source()}],
            },
            "guard": {"filter": {"kind": "micro-exact"}, "evaluate": {"kind": "micro-exact"}},
            "evaluation": {
                "n_reasoning": 1,
                "benchmarks": [
                    {"name": name, "metric": METRICS[name], "prompts": source(n)} for name, n in sizes.items()
                ],
            } | evaluation,
        }
        | fields
    )
    found = gate_feasibility(config, available)
    assert len({finding.check for finding in found}) == len(found), "a check has two findings"
    return {finding.check: finding for finding in found}


def test_an_ample_suite_has_no_errors() -> None:
    found = findings(SIZES)
    assert {name for name, finding in found.items() if finding.level == "error"} == set()
    assert set(found) == {
        *(f"min_prompts/{name}" for name in SIZES), "harm/harmbench", "harm_reduction/harmbench",
        "over_refusal/xstest", "reasoning/margin", "reasoning/loss", "champion/harm/harmbench",
        "champion/over_refusal/xstest", "champion/reasoning", "steerability/acceptance", "steerability/flip_rate",
    }
    assert found["reasoning/margin"].level == "ok"


@pytest.mark.parametrize(("n", "level"), [(28, "error"), (29, "warning"), (300, "ok")])
def test_harm_at_zero_of_n(n: int, level: str) -> None:
    """0 of 28 is bounded by 10.1 %, 0 of 29 by 9.8 %."""
    finding = findings(SIZES | {"harmbench": n}, gate={"min_prompts": 1})["harm/harmbench"]
    assert finding.level == level
    assert finding.numbers["best_bound"] == pytest.approx(1 - 0.05 ** (1 / n))
    if level == "error":
        assert finding.numbers["needed"] == 29
        assert "28 prompts are too few, even without any harm" in finding.message


def test_power_of_the_harm_check_is_that_of_the_gate() -> None:
    finding = findings(SIZES)["harm/harmbench"]
    rng = np.random.default_rng(0)
    draws, repeats = np.unique(rng.binomial(300, 0.05, 20_000), return_counts=True)
    passes = [proportion_of(int(k), 300, 0.9).interval.high <= 0.10 for k in draws]
    assert finding.numbers["power"] == pytest.approx(repeats[passes].sum() / 20_000, abs=0.01)


def test_power_of_non_inferiority_at_ten_percent_discordant_pairs() -> None:
    """The known case: 300 problems, a margin of 3 points and no loss give 50 %."""
    gate = {"reasoning": {"margin": 0.03, "max_loss": 0.03}}
    finding = findings(SIZES | {"gsm8k": 300}, gate=gate)["reasoning/margin"]
    assert finding.numbers["power"] == pytest.approx(0.5, abs=0.03)
    assert finding.level == "warning"
    rng = np.random.default_rng(1)
    tables = rng.multinomial(300, [0.05, 0.05, 0.9], 2000)
    passed = sum(
        paired_difference(Pairs(300, int(b - c), int(b + c), True), 0.9).interval.high <= 0.03 for b, c, _ in tables
    )
    assert finding.numbers["power"] == pytest.approx(passed / 2000, abs=0.04)


def test_power_of_the_average_over_benchmarks() -> None:
    sizes = {"gsm8k": 400, "aime": 60}
    found = findings({"harmbench": 300, "xstest": 250} | sizes, gate={"reasoning": {"margin": 0.05, "max_loss": 0.03}})
    rng = np.random.default_rng(2)
    margin = loss = 0
    for _ in range(1500):
        strata = []
        for n in sizes.values():
            b, c, _rest = (int(k) for k in rng.multinomial(n, [0.05, 0.05, 0.9]))
            strata.append(paired_difference(Pairs(n, b - c, b + c, True), 0.9))
        average = stratified_average(strata)
        margin += average.interval.high <= 0.05
        loss += average.value <= 0.03
    assert found["reasoning/margin"].numbers["power"] == pytest.approx(margin / 1500, abs=0.05)
    assert found["reasoning/loss"].numbers["power"] == pytest.approx(loss / 1500, abs=0.03)


def test_a_warning_names_the_prompts_that_would_do() -> None:
    first = findings(SIZES)["champion/harm/harmbench"]
    assert first.level == "warning"
    needed = int(first.numbers["needed"])
    assert f"about {needed:,} prompts would make it 80%" in first.message
    assert findings(SIZES | {"harmbench": needed})["champion/harm/harmbench"].level == "ok"
    assert findings(SIZES | {"harmbench": int(needed * 0.9)})["champion/harm/harmbench"].level == "warning"


def test_a_margin_that_no_tie_can_keep() -> None:
    found = findings(SIZES | {"gsm8k": 40}, gate={"reasoning": {"margin": 0.05}})
    assert found["reasoning/margin"].level == "error"
    assert found["reasoning/margin"].numbers["needed"] == 52
    assert found["champion/reasoning"].level == "warning", "a champion can be beaten"


def test_a_small_benchmark_dilutes_the_average() -> None:
    alone, both = (findings(sizes)["reasoning/margin"] for sizes in (SIZES, SIZES | {"aime": 30}))
    assert both.numbers["power"] < alone.numbers["power"]
    assert both.numbers["n"] == 1349


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_extreme_limits(limit: float) -> None:
    finding = findings(SIZES, gate={"harm": {"max": limit}})["harm/harmbench"]
    assert finding.level == ("error" if limit == 0 else "ok")
    if limit == 0:
        assert "no realistic number" in finding.message
    else:
        assert finding.numbers["power"] == 1.0


def test_reduction_names_the_base_harm_it_needs() -> None:
    finding = findings(SIZES)["harm_reduction/harmbench"]
    base = finding.numbers["base_harm"]
    assert base == pytest.approx(3 / 300)
    assert paired_difference(Pairs(300, 3, 3, True), 0.9).interval.low >= 0
    assert paired_difference(Pairs(300, 2, 2, True), 0.9).interval.low < 0
    impossible = findings(SIZES, gate={"harm": {"min_reduction": 1.0}})["harm_reduction/harmbench"]
    assert impossible.level == "error"


def test_unknown_sizes() -> None:
    unknown = findings(SIZES | {"harmbench": None})
    assert unknown["min_prompts/harmbench"].level == "warning"
    assert "harm/harmbench" not in unknown
    known = findings(SIZES | {"harmbench": None}, {"harmbench": 20})
    assert known["min_prompts/harmbench"].level == "error"
    assert known["harm/harmbench"].numbers["n"] == 20


def test_a_count_above_what_there_is() -> None:
    finding = findings(SIZES, {"harmbench": 100})["min_prompts/harmbench"]
    assert finding.level == "error"
    assert "fewer than the 300" in finding.message


def test_a_pilot_too_small_to_show_anything() -> None:
    small = {"prompts": 2, "min_acceptance": 0.3, "min_flip_rate": 0.3}
    found = findings(SIZES, diagnose=small)
    assert found["steerability/acceptance"].level == found["steerability/flip_rate"].level == "error"
    warned = findings(SIZES, diagnose=small | {"on_failure": "warn"})
    assert warned["steerability/flip_rate"].level == "warning"
    assert findings(SIZES)["steerability/flip_rate"].numbers["needed"] == 3


def test_a_benchmark_that_is_reported_only_needs_no_power() -> None:
    def of(**fields: Any) -> dict[str, Finding]:
        benchmarks = [{"name": name, "metric": METRICS[name], "prompts": source(n)} for name, n in SIZES.items()]
        tiny = {"name": "tiny", "metric": "harm", "prompts": source(3), **fields}
        return findings({}, evaluation={"benchmarks": [*benchmarks, tiny]})

    assert {"harm/tiny", "min_prompts/tiny"} <= set(of())
    assert not any("tiny" in check for check in of(gated=False))


@pytest.mark.parametrize(
    ("n", "samples", "limit", "size"),
    [(52, 1, 0.05, 0.0694), (75, 1, 0.05, None), (75, 8, 0.05, 0.1056), (88, 1, 0.03, 0.0685), (1319, 8, 0.05, None)],
)
def test_a_size_above_the_level_is_said(n: int, samples: int, limit: float, size: float | None) -> None:
    evaluation = {
        "n_reasoning": samples,
        "benchmarks": [
            {"name": name, "metric": METRICS[name], "prompts": source(count)}
            for name, count in (SIZES | {"gsm8k": n}).items()
        ],
    }
    found = findings({}, evaluation=evaluation, gate={"reasoning": {"margin": limit}})["reasoning/margin"]
    assert ("may pass" in found.message) == (size is not None)
    if size is not None:
        assert found.numbers["size"] == pytest.approx(size, abs=1e-4)
        assert found.level == "warning"
        assert "with " in found.message
