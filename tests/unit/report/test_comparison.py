"""Comparisons: results from records, the page, the terminal. Two methods pass, one is refused, one fails."""

from __future__ import annotations

import io

import comparison_runs
import hostile_runs
import pytest
import report_runs as runs
from comparison_runs import METHODS, comparison
from rich.console import Console

from thinksafe.report.comparison import tables
from thinksafe.report.comparison.build import is_comparison, summarise_comparison, view
from thinksafe.report.comparison.model import ComparisonResult, ComparisonSummary
from thinksafe.report.comparison.page import render_comparison
from thinksafe.report.comparison.terminal import comparison_table
from thinksafe.report.page import without_timing
from thinksafe.report.summary import summarise
from thinksafe.report.summary.model import MAKING
from thinksafe.report.terminal import Places
from thinksafe.run.details import PipelineStatus, PlanDetails

NO_PICTURES = {"plane": None, "work": None}


def summary_of(**settings: object) -> ComparisonSummary:
    found = comparison(**settings)  # type: ignore[arg-type]
    return summarise_comparison(found.records, found.read, run_id="run-1")


@pytest.fixture(scope="module")
def summary() -> ComparisonSummary:
    return summary_of(price=3.0)


def test_each_method_has_the_summary_of_its_own_run() -> None:
    records = comparison().records
    assert is_comparison(records)
    assert not is_comparison(runs.promoted())
    for one in records["plan"].read(PlanDetails).shared:
        of = summarise(view(records, one), run_id="run-1")
        alone = summarise(METHODS[one.method][1]())
        assert of.outcome == alone.outcome
        assert of.decision == alone.decision
        assert of.funnel == alone.funnel
        assert of.provenance.method == METHODS[one.method][0]


def test_methods_of_two_rounds_share_the_first_and_cost_both() -> None:
    found = comparison()
    plan, records = found.records["plan"], {}
    for task, record in found.records.items():
        name, _, method = task.partition(".")
        if name in MAKING:
            records[f"{name}-round1.{method}"] = record.model_copy(update={"task": f"{name}-round1.{method}"})
    for name in ("sample-training", "judge-training"):  # the first round of both is that of thinksafe
        del records[f"{name}-round1.thinksafe-kl"]
    shared = [of | {"rounds": 2, "samples": "thinksafe"} if "thinksafe" in of["method"] else of
              for of in plan.details["shared"]]
    changed = plan.model_copy(update={"details": {**plan.details, "shared": shared}})
    summary = summarise_comparison({**found.records, **records, "plan": changed}, found.read, run_id="run-1")
    once = summarise_comparison(found.records, found.read, run_id="run-1")
    for two, one in zip(summary.result.methods[:2], once.result.methods, strict=False):
        assert two.passed
        assert two.work.responses == 2 * one.work.responses > 0
        assert two.work.tokens_trained == 2 * one.work.tokens_trained
        assert summary.costs.methods[two.name].seconds > once.costs.methods[one.name].seconds


def test_who_passes_and_what_became_of_the_others(summary: ComparisonSummary) -> None:
    result = summary.result
    assert result.outcome == "some pass"
    assert result.passing == ("thinksafe", "thinksafe-kl")
    assert {of.name: of.outcome for of in result.methods} == {
        "thinksafe": "passed", "thinksafe-kl": "passed", "rejection": "refused by gate", "given": "failed",
    }
    failed = result.methods[3]
    assert failed.why.startswith("Failed in train: The example 'safechain-harmful-0193/steered/0' has no end")
    assert not failed.measures
    assert [failure.task for failure in summary.failures] == ["train.given"]


def test_dominance_and_simultaneous_differences(summary: ComparisonSummary) -> None:
    result = summary.result
    assert result.differences is not None
    models = 4  # base and three candidates; the failed one has none
    assert result.differences.intervals == models * (models - 1) // 2 * 3 == len(result.differences.found)
    assert result.methods[2].dominated_by == ("thinksafe", "thinksafe-kl")
    assert result.methods[0].dominated_by == result.methods[3].dominated_by == ()


def test_the_cheapest_passing_method(summary: ComparisonSummary) -> None:
    costs = summary.costs
    assert (costs.cheapest, costs.basis) == ("thinksafe", "GPU time")
    of = costs.methods["thinksafe"]
    assert of.gpu_seconds == of.seconds > 0
    assert of.money == pytest.approx(of.gpu_seconds / 3600 * 3)
    assert of.seconds == pytest.approx(21600 + 2400 + 2 + 8100)  # without pilot and evaluation
    without = summary_of(gpus=0).costs
    assert (without.basis, without.methods["thinksafe"].money) == ("time", None)


def test_work_that_was_found_again_is_no_measure_of_cost() -> None:
    found = comparison()
    record = found.records["sample-training.thinksafe"]
    changed = {"counts": {**record.counts, "chunks_reused": 3}, "outputs": {"samples": "a" * 64}}
    found.records[record.task] = record.model_copy(update=changed)
    costs = summarise_comparison(found.records, found.read).costs
    assert costs.methods["thinksafe"].reused
    assert costs.basis == "tokens"


def test_work_that_another_task_of_the_comparison_did_counts_with_its_time() -> None:
    found = comparison()
    made = found.records["train.thinksafe"].model_copy(update={"outputs": {"trained": "a" * 64}})
    again = made.model_copy(update={"seconds": 0.1, "counts": {**made.counts, "reused": 1}})
    maker = made.model_copy(update={"task": "train-round1.rounds"})
    alone = summarise_comparison({**found.records, again.task: again}, found.read).costs
    both = summarise_comparison({**found.records, maker.task: maker, again.task: again}, found.read)
    once = summarise_comparison(found.records, found.read)
    assert alone.basis == "tokens"
    assert both.costs == once.costs
    assert both.seconds == pytest.approx(once.seconds + 0.1), "in all it was done once"


def test_work_is_counted_with_epochs_and_rejected_responses(summary: ComparisonSummary) -> None:
    work = summary.result.methods[0].work
    assert (work.responses, work.tokens_sampled, work.tokens_trained) == (9000, 9000 * 912, 3 * 6_900_000)


def test_responses_that_training_samples_are_sampled_and_trained_on() -> None:
    found = comparison()
    record = found.records["train.thinksafe"]
    counts = {**record.counts, "responses": 800, "response_tokens": 5000}
    found.records[record.task] = record.model_copy(update={"counts": counts})
    work = summarise_comparison(found.records, found.read).result.methods[0].work
    assert (work.responses, work.tokens_sampled, work.tokens_trained) == (9800, 9000 * 912 + 5000, 5000)


def test_results_are_the_same_however_long_it_took() -> None:
    one, other = summary_of(), summary_of(pace=2.0)
    assert one.result == other.result
    assert one.costs != other.costs
    cheaper = other.model_copy(update={"costs": other.costs.model_copy(update={"cheapest": "thinksafe-kl"})})
    first, *others = (without_timing(render_comparison(of, NO_PICTURES)) for of in (one, other, cheaper))
    assert others == [first, first]
    assert ComparisonResult.model_validate_json(one.result.model_dump_json()) == one.result


@pytest.mark.parametrize(
    ("methods", "state", "outcome"),
    [
        ({"a": ("thinksafe", runs.refused), "b": ("rejection", runs.refused)}, "", "none passes"),
        ({"a": ("thinksafe", runs.refused), "b": ("rejection", runs.failed)}, "", "failed"),
        ({"a": ("thinksafe", runs.refused), "b": ("rejection", runs.incomplete)}, "", "incomplete"),
        ({"a": ("thinksafe", runs.refused), "b": ("rejection", runs.incomplete)}, "FAILED", "failed"),
        ({"a": ("thinksafe", runs.passed_not_promoted), "b": ("rejection", runs.incomplete)}, "FAILED", "some pass"),
    ],
)
def test_outcomes(methods: dict, state: str, outcome: str) -> None:  # type: ignore[type-arg]
    found = comparison(methods)
    summary = summarise_comparison(found.records, found.read, status=PipelineStatus(state=state))
    assert summary.result.outcome == outcome
    assert tables.title(summary).title
    assert render_comparison(summary, NO_PICTURES)
    if state:
        assert "ended without a record" in summary.result.methods[1].why


def test_a_pod_that_did_not_start_takes_nothing_from_methods_that_had_ended() -> None:
    found = comparison({name: METHODS[name] for name in ("thinksafe", "rejection")})
    start = found.records["prepare"].model_copy(
        update={"task": "start", "stage": "train", "status": "failed", "error": "No GPU is free.", "action": "Wait."}
    )
    summary = summarise_comparison({**found.records, "start": start}, found.read, status=PipelineStatus(state="FAILED"))
    assert [of.outcome for of in summary.result.methods] == ["passed", "refused by gate"]
    assert [failure.task for failure in summary.failures] == ["start"]


def test_a_comparison_that_failed_at_its_plan_has_a_page() -> None:
    plan = comparison().records["plan"].model_copy(
        update={"status": "failed", "details": {}, "error": "No such recipe.", "action": "Name another."}
    )
    summary = summarise_comparison({"plan": plan}, lambda _: iter(()))
    assert summary.result.outcome == "failed"
    assert "No such recipe. Name another." in render_comparison(summary, NO_PICTURES)


def test_the_page_names_the_command_and_shows_no_text_of_models(summary: ComparisonSummary) -> None:
    page = render_comparison(summary)
    assert "Nothing was registered or promoted" in page
    assert "thinksafe run FILE --out DIR --set method.kind=thinksafe" in page
    assert "2 of 4 methods pass" in page
    assert "Bonferroni" in page
    assert page.count("<svg") == 4  # two pictures, each wide and narrow
    assert "EUR" in page
    assert len(page) < 1_000_000


@pytest.mark.parametrize("text", hostile_runs.HOSTILE.values(), ids=hostile_runs.HOSTILE.keys())
def test_hostile_texts_stay_texts(text: str) -> None:
    found = comparison()
    record = found.records["train.given"]
    found.records[record.task] = record.model_copy(update={"error": text, "action": text})
    page = render_comparison(summarise_comparison(found.records, found.read, problems=[text]), NO_PICTURES)
    assert "<script>window" not in page
    assert "<img src=x" not in page
    assert "<svg onload" not in page


def test_the_command_sets_the_kind_first_and_quotes(summary: ComparisonSummary) -> None:
    of = summary.result.methods[0].model_copy(
        update={"overrides": {"training": {"epochs": 1}, "method": {"opening": "<think> a", "kind": "safepath"}}}
    )
    changed = summary.model_copy(update={"result": summary.result.model_copy(update={"methods": (of,)})})
    assert tables.command(changed) == (
        "thinksafe run FILE --out DIR --set method.kind=safepath --set training.epochs=1 "
        "--set 'method.opening=\"<think> a\"'"
    )


def test_the_terminal_says_the_same(summary: ComparisonSummary) -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(comparison_table(summary, Places(report="/x/report.html")))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("2 of 4 methods pass", "refused by gate", "/x/report.html", "given: Failed in train", "Realign"):
        assert part in text


def test_the_builder_makes_what_a_comparison_leaves() -> None:
    tasks = set(comparison().records)
    assert {"plan", "prepare", "metrics-base", "metrics-champion", "gate.rejection", "diagnose.thinksafe"} <= tasks
    assert not tasks & {"register", "promote", *comparison_runs.OWN}
