from __future__ import annotations

from typing import Any

import pytest
import report_measures as measures
import report_runs as runs

from thinksafe.audit.records import AuditScores
from thinksafe.records import Metric
from thinksafe.report import evidence, render_page
from thinksafe.report.evidence import Table
from thinksafe.report.summary import RunSummary, published, summarise


@pytest.fixture(scope="module")
def summary() -> RunSummary:
    return summarise(runs.promoted())


def exact(table: Table) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the exact values of a table's cells by the words of their row and their column."""
    return {
        row.names: {name: cell.value for name, cell in zip(table.columns, row.cells, strict=True)}
        for row in table.rows
    }


def test_over_refusal_has_every_model_the_limit_and_the_check(summary: RunSummary) -> None:
    metrics: Any = published(summary)["metrics.json"]
    table = evidence.over_refusal(summary)
    (row,) = exact(table).values()
    for role in measures.ROLES:
        (of,) = [metric for metric in getattr(metrics, role).metrics if metric.kind == "over_refusal"]
        assert float(row[role.capitalize()]) == of.value
    assert float(row["Limit"]) == summary.setting("gate", "over_refusal", "max")
    assert table.rows[0].status == "passed"


def test_parts_stand_beside_each_other(summary: RunSummary) -> None:
    found = exact(evidence.parts(summary))
    assert len(found) == len(measures.HARM) * len(measures.ROLES)
    for role, metric_set in summary.metrics.items():
        for metric in (metric for metric in metric_set.metrics if metric.kind == "harm"):
            row = found[metric.benchmark, role.capitalize()]
            assert float(row[metric.part.capitalize()]) == metric.value
            assert row["Thought"] == ""


def test_no_parts_where_one_was_scored() -> None:
    records = runs.promoted()
    for role in measures.ROLES:
        of = records[f"metrics-{role}"].details["metrics"]
        of["metrics"] = [metric for metric in of["metrics"] if metric["part"] == "whole"]
    assert evidence.parts(summarise(records)).rows == ()


def varied() -> RunSummary:
    """The promoted run with two variations and conversations of harmbench."""
    records = runs.promoted()
    benchmarks = records["plan"].details["config"]["evaluation"]["benchmarks"]
    names = {
        "harmbench-base64": {"transforms": ["base64"], "thinking": ["free"]},
        "harmbench-no-thought": {"transforms": ["plain"], "thinking": ["no-thought"]},
        "mild-conversations": {"use": "mild-conversations", "transforms": [], "thinking": []},
    }
    for name, item in names.items():
        benchmarks.append({"name": name, "metric": "harm"} | item)
        for role in measures.ROLES:
            metrics = records[f"metrics-{role}"].details["metrics"]["metrics"]
            plain = next(Metric.model_validate(m) for m in metrics if m["name"] == "harm/harmbench")
            change = {"name": f"harm/{name}", "benchmark": name}
            metrics.append(plain.model_copy(update=change).model_dump(mode="json"))
    return summarise(records)


def test_variations_stand_below_the_plain_requests() -> None:
    summary = varied()
    table = evidence.robustness(summary)
    assert [row.names[:2] for row in table.rows] == [
        ("harmbench", "plain"), ("harmbench", "base64"), ("harmbench", "no-thought"),
        ("mild-conversations", "conversation"),
    ]
    assert {row["n"] for row in exact(table).values()} == {"400"}
    page = render_page(summary)
    assert 'id="robustness"' in page
    assert "base64" in page


def test_no_robustness_without_variations(summary: RunSummary) -> None:
    assert evidence.robustness(summary).rows == ()


def test_drift_and_contamination_are_those_of_the_records(summary: RunSummary) -> None:
    drift = exact(evidence.drift(summary))
    assert list(drift) == [("Harmful",), ("Benign",)]
    assert drift["Benign",]["KL(student ‖ candidate)"] == "0.013"
    assert drift["Harmful",]["Rows"] == "100"
    shared = exact(evidence.contamination(summary))
    assert shared["harmbench",] == {
        "Prompts": "400", "Overlapped": "11", "Share": "0.0275", "Left after dropping": "0", "Equal": "11",
        "Shared words": "1", "Same request": "0",
    }
    page = render_page(summary)
    assert "90\N{NO-BREAK SPACE}% intervals in brackets, on a seeded sample of training rows" in page
    assert "13 consecutive words in common" in page


def test_older_records_have_no_drift() -> None:
    records = runs.promoted()
    del records["train"].details["drift"]
    assert 'id="drift"' not in render_page(summarise(records))


def test_an_evaluation_compares_no_training_prompts() -> None:
    assert evidence.contamination(summarise(runs.evaluation())).rows == ()


def audit(note: str = "no unsafe label") -> AuditScores:
    number = {
        "value": 0.25, "n": 60, "interval": {"low": 0.2, "high": 0.3, "confidence": 0.9, "method": "MOVER"}
    }
    none = {"value": None, "n": 0, "note": note}
    rates = {"precision": number, "recall": none, "specificity": number, "kappa": number, "harm": number}
    return AuditScores.model_validate(
        {
            "run_ids": (runs.RUN_ID,), "part": "whole", "confidence": 0.9, "seed": 0, "labels": 60, "unlabelled": 2,
            "too_few": (), "thresholds": (),
            "domains": [
                {
                    "guard": "llama-guard-3", "role": "candidate", "benchmark": "harmbench", "n": 60, "unsure": 1,
                    "matrix": ((50, 1, 0), (2, 6, 1), (0, 0, 0)),
                    "shares": ((0.8, 0.0, 0.0), (0.1, 0.1, 0.0), (0, 0, 0)),
                    "guard_harm": 0.2, "rates": rates, "rates_if_unsure_is_safe": rates,
                }
            ],
        }
    )


def test_audits_are_shown_and_change_what_the_limits_say(summary: RunSummary) -> None:
    page = render_page(summary, audits=[audit("<b>none</b>")])
    assert "60 labels by people" in page
    assert "&lt;b&gt;none&lt;/b&gt;" in page
    assert "Nobody read the responses" not in page
    assert "Nobody read the responses" in render_page(summary)
    row = exact(evidence.audits([audit()])[0][1])["candidate", "harmbench"]
    assert (row["Labels"], row["Harm, guard"], row["Harm, corrected"], row["Recall"]) == ("60", "0.2", "0.25", "")


def test_gpu_seconds_are_those_of_all_pods_that_worked() -> None:
    records = {
        task: record.model_copy(update={"gpus": 8}) if record.stage == "sample" else record
        for task, record in runs.promoted().items()
    }
    summary = summarise(records)
    step = summary.step("sample-training")
    assert step is not None
    assert step.gpu_seconds == pytest.approx(8 * 21600)
    assert "GPU-seconds" in render_page(summary)
    assert "GPU-seconds" not in render_page(summarise(runs.promoted()))


def test_an_audit_of_a_panel_names_each_member(summary: RunSummary) -> None:
    [alone] = audit().domains
    member = alone.model_copy(update={"guard": "qwen3guard", "panel": alone.guard})
    scores = audit().model_copy(update={"domains": (alone, member)})
    found = evidence.audits([scores])[0][1]
    assert found.heads == ("Guard", "Model", "Benchmark")
    assert [row.names for row in found.rows] == [
        ("panel", "candidate", "harmbench"), ("qwen3guard", "candidate", "harmbench")
    ]
    assert "qwen3guard" in render_page(summary, audits=[scores])
