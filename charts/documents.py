"""Write the files that follow from the schema of the chart's values.

``charts/thinksafe/values.schema.json`` is the source: its part ``cluster`` comes from the config's section of that
name, ``allOf`` from :func:`relations`, the rest is written by hand. ``values.yaml`` (a comment for every value) and
the chart's ``README.md`` are derived.

``python charts/documents.py`` writes the three, with ``--check`` it only says which ones are out of date and exits 1.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from thinksafe.config.cluster import ClusterSettings

CHART = Path(__file__).parent / "thinksafe"
RECIPES = CHART.parents[1] / "configs"
SCHEMA, VALUES, README = "values.schema.json", "values.yaml", "README.md"

FROM_CHART = ("images", "namespace", "service_account", "image_pull_policy", "image_pull_secrets")
"""Settings of the section ``cluster`` that the chart fills in from other values."""

ADDRESS = r"^(https?://[^\s/?#]+[^\s?#]*)?$"
S3_ADDRESS = r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#]*)?)?$"
PATTERNS = {
    "store": S3_ADDRESS, "pipeline_root": S3_ADDRESS, "mirrors.hub": S3_ADDRESS,
    "kfp.host": ADDRESS, "s3.endpoint": ADDRESS, "mlflow.uri": ADDRESS, "hub.endpoint": ADDRESS,
}
"""Rules that the config's model checks in code and a schema can also express."""

Schema = dict[str, Any]


def cluster_schema() -> Schema:
    """Return the schema of the value ``cluster``: the config's section without what the chart fills in.

    Required values have an empty default, so that the templates can say what is missing.
    """
    model = ClusterSettings.model_json_schema()
    section: Schema = _inlined(model, model["$defs"])
    properties = {name: item for name, item in section["properties"].items() if name not in FROM_CHART}
    address = properties["mlflow"]["properties"]["uri"]
    for required in (properties["store"], address):
        required.pop("minLength")
        required["default"] = ""
    properties["mlflow"].pop("required")
    for name, pattern in PATTERNS.items():
        at: Schema = {"properties": properties}
        for part in name.split("."):
            at = at["properties"][part]
        at["pattern"] = pattern
    properties["store"]["description"] += " Required."
    address["description"] += " Required without `mlflow.enabled`."
    return {
        "type": "object", "additionalProperties": False, "properties": properties,
        "description": "The section `cluster` of the config, without "
        + ", ".join(f"`{name}`" for name in FROM_CHART) + ", which the chart fills in.",
    }


def _inlined(at: Any, definitions: Schema) -> Any:
    """Return a schema with references expanded, without titles, closed, with Markdown in its descriptions."""
    if isinstance(at, list):
        return [_inlined(item, definitions) for item in at]
    if not isinstance(at, dict):
        return at
    if "$ref" in at:
        target = definitions[at["$ref"].rsplit("/", 1)[-1]]
        at = target | {key: item for key, item in at.items() if key != "$ref"}
    if at.get("anyOf", [])[1:] == [{"type": "null"}]:  # unset, which Helm leaves out
        at = at["anyOf"][0] | {key: item for key, item in at.items() if key not in ("anyOf", "default")}
        return _inlined(at, definitions)
    found: Schema = {}
    for key, item in at.items():
        if key == "title" and isinstance(item, str):
            continue
        if key == "properties":
            found[key] = {name: _inlined(value, definitions) for name, value in item.items()}
        elif key == "default":
            found[key] = item
        elif key == "description":
            found[key] = " ".join(item.replace("``", "`").split())
        else:
            found[key] = _inlined(item, definitions)
    if "properties" in found:
        found.pop("default", None)  # its parts have theirs
    if "propertyNames" in found:  # as a pattern: Helm then reports where a name is wrong
        names = found.pop("propertyNames")  # what has a pattern stands in patternProperties already
        if "enum" in names:
            found["patternProperties"] = {f"^({'|'.join(names['enum'])})$": found["additionalProperties"]}
    if "patternProperties" in found:
        found["additionalProperties"] = False
    return found


def relations() -> list[Schema]:
    """Return what values demand of one another, as far as a schema can say; the config's model has all of it."""
    several: Schema = _at("config.training.nodes", {"type": "integer", "minimum": 2})
    as_job: Schema = _at("cluster.train_job.enabled", {"const": True})
    shape: Schema = _at("config.training.processes", {"type": "integer", "minimum": 1})
    served: Schema = _at("config.deploy.kind", {"type": "string", "not": {"const": "none"}})
    unreachable = sorted(path.stem for path in RECIPES.glob("*.yaml") if _student(path.stem).startswith("micro://"))
    micro: Schema = {"anyOf": [
        _at("config.student.model", {"type": "string", "pattern": "^micro://"}),
        {"allOf": [_at("config.extends", {"enum": unreachable}), {"not": _at("config.student.model", {})}]},
    ]}
    loaded: Schema = _at("config.deploy.model", {"type": "string", "minLength": 1})
    return [
        {"$comment": "several nodes train in a TrainJob", "if": several, "then": as_job},
        {"$comment": "it has no number of GPUs to take", "if": {"anyOf": [several, as_job]}, "then": shape},
        {"$comment": "serving pods cannot load it", "if": {"allOf": [served, micro]}, "then": loaded},
    ]


def _student(recipe: str) -> str:
    """Return the model of a shipped recipe, or of the one that it extends."""
    document = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text("utf-8"))
    model: str = document.get("student", {}).get("model") or _student(document["extends"])
    return model


def _at(path: str, schema: Schema) -> Schema:
    """Return a schema that requires the value at a path, and holds it against another schema."""
    for name in reversed(path.split(".")):
        schema = {"type": "object", "required": [name], "properties": {name: schema}}
    return schema


def leaves(schema: Schema, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield every value that has a default, with its path."""
    for name, item in schema["properties"].items():
        if "properties" in item:
            yield from leaves(item, (*at, name))
        elif name != "global":
            yield (*at, name), item


def require(schema: Schema) -> None:
    """Make every value that has a default required, in place.

    Helm merges values into the defaults before it checks the schema, so nobody has to set one. But an upgrade with
    ``--reuse-values`` uses the defaults of the older chart, which lack the new values of this one. Amounts may be
    removed with null.
    """
    schema["required"] = [name for name in schema["properties"] if name != "global"]
    for name, item in schema["properties"].items():
        if "properties" in item and name != "resources":
            require(item)


def values_yaml(schema: Schema) -> str:
    """Return ``values.yaml``: every value with its default, under its description."""
    return "# Written by charts/documents.py from values.schema.json: all values and defaults.\n" + _block(schema, 0)


def _block(schema: Schema, depth: int) -> str:
    lines: list[str] = []
    indent = "  " * depth
    for name, item in schema["properties"].items():
        if name == "global":
            continue
        if depth == 0:
            lines.append("")
        comment = textwrap.wrap(item["description"], 116 - len(indent), break_on_hyphens=False)
        lines += [f"{indent}# {line}" for line in comment]
        if "properties" in item:
            lines += [f"{indent}{name}:", _block(item, depth + 1).rstrip("\n")]
        else:
            lines.append(f"{indent}{name}: {json.dumps(item['default'])}")
    return "\n".join(lines) + "\n"


def readme(schema: Schema) -> str:
    """Return the chart's README: what it installs, then a table of all values."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    parts = [
        f"# Chart {chart['name']} {chart['version']}",
        f"{chart['description']} How to install and run it: [docs/operators.md](../../docs/operators.md).",
        (
            "What has to be given: `config`, `cluster.store`, `cluster.mlflow.uri` (or `mlflow.enabled`) and the "
            "repositories of the images. Examples that are tested: [ci/](ci)."
        ),
    ]
    for name, item in schema["properties"].items():
        if name == "global":
            continue
        rows = list(leaves(item, (name,))) if "properties" in item else [((name,), item)]
        if "properties" in item:
            parts.append(f"## {name}\n\n{item['description']}")
        elif not parts[-1].startswith("|"):
            parts.append("## General")
        table = [f"| `{'.'.join(path)}` | `{json.dumps(one['default'])}` | {_cell(one)} |" for path, one in rows]
        if "properties" not in item and parts[-1].startswith("|"):
            parts[-1] += "\n" + "\n".join(table)
        else:
            parts.append("\n".join(["| value | default | meaning |", "| --- | --- | --- |", *table]))
    parts.append("<!-- Written by charts/documents.py from values.schema.json. -->")
    return "\n\n".join(parts) + "\n"


def _cell(item: Schema) -> str:
    choices = ", ".join(f"`{choice}`" for choice in item.get("enum", []))
    text = item["description"] + (f" One of {choices}." if choices else "")
    return text.replace("|", "\\|")


def documents() -> dict[Path, str]:
    """Return the text of each file by its path."""
    schema = json.loads((CHART / SCHEMA).read_text("utf-8"))
    schema["properties"]["cluster"] = cluster_schema()
    schema["allOf"] = relations()
    require(schema)
    return {
        CHART / SCHEMA: json.dumps(schema, indent=2) + "\n",
        CHART / VALUES: values_yaml(schema),
        CHART / README: readme(schema),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python charts/documents.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when one is out of date")
    check = parser.parse_args(arguments).check
    stale = [
        (path, text) for path, text in documents().items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]
    for path, text in stale:
        if not check:
            path.write_text(text, "utf-8")
        sys.stdout.write(f"{'out of date' if check else 'written'}: charts/thinksafe/{path.name}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
