"""YAML that is safe to read: no repeated keys, no code, no bombs, no shared objects."""

from __future__ import annotations

import datetime
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.config.document import LONGEST, NODES, read_yaml
from thinksafe.errors import ConfigError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10)
KEYS = st.text(max_size=5) | st.integers()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10
)


@given(VALUES)
def test_reads_what_yaml_writes(value: object) -> None:
    assert read_yaml("doc", yaml.safe_dump(value))[0] == value


def test_lines() -> None:
    text = "a: 1\nb:\n  c: {d: 2}\n  e:\n    - 1\n    - f: 3\n"
    assert read_yaml("doc", text)[1] == {
        ("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "c", "d"): 3, ("b", "e"): 4, ("b", "e", 0): 5, ("b", "e", 1): 6,
        ("b", "e", 1, "f"): 6,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: .*key 'a' repeats"),
        ("x:\n  a: 1\n  a: 1\n", "line 3: .*key 'a' repeats"),
        ("x: [{a: 1, a: 2}]", "line 1: .*key 'a' repeats"),
        ("a: [1\n", "line 2: not valid YAML"),
        ("a: b: c", "line 1: not valid YAML"),
        ("a:\n\t- b", "line 2: not valid YAML"),
        ("? [1, 2]\n: 3\n", "line 1: .*key must be a plain word"),
        ("? {a: 1}\n: 3\n", "line 1: .*key must be a plain word"),
        ("~: 3\n", "line 1: .*key must be a plain word"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "line 3: not valid YAML"),
        ("a: !!python/object/apply:os.system ['echo no']", "line 1: not valid YAML"),
        ("a: !!python/name:os.system", "line 1: not valid YAML"),
        ("a: !Custom 1", "line 1: not valid YAML"),
        ("a: *unknown", "line 1: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "line 2: .*expected a single document|not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("[" * 400, "not valid YAML"),
        ("[" * 100 + "]" * 100, "too many or too deeply nested"),
        ("a: &a [*a]", "too many or too deeply nested"),
        ("a: &a {b: *a}", "too many or too deeply nested"),
        ("- 1\n" * NODES, "too many or too deeply nested"),
        ("#" * (LONGEST + 1), "too many or too deeply nested"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        read_yaml("doc", text)
    assert raised.value.problem.startswith("doc")


@pytest.mark.parametrize("text", ["2024-13-45", "2026-02-30", "2026-02-30 10:00:00", "2026-01-01 25:00:00"])
def test_a_date_that_does_not_exist_is_its_text(text: str) -> None:
    """The setting's own check then says what is wrong, and where."""
    assert read_yaml("doc", f"a: {text}")[0] == {"a": text}
    assert read_yaml("doc", "a: 2026-02-28")[0] == {"a": datetime.date(2026, 2, 28)}


@pytest.mark.parametrize("pattern", ["[{0}]", "{{k: [{0}]}}"])
def test_nested_aliases_are_refused_before_they_grow(pattern: str) -> None:
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} " + pattern.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 12)]
    before = time.process_time()
    with pytest.raises(ConfigError, match="too many"):
        read_yaml("doc", "\n".join(lines))
    assert time.process_time() - before < 2


def test_aliases_are_written_out() -> None:
    value, lines = read_yaml("doc", "a: &x {b: [1]}\nc: *x\nd: [*x, *x]\n")
    assert value == {"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}, {"b": [1]}]}
    value["a"]["b"].append(2)
    assert value["c"] == {"b": [1]}
    assert value["d"][0] is not value["d"][1]
    assert lines["c",] == 2
