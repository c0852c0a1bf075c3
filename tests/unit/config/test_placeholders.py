from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.config import load_config
from thinksafe.config.document import read_yaml
from thinksafe.config.placeholders import (
    LONGEST,
    escape_document,
    escape_json,
    holds_placeholder,
    require_short,
    without_placeholders,
)
from thinksafe.errors import ConfigError

TEXTS = st.text(st.characters(exclude_categories=("Cs",))) | st.text("{}$()'\"\\ \n\t\x85\u2028ax:#-")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_escaped_json_has_the_same_value_and_no_placeholder(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(",", ":"))):
        sent = escape_json(text)
        assert json.loads(sent) == value
        assert not holds_placeholder(sent)
        # and so it stays inside the JSON that KFP puts it in
        assert not holds_placeholder(json.dumps({"inputs": {"parameterValues": {"config": sent}}}))


@given(st.dictionaries(TEXTS, VALUES, max_size=3).map(lambda value: {**value, "sign": "{{x}}"} if value else value))
def test_an_escaped_document_is_read_as_the_one_that_was_written(value: dict[str, Any]) -> None:
    text = yaml.safe_dump(value)
    before, _ = read_yaml("x", text)
    sent = escape_document(text)
    assert read_yaml("x", sent)[0] == before
    assert sent == text or not holds_placeholder(sent)
    assert holds_placeholder(text) or sent == text


@pytest.mark.parametrize("text", ["micro", "configs/a.yaml", "name: x\nsteering: |\n  {a: {b: c}}\n  costs $5 {x}\n"])
def test_what_holds_no_placeholder_is_sent_as_it_is(text: str) -> None:
    assert escape_document(text) == text


@pytest.mark.parametrize("sign", ["{{$}}", "{{$.inputs.parameters['config']}}", "{{workflow.name}}", "$(HOME)", "$$x"])
def test_a_configuration_survives_with_the_signs_in_it(sign: str) -> None:
    text = f"extends: micro\nname: x\nregistry:\n  model: safe\n  experiment: {json.dumps('a ' + sign)}  # é {sign}\n"
    sent = escape_document(text)
    assert sign not in sent
    assert load_config(sent) == load_config(text)
    assert load_config(sent).registry.experiment == f"a {sign}"


def test_dates_arrive_as_the_same_dates() -> None:
    sent = escape_document("day: 2026-01-02\ntext: '{{x}}'\n")
    assert yaml.safe_load(sent) == {"day": "2026-01-02", "text": "{{x}}"}


@pytest.mark.parametrize(
    "text",
    ["a: !!binary aGk=\nb: '{{'\n", "? " + "k" * 2000 + "\n: '{{'\n", "a: .nan\nb: '{{'\n", "a: [\nb: '{{'"],
)
def test_what_cannot_be_escaped_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        escape_document(text)


@pytest.mark.parametrize("text", ["{{", "a{{b}}", "$(A)", "$$"])
def test_texts_that_are_sent_as_they_are_hold_none(text: str) -> None:
    with pytest.raises(ValueError, match="placeholder"):
        without_placeholders(text)
    assert without_placeholders("{a} $b )$") == "{a} $b )$"


def test_a_configuration_has_a_longest_length() -> None:
    require_short("x" * (LONGEST - 20), "[]")
    with pytest.raises(ConfigError, match="100,000"):
        require_short("\n" * (LONGEST // 2 + 1), "[]")  # two characters each in JSON
