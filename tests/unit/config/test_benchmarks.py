"""Known benchmarks in a configuration: a line each, all of it written out, and every contradiction said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thinksafe.benchmarks.definitions import definition
from thinksafe.config import load_config, sections_of
from thinksafe.config.data import Benchmark
from thinksafe.config.load import canonical, config_schema
from thinksafe.deciding.feasibility import gate_feasibility
from thinksafe.errors import ConfigError


def suite(*entries: str) -> Any:
    """Return the micro recipe with other benchmarks."""
    return load_config("micro", [f"evaluation.benchmarks=[{', '.join(entries)}]"])


WHOLE = ("{use: harmbench}", "{use: xstest}", "{use: gsm8k, prompts: {path: s3://ours/gsm8k.csv}}")


def test_a_line_is_enough() -> None:
    config = suite(*WHOLE)
    harm, refusal, problems = config.evaluation.benchmarks
    assert (harm.name, harm.metric, harm.prompts.source, harm.size) == ("harmbench", "harm", "known", 200)
    assert harm.prompts.revision == definition("harmbench").revision
    assert (refusal.name, refusal.metric, refusal.size) == ("xstest", "over_refusal", 250)
    assert (problems.metric, problems.prompts.path) == ("reasoning", "s3://ours/gsm8k.csv")


def test_what_a_line_means_is_written_out_and_reads_the_same() -> None:
    config = suite(*WHOLE)
    document = json.loads(json.dumps(canonical(config)))
    assert document["evaluation"]["benchmarks"][0] == {
        "use": "harmbench", "name": "harmbench", "metric": "harm",
        "prompts": {
            "source": "known", "count": None, "path": "", "rows": 200, "digest": "",
            "revision": definition("harmbench").revision, "definition": definition("harmbench").fingerprint,
        },
        "transforms": [], "thinking": [], "gated": True,
    }
    assert load_config(json.dumps(document)) == config


def test_name_count_and_copy() -> None:
    benchmark = Benchmark.model_validate(
        {"use": "gpqa-diamond", "name": "gpqa", "prompts": {"path": "gpqa.csv", "rows": 20, "count": 10}}
    )
    assert (benchmark.name, benchmark.size, benchmark.prompts.path) == ("gpqa", 10, "gpqa.csv")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{use: harmbnech}", "There is no benchmark 'harmbnech'. Did you mean 'harmbench'?"),
        ("{use: harmbench, metric: reasoning}", "harmbench measures harm, not reasoning"),
        ("{use: harmbench, prompts: {source: jsonl, path: x}}", "prompts.revision: unknown key"),
        ("{name: x, metric: harm, prompts: {source: known}}", "prompts.source known needs the key use"),
        ("{use: harmbench, prompts: {pth: x}}", "prompts.pth: unknown key; did you mean 'path'?"),
        ("{use: harmbench, prompts: {definition: '00'}}", "this version of thinksafe defines harmbench differently"),
        ("{metric: harm}", "name: required key is missing"),
        ("{use: harmbench, prompts: {count: 0}}", "prompts.count"),
    ],
)
def test_contradictions(entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        suite(entry, *WHOLE)
    assert problem in str(raised.value)


def test_variations_are_benchmarks_of_their_own() -> None:
    config = suite("{use: harmbench, transforms: [plain, base64], thinking: [free, no-thought]}", *WHOLE[1:])
    harm = [benchmark for benchmark in config.evaluation.benchmarks if benchmark.metric == "harm"]
    assert [(b.name, b.variation, b.base_name) for b in harm] == [
        ("harmbench", "", "harmbench"), ("harmbench-no-thought", "no-thought", "harmbench"),
        ("harmbench-base64", "base64", "harmbench"),
        ("harmbench-base64-no-thought", "base64-no-thought", "harmbench"),
    ]
    assert load_config(json.dumps(canonical(config))) == config, "expanding again changes nothing"
    assert [finding.check for finding in gate_feasibility(config) if finding.check.startswith("harm/")] == [
        f"harm/{b.name}" for b in harm
    ]


def test_one_variation_is_in_the_name() -> None:
    config = suite("{use: harmbench, transforms: [base64]}", "{use: harmbench}", *WHOLE[1:])
    assert [b.name for b in config.evaluation.benchmarks][:2] == ["harmbench-base64", "harmbench"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{use: harmbench, transforms: [bas64]}", "there is no 'bas64'; did you mean 'base64'?"),
        ("{use: harmbench, transforms: [x]}", "there is no 'x'; known: plain, base64"),
        ("{use: harmbench, thinking: [no-thoughts]}", "there is no 'no-thoughts'; did you mean 'no-thought'?"),
        ("{use: harmbench, transforms: [base64, base64]}", "a name repeats"),
        ("{use: gsm8k, name: g, transforms: [base64]}", "transforms are attacks on harm benchmarks, and g measures"),
        ("{use: harmbench}, {use: harmbench, transforms: [plain]}", "two benchmarks have the name"),
        ("{use: harmbench, name: " + "x" * 60 + ", transforms: [base64]}", "is longer than 63 characters"),
        (
            "{name: m, metric: harm, thinking: [no-thought], prompts: {source: micro, kind: x, split: test, count: 9}}"
            .replace("kind: x", "kind: harmful"),
            "the micro world's students know only its single requests",
        ),
    ],
)
def test_variations_that_cannot_be(entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        suite(entry, *WHOLE[1:])
    assert problem in str(raised.value)


def test_a_thought_that_cannot_be_controlled() -> None:
    entries = f"evaluation.benchmarks=[{{use: harmbench, thinking: [no-thought]}}, {', '.join(WHOLE[1:])}]"
    load_config("micro", [entries])
    for override, problem in (
        ("student.reasoning=none", "harmbench-no-thought controls the thought, and student.reasoning is none"),
        ("engine={kind: endpoint}", "which an endpoint cannot do"),
    ):
        with pytest.raises(ConfigError) as raised:
            load_config("micro", [entries, override])
        assert problem in str(raised.value)


def test_power_knows_the_published_sizes() -> None:
    findings = gate_feasibility(suite(*WHOLE))
    assert not [finding for finding in findings if "not known" in finding.message]
    assert [finding.numbers["n"] for finding in findings if finding.check == "min_prompts/xstest"] == [250]


def test_a_definition_that_changes_changes_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    from thinksafe.config import data

    before = sections_of(suite(*WHOLE)).metrics.suite
    changed = definition("gsm8k").model_copy(update={"version": 2})
    monkeypatch.setattr(data, "definition", lambda name: changed if name == "gsm8k" else definition(name))
    assert sections_of(suite(*WHOLE)).metrics.suite != before


def test_the_schema_takes_the_short_form() -> None:
    schema = config_schema()["$defs"]["Benchmark"]
    assert schema["required"] == []
    assert schema["anyOf"] == [{"required": ["use"]}, {"required": ["name", "metric", "prompts"]}]
