"""Known benchmarks in a configuration: a line each, all of it written out, and every contradiction said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thinksafe.benchmarks.definitions import definition
from thinksafe.config import load_config, sections_of
from thinksafe.config.data import Benchmark
from thinksafe.config.load import canonical, config_schema
from thinksafe.errors import ConfigError
from thinksafe.power import gate_feasibility


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
        ("{name: x, metric: harm, prompts: {source: known}}", "prompts.source known needs use"),
        ("{use: harmbench, prompts: {pth: x}}", "prompts.pth: unknown key; did you mean 'path'?"),
        ("{use: harmbench, prompts: {definition: '00'}}", "this version of thinksafe defines harmbench otherwise"),
        ("{metric: harm}", "name: required key is missing"),
        ("{use: harmbench, prompts: {count: 0}}", "prompts.count"),
    ],
)
def test_contradictions(entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        suite(entry, *WHOLE)
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
