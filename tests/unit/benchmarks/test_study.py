"""The study's statistics and page, on made results."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.study import page
from benchmarks.study.claims import CLAIMS, READERS, answers
from benchmarks.study.results import Reading, Study, estimate, flip_rate, measure
from benchmarks.study.settings import CONTEXTS, Settings, compared
from thinksafe.config.load import load_config
from thinksafe.measuring.statistics import Estimate, proportion_of
from thinksafe.report.comparison.model import ComparisonResult, MethodResult, Number, Work
from thinksafe.training.drift import Drift

HARM = {"thinksafe": 0.01, "rejection": 0.5, "no-reasoning": 0.02, "direct-refusal": 0.0, "teacher": 0.05}
REFUSES = {"no-reasoning": 0.7, "direct-refusal": 1.0}


def number(share: float, n: int = 200) -> Number:
    made: Estimate = proportion_of(round(share * n), n, 0.9)
    return Number.of(made)


def method(name: str, student: int, seed: int) -> MethodResult:
    shift = 0.01 * student + 0.005 * seed
    harm = min(HARM[name] + (shift if HARM[name] > 0.02 else 0), 1.0)
    return MethodResult(
        name=name, kind=name, overrides={}, outcome="passed", passed=True, why="it passes",
        measures={
            "harm": number(harm), "over_refusal": number(REFUSES.get(name, 0.0)), "reasoning": number(0.9),
        },
        dominated_by=(), work=Work(responses=400, tokens_sampled=1, tokens_trained=1),
        drift=(
            Drift(measure="nll_student", label="harmful", value=2.0 + shift if name == "teacher" else 0.2, n=10,
                  tokens=100, interval=None),
        ),
    )


@pytest.fixture(scope="module")
def study() -> Study:
    cells = {
        cell: ComparisonResult(
            outcome="some pass", base={"harm": number(0.88), "reasoning": number(0.92)}, differences=None,
            methods=tuple(method(name, *cell) for name in HARM),
        )
        for cell in Settings(3, 2).cells
    }
    return Study(cells)


def test_seeds_are_averaged_before_students(study: Study) -> None:
    found = study.by_student("rejection", measure("harm"))
    assert sorted(found) == [1, 2, 3]
    assert found[1].value == pytest.approx((0.515 + 0.52) / 2, abs=0.003)
    made = estimate(found, 0.9)
    assert made is not None
    assert made.students == 3
    assert made.low < made.value < made.high


def test_an_interval_has_a_width_where_all_students_agree() -> None:
    same = {student: Reading(0.0, 0.01) for student in range(5)}
    made = estimate(same, 0.9)
    assert made is not None
    assert made.high == pytest.approx(2.1318 * 0.01 / math.sqrt(5), rel=1e-3)
    assert estimate({1: Reading(0.0, 0.01)}, 0.9) is None


def test_a_slope_is_taken_within_each_comparison(study: Study) -> None:
    rates = {"thinksafe": 1.0, "rejection": 0.4, "no-reasoning": 0.1}
    flipped = Study({
        cell: result.model_copy(update={"methods": tuple(
            one.model_copy(update={
                "flip_rate": number(rates[one.name]),
                "measures": {**one.measures, "harm": number(0.6 - 0.5 * rates[one.name] + 0.05 * cell[0])},
            }) for one in result.methods if one.name in rates
        )})
        for cell, result in study.cells.items()
    })
    found = flipped.slope(tuple(rates), flip_rate, measure("harm"))
    values = {student: reading.value for student, reading in found.items()}
    assert values == pytest.approx({1: -0.5, 2: -0.5, 3: -0.5})
    assert all(0 < reading.error < 0.1 for reading in found.values())
    assert study.slope(tuple(rates), flip_rate, measure("harm")) == {}, "no pilot"
    assert flipped.slope(("thinksafe",), flip_rate, measure("harm")) == {}, "no two rates"


def test_claims_are_decided_by_their_intervals(study: Study) -> None:
    found = {answer.claim.text: answer.verdict for answer in answers(study, 0.9)}
    assert found["Steering beats rejection sampling."] == "holds"
    assert found["A fixed refusal over-refuses."] == "holds"
    assert found["A teacher's data are less likely to the student."] == "holds"
    assert found["GRPO takes a multiple of the samples."] == "not measured"
    names = {"thinksafe": "rejection", "rejection": "thinksafe"}
    turned = Study({
        cell: result.model_copy(update={"methods": tuple(
            one.model_copy(update={"name": names.get(one.name, one.name)}) for one in result.methods
        )})
        for cell, result in study.cells.items()
    })
    assert answers(turned, 0.9)[0].verdict == "does not hold"


def test_every_claim_names_a_number_that_is_read() -> None:
    assert {claim.what for claim in CLAIMS} <= READERS.keys()


def test_the_page_has_every_method_and_claim_and_its_plot(study: Study, tmp_path: Path) -> None:
    page.write(study, Settings(3, 2), tmp_path / "study.md")
    text = (tmp_path / "study.md").read_text("utf-8")
    for name in HARM:
        assert f"| `{name}` |" in text
    for claim in CLAIMS:
        assert claim.text in text
    assert {line.count("|") for line in text.splitlines() if line.startswith("| `")} == {9}
    picture = ElementTree.fromstring((tmp_path / page.PLOT).read_bytes())
    assert picture.tag.endswith("svg")
    assert page.plot(study) == page.plot(study)


def test_the_recipe_is_one_and_has_what_the_claims_compare(tmp_path: Path) -> None:
    document = tmp_path / "recipe.yaml"
    document.write_text(json.dumps(compared()))
    methods = {method.name: method for method in load_config(str(document)).compare}
    assert {name for claim in CLAIMS for name in claim.methods} <= set(methods)
    fixed = [methods[name].overrides["method"]["context"] for name in methods if name.startswith("opsa-")]
    assert fixed == list(CONTEXTS)
