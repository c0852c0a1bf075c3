from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.components import load_component_from_file

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.placeholders import holds_placeholder
from thinksafe.config.stage_table import STAGES
from thinksafe.errors import ConfigError, StageError
from thinksafe_components.images import Images
from thinksafe_pipelines.commands import COMPARE, PIPELINES, PROMOTE, compile_pipeline
from thinksafe_pipelines.kfp.canonical import canonicalise
from thinksafe_pipelines.kfp.snapshot import CLUSTERS, COMPARED

IMAGES = Images("registry/cpu:1", "registry/sampler:1", "registry/trainer:1")


def compiled(tmp_path: Path, name: str = "realign", **options: Any) -> dict[str, Any]:
    config = COMPARED if name == COMPARE else None
    path = compile_pipeline(name, config, [], tmp_path / f"{name}.yaml", IMAGES, **options)
    value: dict[str, Any] = yaml.safe_load(path.read_text())
    return value


def tasks_of(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name of the component and task, of all tasks."""
    groups = [("root", spec["root"]), *spec["components"].items()]
    return [(name, task) for name, group in groups for task in group.get("dag", {}).get("tasks", {}).values()]


def stage_of(spec: dict[str, Any], task: dict[str, Any]) -> str:
    """Return the stage that a task runs, empty for a group of tasks."""
    label = spec["components"][task["componentRef"]["name"]].get("executorLabel", "")
    return spec["deploymentSpec"]["executors"][label]["container"]["command"][1] if label else ""


@pytest.mark.parametrize("name", [name for name in PIPELINES if name != PROMOTE])
def test_kfp_loads_what_was_compiled(tmp_path: Path, name: str) -> None:
    document = COMPARED if name == COMPARE else "name: x\nseed: 1\n"
    path = compile_pipeline(name, document, ["seed=7"], tmp_path / "new" / "pipeline.yaml", IMAGES)
    component = load_component_from_file(str(path))
    inputs = component.component_spec.inputs
    own = {"evaluate": {"model", "fresh", "if_champion"}, "realign": {"author", "if_changed"}, COMPARE: set()}[name]
    assert set(inputs) == {"config", "overrides", "run_id", "artifacts"} | own
    assert inputs["config"].default == document
    assert inputs["overrides"].default == '["seed=7"]'
    assert [path.name for path in path.parent.iterdir()] == ["pipeline.yaml"]


def test_a_promotion_takes_the_run_and_no_configuration(tmp_path: Path) -> None:
    path = compile_pipeline(PROMOTE, "name: x\n", ["seed=7"], tmp_path / "pipeline.yaml", IMAGES)
    assert set(load_component_from_file(str(path)).component_spec.inputs) == {"run_id", "artifacts"}


def test_the_author_is_a_default_of_the_version_that_somebody_publishes(tmp_path: Path) -> None:
    path = compile_pipeline("realign", "name: x\n", [], tmp_path / "pipeline.yaml", IMAGES, author="ann@example.com")
    assert load_component_from_file(str(path)).component_spec.inputs["author"].default == "ann@example.com"
    with pytest.raises(ConfigError, match="placeholder"):
        compile_pipeline("realign", "name: x\n", [], path, IMAGES, author="{{workflow.name}}")


def test_without_a_configuration_the_parameter_is_required(tmp_path: Path) -> None:
    parameters = compiled(tmp_path)["root"]["inputDefinitions"]["parameters"]
    assert "defaultValue" not in parameters["config"]
    assert parameters["overrides"]["defaultValue"] == "[]"


def test_a_configuration_is_compiled_in_without_what_kubeflow_would_fill_in(tmp_path: Path) -> None:
    document = "extends: micro\nname: x\nregistry: {model: m, experiment: 'a {{$}} $(HOME)'}\n"
    path = compile_pipeline("realign", document, ["name='{{workflow.name}}'"], tmp_path / "pipeline.yaml", IMAGES)
    parameters = load_component_from_file(str(path)).component_spec.inputs
    assert not holds_placeholder(parameters["config"].default + parameters["overrides"].default)
    assert load_config(parameters["config"].default) == load_config(document)
    assert json.loads(parameters["overrides"].default) == ["name='{{workflow.name}}'"]


def test_a_configuration_too_long_for_a_pod_is_refused_for_a_cluster_only(tmp_path: Path) -> None:
    document = "name: x\n" + "# a long comment\n" * 7000
    compile_pipeline("realign", document, [], tmp_path / "pipeline.yaml", IMAGES)
    cluster = ClusterSettings.model_validate(CLUSTERS["plain"])
    with pytest.raises(ConfigError, match="100,000"):
        compile_pipeline("realign", document, [], tmp_path / "cluster.yaml", cluster=cluster)
    assert not (tmp_path / "cluster.yaml").exists()


def test_every_task_runs_in_the_image_of_its_kind(tmp_path: Path) -> None:
    images: dict[str, set[str]] = {}
    for executor in compiled(tmp_path)["deploymentSpec"]["executors"].values():
        container = executor["container"]
        images.setdefault(container["image"], set()).add(container["command"][1])
    assert images["registry/sampler:1"] == {"sample", "judge", "deploy"}
    assert images["registry/trainer:1"] == {"train"}
    assert {"plan", "gate", "report"} <= images["registry/cpu:1"]
    assert len(images) == 3


@pytest.mark.parametrize("name", PIPELINES)
def test_stages_with_effects_are_never_cached(tmp_path: Path, name: str) -> None:
    spec = compiled(tmp_path, name)
    cached = {
        (stage, bool(task.get("cachingOptions", {}).get("enableCache")))
        for _, task in tasks_of(spec) if (stage := stage_of(spec, task))
    }
    assert {stage for stage, on in cached if not on} == {stage for stage, _ in cached if not STAGES[stage].cached}
    assert all(STAGES[stage].cached for stage, on in cached if on)


def chain_of(spec: dict[str, Any], dag: dict[str, Any]) -> int:
    """Return the pods that run one after the other at most: a driver for each task and group, and a pod for a task."""
    tasks = dag["tasks"]

    @cache
    def until(key: str) -> int:
        inner = spec["components"][tasks[key]["componentRef"]["name"]].get("dag")
        own = 1 + (1 if inner is None else chain_of(spec, inner))
        return own + max(map(until, tasks[key].get("dependentTasks", [])), default=0)

    return max(map(until, tasks))


@pytest.mark.parametrize(
    ("name", "tasks", "groups", "chain"),
    [("realign", 40, 8, 44), ("evaluate", 12, 4, 22), (COMPARE, 36, 10, 44), (PROMOTE, 6, 2, 15)],
)
def test_a_run_has_few_tasks_whatever_the_width(
    tmp_path: Path, name: str, tasks: int, groups: int, chain: int
) -> None:
    # each one costs pods, and room in Argo's one object for the run
    spec = compiled(tmp_path, name)
    assert "parameterIterator" not in json.dumps(spec)
    assert "artifactIterator" not in json.dumps(spec)
    stages = [stage_of(spec, task) for _, task in tasks_of(spec)]
    assert len(list(filter(None, stages))) <= tasks
    assert stages.count("") <= groups
    # the exit handler's report waits for the whole of it, though no dependency says so
    assert 1 + chain_of(spec, spec["root"]["dag"]) <= chain


CONDITIONS = {
    "realign": {
        "is-due": "due-passed", "steerable": "diagnose-passed", "enough-examples": "curate-passed",
        "changed": "train-passed", "passed": "gate-passed", "rolled-out": "promote-passed",
    },
    "evaluate": {"model-there": "plan-evaluation-passed", "regressed": "monitor-passed"},
    COMPARE: {
        **dict.fromkeys(("samples-thinksafe", "thinksafe", "samples-rejection", "rejection"), "diagnose-passed"),
        "enough-examples": "curate-passed", "changed": "train-passed",
    },
    PROMOTE: {"rolled-out": "promote-passed"},
}


@pytest.mark.parametrize("name", PIPELINES)
def test_each_condition_reads_the_flag_that_its_own_group_hands_in(tmp_path: Path, name: str) -> None:
    # KFP resolves nothing else in a condition
    spec = compiled(tmp_path, name)
    found = {}
    for component in (spec["root"], *spec["components"].values()):
        tasks = component.get("dag", {}).get("tasks", {})
        for key, task in tasks.items():
            if condition := task.get("triggerPolicy", {}).get("condition"):
                channel, = set(re.findall(r"parameter_values\['(.+?)'\]", condition))
                given = task["inputs"]["parameters"][channel]
                if key in ("thinksafe", "rejection"):  # the flag of the group around it
                    assert given == {"componentInputParameter": channel}
                    assert channel in component["inputDefinitions"]["parameters"]
                else:
                    producer = given["taskOutputParameter"]["producerTask"]
                    assert producer in task["dependentTasks"]
                    assert producer in tasks
                assert condition.endswith(f"== {'false' if key == 'regressed' else 'true'}")
                found[key] = channel.removeprefix("pipelinechannel--")
    assert found == CONDITIONS[name]


@pytest.mark.parametrize("rounds", [2, 4])
def test_each_round_samples_from_the_candidate_before_it_and_trains_the_student(tmp_path: Path, rounds: int) -> None:
    path = compile_pipeline(
        "realign", "extends: micro\n", [f"sampling.rounds={rounds}"], tmp_path / "realign.yaml", IMAGES
    )
    spec = yaml.safe_load(path.read_text("utf-8"))
    found = list(tasks_of(spec))
    planned, = (task for _, task in found if stage_of(spec, task) == "plan")
    assert planned["inputs"]["parameters"]["rounds"] == {"runtimeValue": {"constant": float(rounds)}}
    by_use = {
        task["inputs"]["parameters"]["use"]["runtimeValue"]["constant"]: task
        for _, task in found if stage_of(spec, task) == "sample"
    }
    wanted = [f"training-round{number}" for number in range(1, rounds)] + ["training"]
    assert {use for use in by_use if use.startswith("training")} == set(wanted)
    models = [json.dumps(by_use[use]["inputs"]["artifacts"]["model"]) for use in wanted]
    assert "plan-base" in models[0]
    assert all("candidate" in model for model in models[1:])
    trained = [task for _, task in found if stage_of(spec, task) == "train"]
    assert len(trained) == rounds
    for task in trained:
        assert "plan-base" in json.dumps(task["inputs"]["artifacts"]["base"])
    endings = [
        task["inputs"]["parameters"].get("in_round", {}).get("runtimeValue", {}).get("constant", "") for task in trained
    ]
    assert sorted(endings) == sorted(use.removeprefix("training") for use in wanted)
    registered, = (task for _, task in found if stage_of(spec, task) == "register")
    assert "in_round" not in registered["inputs"]["parameters"]


def test_a_comparison_shares_a_first_round_with_methods_of_as_many(tmp_path: Path) -> None:
    two = "{sampling: {rounds: 2}"
    document = (
        f"extends: micro\ncompare: [{{name: one}}, {{name: two, overrides: {two}}}}}, "
        f"{{name: kl, overrides: {two}, method: {{kind: thinksafe, benign_loss: kl}}}}}}]\n"
    )
    path = compile_pipeline(COMPARE, document, [], tmp_path / "compare.yaml", IMAGES)
    spec = yaml.safe_load(path.read_text("utf-8"))
    uses = sorted(
        (given["use"]["runtimeValue"]["constant"], given["method"]["runtimeValue"]["constant"])
        for _, task in tasks_of(spec)
        if stage_of(spec, task) == "sample" and "training" in json.dumps(given := task["inputs"]["parameters"])
    )
    assert uses == [("training", "kl"), ("training", "one"), ("training", "two"), ("training-round1", "two")]


def test_the_report_is_the_exit_task_and_depends_on_nothing_else(tmp_path: Path) -> None:
    spec = compiled(tmp_path)
    report = spec["root"]["dag"]["tasks"]["report"]
    assert report["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    assert "taskFinalStatus" in report["inputs"]["parameters"]["status"]
    assert not any("taskOutputParameter" in value for value in report["inputs"]["parameters"].values())


@pytest.mark.parametrize("name", PIPELINES)
def test_all_stages_but_plan_and_report_take_the_plan(tmp_path: Path, name: str) -> None:
    # it holds the run id; the pipeline's own parameter is empty in a scheduled run
    spec = compiled(tmp_path, name)
    plan = {
        "realign": "plan", "evaluate": "plan-evaluation", COMPARE: "plan-comparison", PROMOTE: "plan-promotion"
    }[name]
    channel = f"pipelinechannel--{plan}-plan"
    made = {"taskOutputArtifact": {"outputArtifactKey": "plan", "producerTask": plan}}
    for group, task in tasks_of(spec):
        stage = stage_of(spec, task)
        given = task["inputs"].get("artifacts", {})
        if group != "root" and not stage.startswith("plan"):
            inside = plan in spec["components"][group]["dag"]["tasks"]
            assert given["plan" if stage else channel] == (made if inside else {"componentInputArtifact": channel})
            assert not any("run_id" in parameter for parameter in task["inputs"].get("parameters", {}))


@pytest.mark.parametrize("name", PIPELINES)
def test_no_group_takes_many_inputs(tmp_path: Path, name: str) -> None:
    groups = [component for component in compiled(tmp_path, name)["components"].values() if "dag" in component]
    assert groups
    # a compared method also takes in what its gate reads of base and champion, measured once for all, and its context
    most = 14 if name == COMPARE else 12
    assert max(sum(map(len, group.get("inputDefinitions", {}).values())) for group in groups) <= most


@pytest.mark.parametrize("name", PIPELINES)
def test_a_task_is_referred_to_by_the_name_under_which_the_backend_records_it(tmp_path: Path, name: str) -> None:
    # KFP's driver records a task under its shown name or under its key, by version, and resolves by key
    spec = compiled(tmp_path, name)
    shown = set()
    for component in (spec["root"], *spec["components"].values()):
        tasks = component.get("dag", {}).get("tasks", {})
        assert {key: task["taskInfo"]["name"] for key, task in tasks.items()} == {key: key for key in tasks}
        shown |= set(tasks)
        text = json.dumps(component.get("dag", {}))
        assert set(re.findall(r'"producer(?:Task|Subtask)": "([^"]+)"', text)) <= set(tasks)
        for task in tasks.values():
            assert set(task.get("dependentTasks", [])) <= set(tasks)
    assert {"report", *CONDITIONS[name]} <= shown
    assert not any(re.match(r"(for-loop|condition|exit-handler)-\d", task) for task in shown)


def test_a_key_follows_the_name_in_every_reference_and_a_taken_name_is_not_given_twice() -> None:
    def task(shown: str, **more: Any) -> dict[str, Any]:
        return {"taskInfo": {"name": shown}, "componentRef": {"name": f"comp-{shown}"}, **more}

    made = {"taskOutputArtifact": {"producerTask": "condition-1", "outputArtifactKey": "x"}}
    dag = {
        "tasks": {
            "condition-1": task("due"),
            "condition-2": task("gate"),
            "gate": task("gate", dependentTasks=["condition-1", "condition-2"], inputs={"artifacts": {"x": made}}),
            "report": task("report", inputs={"parameters": {"status": {"taskFinalStatus": {"producerTask": "gate"}}}}),
        },
        "outputs": {"artifacts": {"y": {"artifactSelectors": [{"producerSubtask": "condition-1"}]}}},
    }
    names = ("due", "gate", "report")
    spec = {
        "root": {"dag": dag},
        "components": {f"comp-{name}": {"executorLabel": f"exec-{name}"} for name in names},
        "deploymentSpec": {"executors": {f"exec-{name}": {"container": {"image": name}} for name in names}},
    }
    canonicalise(spec)
    tasks = spec["root"]["dag"]["tasks"]
    assert {key: value["taskInfo"]["name"] for key, value in tasks.items()} == {
        "due": "due", "condition-2": "condition-2", "gate": "gate", "report": "report"
    }
    assert tasks["gate"]["dependentTasks"] == ["condition-2", "due"]
    assert tasks["gate"]["inputs"]["artifacts"]["x"]["taskOutputArtifact"]["producerTask"] == "due"
    assert tasks["report"]["inputs"]["parameters"]["status"]["taskFinalStatus"]["producerTask"] == "gate"
    assert spec["root"]["dag"]["outputs"]["artifacts"]["y"]["artifactSelectors"] == [{"producerSubtask": "due"}]


@pytest.mark.slow
def test_compiling_gives_the_same_text_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from thinksafe_pipelines.commands import compile_pipeline\n"
        "compile_pipeline('realign', None, [], Path(sys.argv[1]))"
    )
    texts = set()
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.yaml"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)
        texts.add(path.read_text())
    assert len(texts) == 1


def test_components_get_executors_of_their_own() -> None:
    def container(name: str) -> dict[str, Any]:
        return {"container": {"image": name}}

    spec = {
        "root": {"dag": {"tasks": {
            "b": {"componentRef": {"name": "comp-x-9"}}, "a": {"componentRef": {"name": "comp-x"}},
        }}},
        "components": {"comp-x": {"executorLabel": "exec-2"}, "comp-x-9": {"executorLabel": "exec-2"}},
        "deploymentSpec": {"executors": {"exec": container("unused"), "exec-2": container("shared")}},
    }
    platforms = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-2": {"pod": 1}}}}}}
    canonicalise(spec, platforms)
    assert spec["root"]["dag"]["tasks"] == {
        "a": {"componentRef": {"name": "comp-a"}}, "b": {"componentRef": {"name": "comp-b"}}
    }
    assert spec["components"] == {"comp-a": {"executorLabel": "exec-a"}, "comp-b": {"executorLabel": "exec-b"}}
    assert spec["deploymentSpec"]["executors"] == {"exec-a": container("shared"), "exec-b": container("shared")}
    assert platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"] == {
        "exec-a": {"pod": 1}, "exec-b": {"pod": 1}
    }


def test_canonical_names_survive_a_second_pass(tmp_path: Path) -> None:
    spec = compiled(tmp_path)
    again = json.loads(json.dumps(spec))
    canonicalise(again)
    assert again == spec


def test_an_unknown_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="realign, evaluate"):
        compile_pipeline("realing", None, [], tmp_path / "x.yaml")


def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.yaml"):
        compile_pipeline("evaluate", None, [], tmp_path / "x.json")


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(StageError, match="Could not write"):
        compile_pipeline("evaluate", None, [], tmp_path / "folder.yaml")
