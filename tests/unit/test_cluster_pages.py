"""docs/cluster.md and docs/rollout.md: their examples are configurations, and the keys that they name are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.cluster_services import KfpSettings
from thinksafe.config.cluster_stages import StageSettings

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text("utf-8") for name in ("cluster", "rollout")}


def blocks(page: str) -> list[dict[str, Any]]:
    texts = re.findall(r"```yaml\n(.*?)```", PAGES[page], re.DOTALL)
    return [yaml.safe_load(text.replace("sha256:...", "sha256:" + "a" * 64)) for text in texts]


def laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: laid_over(below.get(key), value) for key, value in above.items()}


SMALLEST = blocks("cluster")[0]
EXAMPLES = [block for page in PAGES for block in blocks(page) if "apiVersion" not in block]


@pytest.mark.parametrize("example", EXAMPLES, ids=[", ".join(example) for example in EXAMPLES])
def test_examples_are_configurations(example: dict[str, Any]) -> None:
    config = load_config(yaml.safe_dump(laid_over(SMALLEST, example)))
    for section, given in example.items():
        said = getattr(config, section, None)
        for key in given if isinstance(given, dict) else ():
            assert key in type(said).model_fields


def test_the_table_names_keys_that_there_are() -> None:
    table = PAGES["cluster"].split("## What it says")[1].split("\n- **")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    named = {key for row in rows for key in row.split("|")[1].split("`")[1::2]}
    assert {key.split(".")[0] for key in named} == set(ClusterSettings.model_fields)
    (stages,) = [row for row in rows if row.startswith("| `stages.<stage>`")]
    words = set(stages.split("`")[1::2]) - {"stages.<stage>", "default"}
    classes = {"priority_class", "runtime_class"}  # they have a part of their own
    assert words == set(StageSettings.model_fields) - classes
    assert set(re.findall(r"`kfp\.(\w+)", PAGES["cluster"])) <= set(KfpSettings.model_fields)


def test_the_policy_for_priority_classes_is_one() -> None:
    (policy,) = [block for block in blocks("cluster") if "apiVersion" in block]
    patches = yaml.safe_load(policy["spec"]["rules"][0]["mutate"]["patchesJson6902"])
    assert [(patch["op"], patch["path"]) for patch in patches] == [
        ("remove", "/spec/priority"), ("add", "/spec/priorityClassName")
    ]
