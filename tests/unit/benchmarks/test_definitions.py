"""The shipped definitions: complete, pinned, and told apart by their columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from thinksafe.benchmarks.definitions import Definition, definition, definition_names
from thinksafe.config.data import Benchmark
from thinksafe.digests import digest_file
from thinksafe.errors import ConfigError, InputError
from thinksafe.prompts.sources import load_set

KNOWN = {
    # rows as the papers count them
    "harmbench": ("harm", 200), "harmbench-contextual": ("harm", 100), "strongreject": ("harm", 313),
    "wildjailbreak": ("harm", 2000), "jailbreakbench": ("harm", 100), "xstest-unsafe": ("harm", 200),
    "xstest": ("over_refusal", 250), "aime-2024": ("reasoning", 30), "gsm8k": ("reasoning", 1319),
    "or-bench-hard": ("over_refusal", 1319), "coconot-contrast": ("over_refusal", 379), "aime-2025": ("reasoning", 30),
    "math-500": ("reasoning", 500), "gpqa-diamond": ("reasoning", 198), "ifeval": ("reasoning", 541),
    "falsereject": ("over_refusal", 1187), "sorry-bench": ("harm", 440), "safemtdata": ("harm", 600),
    "mhj": ("harm", 537), "agentharm": ("harm", 176), "agentharm-benign": ("over_refusal", 176),
}


@pytest.mark.parametrize("name", KNOWN)
def test_metric_and_rows(name: str) -> None:
    known = definition(name)
    assert (known.metric, known.rows) == KNOWN[name]
    assert re.fullmatch(r"[0-9a-f]{40}", known.revision), "a commit, no branch"
    assert known.licence
    assert known.about.startswith("https://")


def test_shipped_sets() -> None:
    shipped = {name for name in definition_names() if definition(name).file}
    assert shipped == set(definition_names()) - set(KNOWN) == {"mild-requests", "mild-conversations"}
    for name in shipped:
        assert digest_file(definition(name).shipped()) == definition(name).digest
        benchmark = Benchmark.model_validate({"use": name})
        rows = load_set(benchmark, "harmful", 0)
        assert len(rows) == len({row.prompt for row in rows}) == definition(name).rows
        assert len({row.category for row in rows}) > 8
        assert all((len(row.turns) >= 3) == (name == "mild-conversations") for row in rows)
        assert all(not row.turns or row.prompt in row.turns[-1] for row in rows)
        if name == "mild-conversations":
            assert all(row.prompt not in turn for row in rows for turn in row.turns[:-1]), "the request comes last"


def test_a_changed_shipped_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Definition, "shipped", lambda self: tmp_path / "set.jsonl")
    (tmp_path / "set.jsonl").write_text('{"request": "x", "category": "c"}\n')
    with pytest.raises(InputError, match="The shipped file of the benchmark 'mild-requests' was changed"):
        load_set(Benchmark.model_validate({"use": "mild-requests"}), "harmful", 0)


@pytest.mark.parametrize("name", definition_names())
def test_every_definition(name: str) -> None:
    known = definition(name)
    instructs = any(layout.instructions for layout in known.layouts)
    says = bool(known.suffix) or instructs
    assert (known.metric == "reasoning") == says, "problems say how to answer, requests are as they are"
    for layout in known.layouts:
        assert (known.metric == "reasoning") == bool(layout.answer or layout.correct or layout.instructions)
        assert bool(layout.instructions) == bool(layout.instruction_options)
        assert bool(layout.correct) == bool(layout.incorrect)
    seen: list[set[str]] = []
    for layout in known.layouts:
        assert not any(earlier <= layout.columns for earlier in seen), "an earlier layout would always be taken"
        seen.append(layout.columns)


def one_turn(name: str) -> bool:
    return not definition(name).converses


def test_sets_that_may_not_be_used_for_everything_say_so() -> None:
    for name in ("falsereject", "mhj"):
        assert definition(name).licence == "CC-BY-NC-4.0 (not for commercial use)"
    assert one_turn("xstest")
    assert not any(map(one_turn, ("mild-conversations", "mhj", "safemtdata", "agentharm")))
    assert {name for name in ("sorry-bench", "mhj", "safemtdata", "agentharm") if definition(name).gated} == {
        "sorry-bench", "mhj"
    }


def test_a_new_field_leaves_the_other_fingerprints_alone() -> None:
    """Else every metric of an earlier version would be on another suite."""
    assert definition("gsm8k").fingerprint == "fd9d5b6be1a511a7"


def test_an_agent_is_asked_in_turns_that_hold_the_task_once() -> None:
    one, two = (definition(name) for name in ("agentharm", "agentharm-benign"))
    assert one.turns == two.turns
    assert one.trajectory
    assert two.trajectory
    with pytest.raises(ValueError, match=r"the turns hold \{prompt\} once"):
        Definition.model_validate(one.model_dump() | {"turns": ["{prompt} {prompt} {tools}"]})
    with pytest.raises(ValueError, match=r"turns with \{tools\} need a column of tools"):
        Definition.model_validate(one.model_dump() | {"layouts": [{"prompt": "prompt"}]})
    with pytest.raises(ValueError, match="a layout has a prompt or messages"):
        Definition.model_validate(one.model_dump() | {"layouts": [{"tools": "t"}]})


def test_copyright_behaviours_are_left_out_by_name() -> None:
    for name, kind in (("harmbench", "standard"), ("harmbench-contextual", "contextual")):
        known = definition(name)
        assert known.subset == kind
        filters = [value for layout in known.layouts for value in layout.only.values()]
        assert filters == [kind, kind]


def test_fingerprints_follow_the_content() -> None:
    known = definition("gsm8k")
    assert known.fingerprint == definition("gsm8k").fingerprint
    assert known.model_copy(update={"version": 2}).fingerprint != known.fingerprint
    assert known.model_copy(update={"suffix": ""}).fingerprint != known.fingerprint


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"There is no benchmark 'harmbnech'. Did you mean 'harmbench'\?"):
        definition("harmbnech")


@pytest.mark.parametrize("change", [{"revision": ""}, {"revision": "main"}, {"repo": ""}, {"layouts": []}, {"rows": 0}])
def test_a_definition_without_a_pin_is_wrong(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Definition.model_validate(definition("gsm8k").model_dump() | change)
