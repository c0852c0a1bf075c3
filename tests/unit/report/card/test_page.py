from __future__ import annotations

import re
import warnings

import hostile_runs
import pytest
import report_runs as runs
import yaml
from huggingface_hub import ModelCard

from thinksafe.report.card import model_card
from thinksafe.report.card.page import code, plain, word
from thinksafe.report.summary import RunSummary, summarise
from thinksafe.report.words import limits

WITH_CANDIDATE = ("promoted", "passed, not promoted", "refused by gate")


COMMIT = "c" * 40


def of_the_hub() -> RunSummary:
    records = runs.promoted()
    records["plan"].details["base"]["student"]["revision"] = COMMIT
    return summarise(records)


@pytest.fixture(scope="module")
def card() -> str:
    return model_card(of_the_hub())


def test_the_hub_reads_its_metadata(card: str) -> None:
    data = ModelCard(card).data
    summary = of_the_hub()
    base = summary.provenance.base["student"]
    assert data.base_model == base["model"]
    assert f"--revision {COMMIT}" in card
    assert data.library_name == "peft"
    assert data.license is None
    assert {"safety", "lora"} <= set(data.tags)
    measured = [metric for metric in summary.metrics["candidate"].metrics if metric.part == "whole"]
    assert [found.metric_value for found in data.eval_results] == [metric.value for metric in measured]
    assert [found.metric_args["interval"] for found in data.eval_results] == [
        [metric.interval.low, metric.interval.high] for metric in measured
    ]


def test_metrics_of_all_models_stand_with_their_intervals(card: str) -> None:
    (head,) = re.findall(r"^\| benchmark \| metric .*$", card, re.MULTILINE)
    assert [name.strip() for name in head.strip("|").split("|")][3:] == ["base", "candidate", "champion"]
    rows = [line for line in card.splitlines() if "Harm ratio |" in line]
    assert rows
    assert all(len(re.findall(r"% \\\[", row)) == 3 for row in rows)


def test_limits_decision_and_who_promoted_stand_there(card: str) -> None:
    summary = summarise(runs.promoted())
    for limit in limits(summary):
        assert plain(limit) in card
    assert "**Promoted.**" in card
    assert f"generation {summary.promotion['generation']}" in card
    assert summary.provenance.adapter_digest in card


def test_all_weights_are_no_adapter() -> None:
    records = runs.promoted()
    records["plan"].details["base"]["student"]["revision"] = COMMIT
    details = records["train"].details
    details |= {"weights_digest": details.pop("adapter_digest"), "weights": "weights/k/d"}
    details.pop("adapter", None)
    card = model_card(summarise(records))
    data = ModelCard(card).data
    assert (data.library_name, data.base_model_relation) == ("transformers", "finetune")
    assert "| Weights (SHA-256) |" in card
    assert details["weights_digest"] in card
    assert "lora" not in card.lower()
    assert "adapter" not in card.lower()


@pytest.mark.parametrize("outcome", WITH_CANDIDATE)
def test_every_run_with_a_candidate_has_a_card(outcome: str) -> None:
    card = model_card(summarise(runs.ALL[outcome]()))
    assert yaml.safe_load(card.split("---")[1])["model-index"]


def test_what_people_say_about_a_model_is_shown() -> None:
    records = runs.promoted()
    records["plan"].details["config"]["card"] = {
        "licence": "apache-2.0", "intended_use": "Answers of *our* help desk.", "contact": "safety@example.com",
    }
    card = model_card(summarise(records))
    assert ModelCard(card).data.license == "apache-2.0"
    assert r"Answers of \*our\* help desk." in card
    assert "safety@example.com" in card


def test_a_local_base_gets_no_hub_id() -> None:
    records = runs.promoted()
    for of in (records["plan"].details["base"]["student"], records["plan"].details["config"]["student"]):
        of.update(model="models/own", revision="")
    card = model_card(summarise(records))
    assert ModelCard(card).data.base_model is None
    assert "not a model of the Hub" in card


@pytest.mark.parametrize("name", list(hostile_runs.HOSTILE))
def test_hostile_text_is_only_text(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        card = model_card(summarise(hostile_runs.hostile(hostile_runs.HOSTILE[name])))
    head, body = card.split("\n---\n", 1)
    assert yaml.safe_load(head.removeprefix("---\n"))["library_name"] == "peft"
    assert not re.search(r"(?<!\\)<(script|img|svg|/style)", re.sub(r"`[^`\n]*`", "", body))
    assert len(card) < 200_000


def test_markup_is_escaped_and_code_holds_no_backtick() -> None:
    assert plain("a *b* <c> | `d`\n# e") == r"a \*b\* \<c\> \| \`d\` \# e"
    assert code("a`b|c\nd") == r"`a'b\|c d`"
    assert word("a b;c/d:e") == "a?b?c/d:e"
    assert plain(3) == 3
