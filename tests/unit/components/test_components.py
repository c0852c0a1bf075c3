from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import typer.main
from kfp import dsl

from thinksafe import __version__, stages
from thinksafe.cli.main import app
from thinksafe.config.stage_table import STAGES
from thinksafe_components.catalog import load, load_all
from thinksafe_components.images import Images, default_images
from thinksafe_components.readme import main, read_metadata

FOLDER = Path(str(resources.files("thinksafe_components")))


def container(stage: str) -> Any:
    return load(stage, "registry/image:1").component_spec.implementation.container


def options(stage: str) -> dict[str, list[str]]:
    """Values of each option that the component passes."""
    args = list(map(str, container(stage).args))
    found: dict[str, list[str]] = {}
    for name, value in zip(args[::2], args[1::2], strict=True):
        found.setdefault(name, []).append(value)
    return found


def test_every_stage_has_a_component_and_a_module() -> None:
    assert sorted(STAGES) == sorted(path.parent.name for path in FOLDER.glob("*/component.py"))
    modules = [path for path in Path(stages.__file__).parent.glob("*.py") if "\ndef run(" in path.read_text("utf-8")]
    assert set(STAGES) == {path.stem for path in modules}


@pytest.mark.parametrize("stage", STAGES)
class TestComponent:
    def test_runs_the_stage_command_in_the_given_image(self, stage: str) -> None:
        assert container(stage).image == "registry/image:1"
        assert container(stage).command == ["thinksafe", stage]

    def test_hands_on_the_executor_input(self, stage: str) -> None:
        assert options(stage)["--executor-input"] == ["{{$}}"]

    def test_passes_options_that_the_command_has_and_all_that_it_needs(self, stage: str) -> None:
        command = typer.main.get_command(app).commands[stage]  # type: ignore[attr-defined]
        taken = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
        needed = {parameter.opts[0] for parameter in command.params if parameter.required}
        assert set(options(stage)) <= taken
        assert needed <= set(options(stage))

    def test_uses_every_input_and_output(self, stage: str) -> None:
        spec = load(stage, "image").component_spec
        text = " ".join(map(str, container(stage).args))
        unused = {
            name for name in [*(spec.inputs or {}), *(spec.outputs or {})]
            if not re.search(rf"(inputs|outputs)\.(parameters|artifacts)\['{name}'\]", text)
        }
        assert not unused

    def test_has_placeholders_only_that_the_backend_resolves(self, stage: str) -> None:
        text = " ".join(map(str, container(stage).args))
        assert "Concat" not in text
        assert "IfPresent" not in text

    def test_is_a_thin_call(self, stage: str) -> None:
        assert len((FOLDER / stage / "component.py").read_text().splitlines()) <= 80

    def test_says_what_it_is(self, stage: str) -> None:
        metadata = read_metadata(stage)
        assert metadata["name"] == stage
        assert set(metadata) == {"name", "stability", "dependencies", "tags", "lastVerified"}
        assert metadata["tags"]


def test_the_readmes_are_current() -> None:
    assert main(["--check"]) == 0, "run python -m thinksafe_components.readme"


def test_a_stale_readme_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("thinksafe_components.readme.render", lambda stage: f"# {stage}\n")
    assert main(["--check"]) == 1
    assert "out of date: plan/README.md" in capsys.readouterr().out


def test_the_images_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "_CPU", "_SAMPLER", "_TRAINER"):
        monkeypatch.delenv(f"THINKSAFE_IMAGE{name}", raising=False)
    assert default_images() == Images(*(f"thinksafe/{kind}:{__version__}" for kind in ("cpu", "sampler", "trainer")))
    cpu = f"thinksafe/trainer-cpu:{__version__}"
    assert default_images(gpu=False) == Images(f"thinksafe/cpu:{__version__}", cpu, cpu)
    monkeypatch.setenv("THINKSAFE_IMAGE", "registry/other:2")
    assert default_images() == Images(*["registry/other:2"] * 3)
    monkeypatch.setenv("THINKSAFE_IMAGE_SAMPLER", "registry/gpu:2")
    assert default_images().image("sample") == default_images().image("judge") == "registry/gpu:2"
    assert default_images().image("gate") == default_images().image("train") == "registry/other:2"


def test_all_components_are_loaded_under_their_names() -> None:
    assert set(vars(load_all(Images("a", "b", "c")))) == set(STAGES)


def test_the_setting_hears_of_stage_and_section_of_each_task() -> None:
    class Heard:
        def __init__(self) -> None:
            self.given: list[tuple[str, str, str]] = []

        def image(self, stage: str) -> str:
            return f"registry/{stage}:1"

        def configure(self, stage: str, section: str, task: Any) -> None:
            self.given.append((stage, section, task.container_spec.image))
            task.set_memory_limit("1G")

    heard = Heard()

    @dsl.pipeline
    def several():
        stages = load_all(heard)
        planned = stages.plan(config="", overrides="", author="", job_id="", artifacts="", run_id="").outputs
        where = {"plan": planned["plan"], "artifacts": ""}
        for use in ("pilot", "training"):
            given = {"section": f"sample_{use}", "use": use, **where}
            stages.sample(model=planned["base"], prompts=planned["base"], **given)
        stages.due(contamination=planned["base"], if_changed=False, **where)

    assert heard.given == [
        ("plan", "plan", "registry/plan:1"),
        ("sample", "sample_pilot", "registry/sample:1"),
        ("sample", "sample_training", "registry/sample:1"),
        ("due", "due", "registry/due:1"),
    ]
    spec = several.pipeline_spec
    caching = {name: task.caching_options.enable_cache for name, task in spec.root.dag.tasks.items()}
    assert caching == {"plan": False, "sample": True, "sample-2": True, "due": False}
