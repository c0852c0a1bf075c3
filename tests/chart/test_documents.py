"""values.yaml and the README follow from the schema; the schema describes and closes everything."""

from __future__ import annotations

import importlib.util
import json
import re
from itertools import pairwise

import jsonschema
import pytest
import yaml
from helm_chart import CHART, REPOSITORY, VALUE_SETS, value_set

import thinksafe
from thinksafe.config.cluster import ClusterSettings

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
VALUES = (CHART / "values.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def documents():
    spec = importlib.util.spec_from_file_location("chart_documents", REPOSITORY / "charts" / "documents.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_they_are_current(documents):
    assert documents.main(["--check"]) == 0, "run python charts/documents.py"


def test_a_stale_one_is_found(documents, monkeypatch, capsys):
    monkeypatch.setattr(documents, "readme", lambda schema: "# other\n")
    assert documents.main(["--check"]) == 1
    assert capsys.readouterr().out == "out of date: charts/thinksafe/README.md\n"


def _parts(schema, at=""):
    yield at, schema
    for name, item in schema.get("properties", {}).items():
        yield from _parts(item, f"{at}/{name}")
    for pattern, item in schema.get("patternProperties", {}).items():
        yield from _parts(item, f"{at}/{pattern}")
    if "items" in schema:
        yield from _parts(schema["items"], f"{at}/items")


def test_everything_is_described():
    for place, schema in [*_parts(SCHEMA), *(part for item in SCHEMA["$defs"].values() for part in _parts(item))]:
        for name, item in schema.get("properties", {}).items():
            described = SCHEMA["$defs"][item["$ref"].rsplit("/", 1)[-1]] if "$ref" in item else item
            assert described.get("description", "").endswith("."), f"{place}/{name}"


def test_everything_is_closed():
    free = {"/config", "/global"}  # the recipe document has a schema of its own, global is Helm's
    for place, schema in [*_parts(SCHEMA), *(part for item in SCHEMA["$defs"].values() for part in _parts(item))]:
        if schema.get("type") == "object" and place not in free:
            assert schema["additionalProperties"] is False, place


def test_every_value_has_a_comment():
    lines = [line for line in VALUES.splitlines() if line.strip()]
    for above, line in pairwise(lines):
        assert line.lstrip().startswith("#") or above.lstrip().startswith("#"), line


def test_the_defaults_meet_the_schema():
    jsonschema.Draft202012Validator(SCHEMA).validate(yaml.safe_load(VALUES))


@pytest.mark.parametrize("name", VALUE_SETS)
def test_the_value_sets_meet_the_schema(name):
    values = _over(yaml.safe_load(VALUES), yaml.safe_load(value_set(name).read_text("utf-8")))
    jsonschema.Draft202012Validator(SCHEMA).validate(values)


def _over(below, above):
    """As Helm lays values over the defaults."""
    both = {key: _over(below[key], above[key]) for key in below.keys() & above.keys() if isinstance(below[key], dict)}
    return {**below, **above, **both}


def test_the_cluster_section_is_the_configs(documents):
    ours = set(SCHEMA["properties"]["cluster"]["properties"]) | set(documents.FROM_CHART)
    assert ours == set(ClusterSettings.model_fields)


def test_the_chart_installs_this_version():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"] == thinksafe.__version__


def test_every_value_is_in_the_readme():
    text = (CHART / "README.md").read_text("utf-8")
    for place, schema in _parts(SCHEMA):
        if "default" in schema and not re.search(r"/items|\^|^/global$", place):
            assert f"| `{place.strip('/').replace('/', '.')}` |" in text
