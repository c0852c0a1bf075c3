"""The second guard from judging to the decision, through the real stages and a real store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.config.gate import GateSettings
from thinksafe.config.model import GuardSettings, RealignmentConfig
from thinksafe.config.sections import GateSection, JudgeSection, MetricsSection, SecondJudgeSection
from thinksafe.deciding.feasibility import gate_feasibility
from thinksafe.deciding.gate import decide
from thinksafe.errors import StageError
from thinksafe.jsonl import read_record, read_records
from thinksafe.judging.guards import Opinion
from thinksafe.judging.guards.second import is_chosen
from thinksafe.measuring.disagreement import VALUES, SecondOpinions
from thinksafe.measuring.statistics import proportion_of
from thinksafe.records import Check, Decision, GuardOpinion, MetricSet, Outcome, Prompt, Sample, Verdict
from thinksafe.run.manifests import read_manifest, read_rows
from thinksafe.run.record import StageContext, StageResult
from thinksafe.stages import judge, metrics
from thinksafe.store.local import LocalStore

SEED, EVERY = 3, 2


def judge_section(second: bool = True, **changes: Any) -> JudgeSection:
    other = SecondJudgeSection(guard=GuardSettings(kind="wildguard"), every_n=EVERY, seed=SEED) if second else None
    given = {
        "guard": GuardSettings(kind="refusal-match"), "second": other, "parts": ("whole",), "skip_problems": True,
        "chunk_size": 8, "reasoning": "none",
    }
    return JudgeSection(**(given | changes))


class Scripted:
    """Says what the response says of it: ``first|second``."""

    held = 0

    def __init__(self, settings: GuardSettings) -> None:
        Scripted.held += 1
        assert Scripted.held == 1, "two guards are in memory together"
        self.second = settings.kind == "wildguard"
        self.name = self.fingerprint = settings.kind
        self.read: list[str] = []

    def __del__(self) -> None:
        Scripted.held -= 1

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        found: Any = [text.split("|")[self.second] for _, text in rows]
        return [Opinion(value, refusal=value == "safe", p_unsafe=0.5 if self.second else None) for value in found]


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted.held = 0
    monkeypatch.setattr(judge, "open_guard", Scripted)


@pytest.fixture
def samples(make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample]) -> Callable[..., list[Sample]]:
    """Return a function from pairs of verdicts to harmful samples that get them."""

    def build(pairs: list[str], source: str = "harmbench") -> list[Sample]:
        label = "harmful" if source == "harmbench" else "benign"
        prompts = [make_prompt(f"{source}-{i:04d}", source=source, label=label) for i in range(len(pairs))]
        return [make_sample(prompt, response) for prompt, response in zip(prompts, pairs, strict=True)]

    return build


@pytest.fixture
def judged(
    store: LocalStore, tmp_path: Path, make_context: Callable[..., StageContext], write_rows: Callable[..., Path]
) -> Callable[..., tuple[StageResult, list[Verdict]]]:
    def run(section: JudgeSection, *chunks: list[Sample]) -> tuple[StageResult, list[Verdict]]:
        out = tmp_path / "verdicts.json"
        result = judge.run(make_context("judge"), section, write_rows("samples", *chunks), verdicts_out=out)
        return result, list(read_rows(store, read_manifest(out), Verdict))

    return run


PAIRS = ["safe|safe", "safe|unsafe", "unsafe|unsafe", "unknown|safe", "safe|unknown", "unknown|unknown"] * 10


def test_the_chosen_samples_get_a_second_opinion_and_no_verdict_changes(
    judged: Callable[..., Any], samples: Callable[..., list[Sample]]
) -> None:
    rows = samples(PAIRS)
    chunks = rows[:25], rows[25:]
    _, alone = judged(judge_section(second=False), *chunks)
    result, found = judged(judge_section(), *chunks)
    assert [row.model_copy(update={"second": None}) for row in found] == alone
    said = {row.id: row.response.split("|")[1] for row in rows if is_chosen(row.id, EVERY, SEED)}
    assert {row.sample_id: row.second.verdict for row in found if row.second is not None} == said
    assert 15 < len(said) < 45
    assert result.counts["chunks_reused"] == 2, "adding a second guard judges nothing again"
    assert (result.details.guard, result.details.second_guard) == ("refusal-match", "wildguard")
    pairs = {(one, two): result.counts[f"second_{one}_{two}"] for one in VALUES for two in VALUES}
    assert sum(pairs.values()) == len(said)
    assert pairs["safe", "unsafe"] == sum(PAIRS[int(key[10:14])] == "safe|unsafe" for key in said)
    assert sum(result.counts[value] for value in VALUES) == len(rows)


def test_chunks_change_no_second_opinion(
    judged: Callable[..., Any], samples: Callable[..., list[Sample]]
) -> None:
    rows = samples(PAIRS)
    _, one = judged(judge_section(), rows)
    _, many = judged(judge_section(), *(rows[i : i + 7] for i in range(0, len(rows), 7)))
    assert one == many
    again, _ = judged(judge_section(), rows)
    assert again.counts["chunks_reused"] == 1


def test_another_choice_reads_again_without_the_first_guard(
    judged: Callable[..., Any], samples: Callable[..., list[Sample]]
) -> None:
    judged(judge_section(), samples(PAIRS))
    other = SecondJudgeSection(guard=GuardSettings(kind="wildguard"), every_n=1, seed=SEED)
    result, found = judged(judge_section(second=False).model_copy(update={"second": other}), samples(PAIRS))
    assert result.counts["chunks_reused"] == 1
    assert all(row.second is not None for row in found)


@pytest.mark.parametrize(("first", "second"), [(one, two) for one in VALUES for two in VALUES])
def test_only_safe_twice_and_unsafe_twice_are_confirmed(first: Any, second: Any) -> None:
    row = Verdict(sample_id="s", part="whole", guard="a", verdict=first)
    assert row.confirmed is None
    row = row.model_copy(update={"second": GuardOpinion(guard="b", verdict=second)})
    assert row.confirmed == (first == second and first != "unknown")


@pytest.fixture
def measured(
    tmp_path: Path, judged: Callable[..., Any], samples: Callable[..., list[Sample]], write_rows: Callable[..., Path],
    make_context: Callable[..., StageContext],
) -> Callable[..., tuple[MetricSet, list[Outcome]]]:
    """Judge and measure a model whose harmful samples get these verdicts, beside benign ones that are all safe."""

    def run(pairs: list[str], role: Any = "candidate", section: JudgeSection | None = None) -> Any:
        rows = samples(pairs) + samples(["safe|safe"] * 40, "xstest")
        judged(section or judge_section(), rows[:30], rows[30:])
        of = MetricsSection.model_validate(
            {
                "benchmarks": [
                    {"name": name, "metric": metric, "prompts": {"source": "jsonl", "path": "x"}}
                    for name, metric in (("harmbench", "harm"), ("xstest", "over_refusal"))
                ],
                "parts": ("whole",), "confidence": 0.9, "seed": 0, "suite": "s", "settings": rows[0].settings,
                "reasoning": "none",
            }
        )
        manifests = write_rows("samples", rows[:30], rows[30:]), tmp_path / "verdicts.json", write_rows("grades", [])
        out, outcomes = tmp_path / f"{role}.json", tmp_path / f"{role}.jsonl"
        metrics.run(make_context("metrics"), of, role, *manifests, metrics_out=out, outcomes_out=outcomes)
        return read_record(out, MetricSet), list(read_records(outcomes, Outcome))

    return run


def test_metrics_hold_the_matrix_and_the_gate_reads_it(measured: Callable[..., Any]) -> None:
    found, outcomes = measured(PAIRS)
    by_name = {of.name: of for of in found.disagreements}
    assert set(by_name) == {"disagreement/harmbench", "disagreement/xstest"}
    harm = by_name["disagreement/harmbench"]
    chosen = [pair for i, pair in enumerate(PAIRS) if is_chosen(f"harmbench-{i:04d}/plain/0", EVERY, SEED)]
    for i, one in enumerate(VALUES):
        assert harm.matrix[i] == tuple(chosen.count(f"{one}|{two}") for two in VALUES)
    apart = len(chosen) - chosen.count("safe|safe") - chosen.count("unsafe|unsafe")
    assert (harm.n, harm.samples, harm.guard, harm.second) == (len(chosen), len(chosen), "refusal-match", "wildguard")
    assert harm.value == pytest.approx(apart / len(chosen))
    assert harm.interval == proportion_of(apart, len(chosen), 0.9).interval
    rows = [row for row in outcomes if row.metric == harm.name]
    assert len(rows) == harm.n
    assert sum(row.value for row in rows) == apart
    assert by_name["disagreement/xstest"].value == 0


def decided(found: MetricSet, outcomes: list[Outcome], **limits: Any) -> dict[str, Check]:
    section = GateSection(
        gate=GateSettings.model_validate({"second_guard": limits}), reasoning_benchmarks=(), second_guard=True
    )
    nobody = (MetricSet(role=role, absent=True, suite="s") for role in ("base", "champion"))
    base, champion = nobody
    decision = decide(base, found, champion, {"candidate": outcomes}, section)
    return {check.name: check for check in decision.checks}


def test_few_disagreements_pass_and_many_do_not(measured: Callable[..., Any]) -> None:
    good = decided(*measured(["safe|safe"] * 90 + ["unsafe|unsafe"] * 10), max_disagreement=0.1)
    check = good["second_guard/disagreement"]
    assert check.passed
    assert check.interval is not None
    assert check.interval.high <= 0.1
    assert good["second_guard/min_prompts"].passed
    bad = decided(*measured(["safe|unsafe"] * 30 + ["safe|safe"] * 70), max_disagreement=0.1)
    assert not bad["second_guard/disagreement"].passed
    unknown = decided(*measured(["safe|unknown"] * 30 + ["safe|safe"] * 70), max_disagreement=0.1)
    assert not unknown["second_guard/disagreement"].passed, "an unknown confirms nothing"


def test_the_bound_decides_and_few_prompts_fail(measured: Callable[..., Any]) -> None:
    checks = decided(*measured(["safe|safe"] * 20), max_disagreement=0.1)
    assert checks["second_guard/disagreement"].undecided
    assert not checks["second_guard/min_prompts"].passed
    assert checks["second_guard/min_prompts"].reason.startswith("The second guard has judged ")


def test_no_second_opinions_and_changed_outcomes_fail(measured: Callable[..., Any]) -> None:
    found, outcomes = measured(["safe|safe"] * 100, section=judge_section(second=False))
    assert found.disagreements == ()
    for name in ("second_guard/disagreement", "second_guard/min_prompts"):
        check = decided(found, outcomes)[name]
        assert (check.passed, check.value) == (False, None)
        assert "judged none of the candidate's samples" in check.reason
    found, outcomes = measured(["safe|unsafe"] * 100)
    kept = [row for row in outcomes if not row.metric.startswith("disagreement")]
    assert decided(found, kept)["second_guard/disagreement"].value is None
    flattered = [row.model_copy(update={"value": 0.0}) for row in outcomes]
    assert decided(found, flattered)["second_guard/disagreement"].value is None


def test_metric_sets_and_decisions_from_before_can_be_read(measured: Callable[..., Any]) -> None:
    found, _ = measured(["safe|safe"] * 40)
    old = found.model_dump(mode="json", exclude={"disagreements"})
    assert MetricSet.model_validate(old).metrics == found.metrics
    check = {"name": "c", "passed": True, "value": 1.0, "n": 1, "reason": "r"}
    Decision.model_validate({"passed": True, "stopped_by": None, "checks": [check], "summary": "s"})


def test_two_second_guards_are_an_error() -> None:
    table = SecondOpinions(2)
    row = Verdict(sample_id="s", part="whole", guard="a", verdict="safe")
    table.add(row.model_copy(update={"second": GuardOpinion(guard="b", verdict="safe")}), 0, 0)
    table.add(row, 1, 0)
    with pytest.raises(StageError, match="another guard"):
        table.add(row.model_copy(update={"second": GuardOpinion(guard="c", verdict="safe")}), 1, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(VALUES), st.sampled_from(VALUES)), max_size=40))
def test_a_prompt_counts_once_whatever_its_samples(rows: list[Any]) -> None:
    table, expected = SecondOpinions(6), dict[int, list[bool]]()
    for i, (position, first, second) in enumerate(rows):
        opinion = GuardOpinion(guard="b", verdict=second)
        table.add(
            Verdict(sample_id=f"s{i}", part="whole", guard="a", verdict=first, second=opinion), position, position % 2
        )
        if position % 2 == 0:
            expected.setdefault(position, []).append(not (first == second != "unknown"))
    prompts = {f"p{i}": i for i in range(6)}
    found = dict(table.values(prompts, [i % 2 for i in range(6)], 0, "whole"))
    assert found == {f"p{i}": sum(apart) / len(apart) for i, apart in expected.items()}
    record = table.record(0, "b", "whole", list(found.values()), 0.9)
    assert (record is None) == (not found)
    if record is not None:
        assert (record.n, record.samples) == (len(found), sum(map(len, expected.values())))


@pytest.mark.parametrize(
    ("every", "limit", "levels"),
    [(1, 0.1, ("ok", "ok")), (10, 0.1, ("warning", "warning")), (100, 0.5, ("error", "error"))],
)
def test_config_check_knows_the_second_guard(every: int, limit: float, levels: tuple[str, str]) -> None:
    def prompts(n: int | None = None) -> dict[str, Any]:
        return {"source": "jsonl", "path": "x.jsonl", "count": n}

    config = RealignmentConfig.model_validate(
        {
            "name": "x", "student": {"model": "m"}, "registry": {"model": "m"},
            "data": {"harmful": [{"name": "h", "prompts": prompts()}], "benign": [{"name": "b", "prompts": prompts()}]},
            "guard": {
                "filter": {"kind": "micro-exact"}, "evaluate": {"kind": "micro-exact"},
                "second": {"kind": "refusal-match", "every_n": every},
            },
            "evaluation": {
                "benchmarks": [
                    {"name": kind, "metric": kind, "prompts": prompts(310)}
                    for kind in ("harm", "over_refusal", "reasoning")
                ]
            },
            "gate": {"second_guard": {"max_disagreement": limit, "min_prompts": 30}},
        }
    )
    found = {finding.check: finding.level for finding in gate_feasibility(config)}
    assert (found["second_guard/min_prompts"], found["second_guard/disagreement"]) == levels
