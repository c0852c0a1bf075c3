"""The catalogue of checks agrees with the settings and with docs/gate.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import report_measures as measures

from thinksafe.config.checks import CATALOGUE, CheckSpec, check_names, find, value_at
from thinksafe.config.suite import SuiteConfig
from thinksafe.config.waivers import objection

DOCS = Path(__file__).parents[3] / "docs" / "gate.md"

HEAD = "| check | passes when | limit | a pass means that | waiver |"
TESTED = {
    ("bound", "upper"): "upper bound at most", ("bound", "lower"): "lower bound at least",
    ("estimate", "upper"): "estimate at most", ("evidence", "upper"): "lower bound at most",
    ("share", "upper"): "share at most", ("share", "lower"): "share at least", ("count", "lower"): "number at least",
}


def row(spec: CheckSpec) -> str:
    """Return the line of docs/gate.md on a check."""
    limit = f"`{spec.limit}`" if isinstance(spec.limit, str) else f"{spec.limit:g}"
    name = spec.name.replace("{", "<").replace("}", ">")
    waiver = "possible" if spec.waivable else "no"
    each = ", on each benchmark" if spec.worst else ""
    return f"| `{name}` | {TESTED[spec.test, spec.side]}{each} | {limit} | {spec.meaning} | {waiver} |"


def table() -> str:
    """Return the tables of docs/gate.md, one for each group."""
    groups = dict.fromkeys(spec.group for spec in CATALOGUE)
    return "\n\n".join(
        "\n".join([f"### {group}", "", HEAD, "| --- | --- | --- | --- | --- |", *rows])
        for group in groups
        for rows in [[row(spec) for spec in CATALOGUE if spec.group == group]]
    )


def test_the_docs_list_the_catalogue() -> None:
    assert table() in DOCS.read_text("utf-8"), f"docs/gate.md lacks this table:\n{table()}"


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: f"{spec.makers[0]}-{spec.name}")
def test_limits_and_levels_are_settings(spec: CheckSpec) -> None:
    config = measures.config()
    condition = spec.condition(config, "x", "candidate")
    assert "{" not in f"{condition}"
    assert 0 < value_at(SuiteConfig.of(config) if "evaluation" in spec.makers else config, spec.level) < 0.5


def test_names_are_unique_for_whoever_decides() -> None:
    for maker in ("diagnose", "curate", "train", "gate", "evaluation", "rollout"):
        names = [spec.name for spec in CATALOGUE if maker in spec.makers]
        assert names
        assert len(set(names)) == len(names)


def test_every_name_finds_its_entry() -> None:
    names = check_names(["gate", "evaluation"], measures.config().evaluation.benchmarks, second_guard=True)
    for name in names:
        spec = find(name)
        assert spec is not None
        assert name == (f"{spec.family}/{name.rpartition('/')[2]}" if spec.by_benchmark else spec.name)
    assert find("min_examples/harmful") is not None
    assert find("something/else") is None


def test_what_says_whether_there_is_evidence_cannot_be_waived() -> None:
    names = ["harm/x", "min_prompts/x", "truncated", "unknown", "unknown/base", "unknown/champion"]
    for name in names:
        found = objection(name, names)
        assert (found is None) == (name == "harm/x")
        assert found is None or found[1] == ["harm/x"]
