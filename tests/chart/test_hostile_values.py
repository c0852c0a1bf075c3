"""Every text that the values take, with texts in it that YAML, templates or Kubernetes could misread.

Either the schema or a template refuses it, or the manifests are the same objects with that one text in them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import CHART, manifests, template, value_set

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
HOSTILE = (
    'a"b', "a'b", "a: b", "a #b", "- a", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`", "{a: b}", "[a]", "a\nb: c",
    "a\n---\nkind: Secret", "a\r\nb", "{{ .Release.Name }}", '{{ fail "x" }}', "{{$.x}}", "$(HOME)", "a\\nb", "a\tb",
    "é\u2028x", "\U0001f600", "yes", "null", "~", "1e3", "0x10", "2026-01-01", "12:30", " a ", "", "x" * 300, "-a",
    "..", "a..b", "A_b", "<script>", "a,b", "\x07",
)
ENABLING: dict[str, Any] = {
    "cluster": {
        "mlflow": {"uri": ""}, "certificates": {"config_map": "authority"}, "s3": {"secret": {"name": "s3"}},
        "hub": {"secret": "hub"}, "model_cache": {"kind": "ephemeral"},
        "kfp": {"access": "token"},
    },
    "kfpToken": {"secret": "token"}, "mlflow": {"enabled": True, "artifacts": "s3://thinksafe/mlflow"},
    "networkPolicy": {"enabled": True}, "images": {"mlflow": {"repository": "mlflow", "tag": "3.17"}},
    "config": {"deploy": {"kind": "deployment"}}, "fleet": {"enabled": True, "dashboard": {"enabled": True}},
}
"""Values with which as much as possible is rendered."""
REFUSALS = r"specifications of the schema|need a correction"


def _texts(schema: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every text in the values, with a key or index where there are many."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    if schema.get("type") == "string" and "enum" not in schema:
        return [at]
    found: list[tuple[str, ...]] = []
    for name, item in schema.get("properties", {}).items():
        found += _texts(item, (*at, name))
    for pattern, item in schema.get("patternProperties", {}).items():
        name = re.match(r"\^\((\w+)\|", pattern)
        found += _texts(item, (*at, name[1] if name else "key"))
    items = schema.get("items")
    return found + (_texts(items, (*at, "0")) if items else [])


PLACES = _texts(SCHEMA)


def _placed(place: tuple[str, ...], text: str) -> Any:
    value: Any = text
    for part in reversed(place):
        value = [value] if part == "0" else {part: value}
    return value


def _merged(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: _merged(below.get(key), item) for key, item in above.items()}}


def _scalars(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {text for key, item in value.items() for text in {str(key)} | _scalars(item)}
    if isinstance(value, list):
        return {text for item in value for text in _scalars(item)}
    if isinstance(value, str) and value.startswith("{\n"):
        return _scalars(json.loads(value))  # the config document
    return {value} if isinstance(value, str) else set()


def _enabling(place: tuple[str, ...]) -> dict[str, Any]:
    """Return the values that a place needs around it: without a volume, MLflow has PostgreSQL."""
    if place[:2] != ("mlflow", "postgresql"):
        return ENABLING
    enabled: dict[str, Any] = _merged(ENABLING, {"mlflow": {"postgresql": {"secret": "database"}}})
    return enabled


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], list[tuple[str, list[str]]]]:
    @functools.cache
    def objects(postgresql: bool) -> list[tuple[str, list[str]]]:
        place = ("mlflow", "postgresql") if postgresql else ()
        folder = tmp_path_factory.mktemp("usual")
        return _objects(manifests(value_set("default"), values=_enabling(place), folder=folder))

    return lambda place: objects(place[:2] == ("mlflow", "postgresql"))


def _objects(found: list[Any]) -> list[tuple[str, list[str]]]:
    return [(item["kind"], sorted(item)) for item in found]


def test_there_are_texts_to_try() -> None:
    assert len(PLACES) > 80
    assert ("cluster", "kfp", "host") in PLACES
    assert ("hooks", "annotations", "key") in PLACES


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PLACES)), ids=[".".join(place) for place in PLACES])
def test_a_hostile_text_is_refused_or_stays_one_text(tmp_path: Path, usual: Any, number: int) -> None:
    place = PLACES[number]
    for step in range(3):  # all texts come by: three at each of the places
        text = HOSTILE[(number * 3 + step) % len(HOSTILE)]
        done = template(value_set("default"), values=_merged(_enabling(place), _placed(place, text)), folder=tmp_path)
        if done.returncode:
            assert re.search(REFUSALS, done.stderr), (place, text, done.stderr)
            continue
        found = [item for item in yaml.safe_load_all(done.stdout) if item]
        expected = [item for item in usual(place) if not (text and place[-1] == "existingClaim" and "Claim" in item[0])]
        assert _objects(found) == expected, (place, text)
        assert any(text in one for one in _scalars(found)), (place, text)
