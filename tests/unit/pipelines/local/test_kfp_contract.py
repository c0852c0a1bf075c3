"""The parts of KFP that the local runner stands on, as they were when it was tested.

When this fails, KFP has changed: read the changed module, run the tests of this folder and a whole micro run, then
write the new version (``TESTED_KFP``) and the new digest down.
"""

from __future__ import annotations

import hashlib
import inspect
from importlib import import_module
from pathlib import Path

import kfp
import pytest
from kfp.local import config, docker_task_handler, logging_utils, subprocess_task_handler, task_dispatcher
from kfp.local.io import IOStore
from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator

from thinksafe_pipelines.local.runner import SILENT_SKIPS, TESTED_KFP, TaskHandler, _channel

# SHA-256 of the source
MODULES = {
    "kfp.local.config":
        "db505956148e7a0830f2bb115624ab52d38a38a1c63739b663fa77519fb69fa8",
    "kfp.local.docker_task_handler":
        "1c8ebf86083b0434fd7a16cf4ea525e715904eb13f4c3badb9f0a52bacc648d8",
    "kfp.local.executor_input_utils":
        "38660b53e5b1206ff0d9857a2ced6e309cd3d95fbdb860c7a5022aa7e0b1b323",
    "kfp.local.executor_output_utils":
        "804127302e8c97e600777eafddb4ab15ae4a7697c89f5ce812e7f33c1232c5fb",
    "kfp.local.logging_utils":
        "2bc8875872194a66d74957efcfcc82c2e8252be15ac17062d8661cb3b5f2291e",
    "kfp.local.pipeline_orchestrator":
        "93621e8f9a5bb32147f63754ce3de2c6bb75d2cdac2881db76ee56971fa62e4b",
    "kfp.local.orchestrator.enhanced_dag_orchestrator":
        "1a0b626cfad2355e344f9bf9a2bbf184f349e1be6350ee000dbd523a8eedb797",
    "kfp.local.orchestrator.task_executor":
        "fb2aada540d8f9182891418bfc5612058f3bac666d4e2e6b5928206bd77e5392",
    "kfp.local.orchestrator.task_spec_utils":
        "664848e75900cb149683c1d0854b42045a8bf0a3c2cd23a6e1d336203d0f3e65",
    "kfp.local.placeholder_utils":
        "c553cee253b3f8889b3ecb3f069914298f907936974548b6b7439bb35424190b",
    "kfp.local.subprocess_task_handler":
        "fb4fed785774aa40eb2dac821e855c448bf4faf1baf31c7532d0cc7784605b58",
    "kfp.local.task_dispatcher":
        "70681cf442f102f7a7c77f07c743403773053db2c7500a6d111c3df428408435",
}


def test_the_version_is_the_tested_one() -> None:
    assert kfp.__version__ == TESTED_KFP


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_we_stand_on_is_unchanged(module: str) -> None:
    source = Path(str(import_module(module).__file__)).read_bytes()
    assert hashlib.sha256(source).hexdigest() == MODULES[module]


def test_our_handler_has_the_interface_of_the_one_it_replaces() -> None:
    ours = inspect.signature(TaskHandler)
    for replaced in (subprocess_task_handler.SubprocessTaskHandler, docker_task_handler.DockerTaskHandler):
        assert list(inspect.signature(replaced).parameters) == [name for name in ours.parameters if name != "session"]
        assert hasattr(replaced, "run")


def test_replaced_parts_are_looked_up_when_they_are_used() -> None:
    # a "from ... import" in the dispatcher would make the replacement ineffective
    source = inspect.getsource(task_dispatcher.run_single_task_implementation)
    for use in (
        "subprocess_task_handler.SubprocessTaskHandler", "docker_task_handler.DockerTaskHandler",
        "logging_utils.local_logger_context()",
        "logging_utils.indented_print()", "logging_utils.print_horizontal_line()",
    ):
        assert use in source
    assert callable(logging_utils.local_logger_context)
    assert config.LocalExecutionConfig.instance is None


@pytest.mark.parametrize(("channel", "value"), [
    ("pipelinechannel--say-so-so_it_is", True), ("pipelinechannel--say-so-2-so_it_is", False),
])
def test_kfp_finds_no_output_of_a_task_in_a_condition_and_we_do(channel: str, value: bool) -> None:
    # once KFP finds it, our replacement (runner._channel) may go
    values = IOStore()
    for task, output in (("say-so", True), ("say-so-2", False)):
        values.put_task_output(task, "so_it_is", output)
    assert ConditionEvaluator._resolve_pipeline_channel(channel, values) is None
    assert _channel(channel, values) is value


def test_an_input_of_the_enclosing_group_is_found_by_kfp_and_by_us() -> None:
    values = IOStore()
    values.put_parent_input("pipelinechannel--say-so-so_it_is", True)
    values.put_parent_input("given", False)
    values.put_task_output("say-so", "so_it_is", False)  # of another task in the group
    for resolve in (ConditionEvaluator._resolve_pipeline_channel, _channel):
        assert resolve("pipelinechannel--say-so-so_it_is", values) is True
        assert resolve("pipelinechannel--given", values) is False


def test_what_neither_a_task_nor_the_group_has_is_a_silent_skip(caplog: pytest.LogCaptureFixture) -> None:
    assert _channel("pipelinechannel--say-so-so_it_is", IOStore()) is None
    assert caplog.messages[-1].startswith(SILENT_SKIPS)


@pytest.mark.parametrize("start", SILENT_SKIPS)
def test_warnings_of_silent_skips_are_still_worded_so(start: str) -> None:
    folder = Path(str(import_module("kfp.local.orchestrator").__file__)).parent
    assert any(f"'{start}" in path.read_text() for path in folder.glob("*.py"))
