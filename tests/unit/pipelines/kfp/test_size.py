"""The estimate of a workflow's size: what was measured on a cluster, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.load import find_document, load_config
from thinksafe.errors import ConfigError
from thinksafe_pipelines.commands import COMPARE, PIPELINES, PROMOTE, compile_pipeline
from thinksafe_pipelines.kfp.size import LIMIT, STATUS, TEMPLATE, require_size, workflow_size
from thinksafe_pipelines.kfp.snapshot import CLUSTERS, COMPARED

RECIPES = ("micro", "qwen3-32b")
AIM = 400_000
"""Bytes that a run may take of the 1 MiB that Kubernetes allows."""


def compiled(folder: Path, pipeline: str, recipe: str, cluster: str = "plain", **changes: Any) -> Path:
    settings = ClusterSettings.model_validate(CLUSTERS[cluster] | changes)
    document = COMPARED if pipeline == COMPARE else find_document(recipe).text
    return compile_pipeline(pipeline, document, [], folder / "p.yaml", cluster=settings)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_workflow_of_a_recipe_is_small(tmp_path: Path, pipeline: str, recipe: str) -> None:
    size = workflow_size(*yaml.safe_load_all(compiled(tmp_path, pipeline, recipe).read_text()))
    # a comparison of two methods; others have about as many more tasks each
    assert (20_000 if pipeline == PROMOTE else 50_000) < size < (AIM if pipeline != COMPARE else LIMIT / 2)


@pytest.mark.parametrize("cluster", sorted(CLUSTERS))
def test_the_settings_of_no_cluster_bring_it_near_the_limit(tmp_path: Path, cluster: str) -> None:
    assert workflow_size(*yaml.safe_load_all(compiled(tmp_path, "realign", "micro", cluster).read_text())) < AIM


def test_width_costs_nothing(tmp_path: Path) -> None:
    narrow, wide = (
        load_config(
            "micro", [f"sampling.parallelism={width}", f"evaluation.parallelism={width}",
                      f"cluster={yaml.safe_dump(CLUSTERS['plain'], default_flow_style=True)}"],
        )
        for width in (2, 1000)
    )
    texts = [
        compile_pipeline("realign", None, [], tmp_path / "p.yaml", cluster=config.cluster).read_text()
        for config in (narrow, wide)
    ]
    assert texts[0] == texts[1]


def test_each_task_counts_with_its_template_and_its_status() -> None:
    def spec(tasks: int) -> dict[str, Any]:
        return {
            "root": {"dag": {"tasks": {f"t{number}": {} for number in range(tasks)}}},
            "components": {f"c{number}": {"executorLabel": "e"} for number in range(tasks)},
            "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
        }

    more = workflow_size(spec(3)) - workflow_size(spec(2))
    assert TEMPLATE + STATUS < more < TEMPLATE + STATUS + 50, "equal components stand there once"


def test_what_will_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    annotations = {f"example.org/note-{number}": "x" * 30000 for number in range(4)}
    with pytest.raises(ConfigError, match=r"pipeline 'realign' would take about \d+ kB of the 1048 kB") as raised:
        compiled(tmp_path, "realign", "micro", annotations=annotations)
    assert "annotations" in raised.value.action
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_too_many_methods_are_refused_with_how_many_fit(tmp_path: Path) -> None:
    def document(methods: int) -> str:
        listed = "".join(
            f"  - {{name: m{number}, overrides: {{method: {{kind: rejection}}, sampling: {{n: {number + 1}}}}}}}\n"
            for number in range(methods)
        )
        return f"extends: micro\ncompare:\n{listed}"

    cluster = ClusterSettings.model_validate(CLUSTERS["plain"])
    with pytest.raises(ConfigError, match=r"with 14 methods .*; about (\d+) methods fit") as raised:
        compile_pipeline(COMPARE, document(14), [], tmp_path / "p.yaml", cluster=cluster)
    fit = re.search(r"about (\d+) methods fit", str(raised.value))
    assert fit is not None
    number = int(fit[1])
    assert 5 <= number < 14
    compile_pipeline(COMPARE, document(number), [], tmp_path / "p.yaml", cluster=cluster)


def test_what_fits_is_not_refused(tmp_path: Path) -> None:
    path = compiled(tmp_path, "realign", "micro")
    require_size(path)
    assert workflow_size(*yaml.safe_load_all(path.read_text())) < LIMIT
