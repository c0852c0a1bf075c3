"""Write the README of every component from its docstring, its interface and its metadata.

``python -m thinksafe_components.readme`` writes them, with ``--check`` it only says which ones are out of date and
exits 1.
"""

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from docstring_parser import parse

from thinksafe.config.stage_table import STAGES
from thinksafe_components.catalog import load


def read_metadata(stage: str) -> dict[str, Any]:
    """Return the metadata of a component as it stands in its ``metadata.yaml``."""
    text = (resources.files("thinksafe_components") / stage / "metadata.yaml").read_text("utf-8")
    metadata: dict[str, Any] = yaml.safe_load(text)
    return metadata


def render(stage: str) -> str:
    """Return the README of a component as Markdown."""
    component = load(stage, image="IMAGE")
    spec = component.component_spec
    # KFP keeps the descriptions of inputs only
    meanings = {item.arg_name: item.description for item in parse(component.pipeline_func.__doc__).params}
    metadata = read_metadata(stage)
    needs = [
        f"{item['name']} {item['version']}"
        for group in ("kubeflow", "external_services")
        for item in metadata["dependencies"][group]
    ]
    parts = [
        f"# {stage}",
        spec.description,
        _table("Inputs", spec.inputs, meanings),
        _table("Outputs", spec.outputs, meanings),
        f"## Command\n\n`thinksafe {stage}`; `thinksafe {stage} --help` explains its options.",
        "## Metadata",
        "\n".join([
            f"- Stability: {metadata['stability']}", f"- Needs: {', '.join(needs)}",
            f"- Tags: {', '.join(metadata['tags'])}", f"- Last verified: {metadata['lastVerified']}",
        ]),
        "<!-- Written by python -m thinksafe_components.readme from component.py and metadata.yaml. -->",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(title: str, items: dict[str, Any] | None, meanings: dict[str, str]) -> str:
    if not items:
        return ""
    rows = [f"| `{name}` | {_type_name(item)} | {meanings[name]} |" for name, item in items.items()]
    return "\n".join([f"## {title}\n", "| name | type | meaning |", "| --- | --- | --- |", *rows])


def _type_name(item: Any) -> str:
    name = str(item.type).removeprefix("system.").split("@")[0]
    return f"list of {name}" if getattr(item, "is_artifact_list", False) else name


def main(arguments: list[str] | None = None) -> int:
    """Write or check the READMEs; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m thinksafe_components.readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when one is out of date")
    check = parser.parse_args(arguments).check
    stale = []
    for stage in STAGES:
        path = Path(str(resources.files("thinksafe_components"))) / stage / "README.md"
        text = render(stage)
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(path)
        if not check:
            path.write_text(text, "utf-8")
    for path in stale:
        sys.stdout.write(f"{'out of date' if check else 'written'}: {path.parent.name}/{path.name}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
