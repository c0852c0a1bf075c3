"""Nodes of a training as processes on this machine: their own groups, TCP between them, nothing shared but a store."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from node_training import World, ended, section
from s3_servers import bucket, moto_s3

from thinksafe.errors import ConfigError, MissingError
from thinksafe.run.told import ToldError
from thinksafe.stages.train import trained_key
from thinksafe.training.launch import Node, Outcome
from thinksafe.training.node import node_of, open_folder

PET = {
    "PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_NPROC_PER_NODE": "4", "PET_MASTER_ADDR": "job-node-0-0.job",
    "PET_MASTER_PORT": "29500",
}


def test_the_environment_of_trainers_torch_policy_says_which_node_this_is() -> None:
    assert node_of(PET) == (Node(1, 2, "job-node-0-0.job", 29500), 4)
    for wrong in ({"PET_NODE_RANK": "2"}, {"PET_NPROC_PER_NODE": "auto"}, {"PET_MASTER_ADDR": ""}):
        with pytest.raises(ConfigError, match="PET_NNODES"):
            node_of(PET | wrong)
    with pytest.raises(ConfigError, match="torch policy"):
        node_of({name: value for name, value in PET.items() if name != "PET_MASTER_PORT"})


def test_the_address_of_a_job_names_store_and_folder(tmp_path: Path) -> None:
    store, folder = open_folder(f"{tmp_path}/store/train-jobs/abc/job.json")
    assert (store.root, folder) == (f"{tmp_path}/store", "train-jobs/abc")
    for wrong in ("s3://bucket/prefix", f"{tmp_path}/train-jobs/abc/other.json", "train-jobs/abc/job.json"):
        with pytest.raises(ConfigError, match="is not the address of a training"):
            open_folder(wrong)


@pytest.fixture
def world(tmp_path: Path, student_folder: Callable[[str], Path]) -> World:
    return World(tmp_path, student_folder("qwen"))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_nodes_make_the_adapter_that_one_node_with_as_many_processes_makes(
    strategy: str, tmp_path: Path, student_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with moto_s3() as server, bucket(server, monkeypatch) as root:
        _two_and_one(World(tmp_path, student_folder("qwen"), root), strategy)


def _two_and_one(world: World, strategy: str) -> None:
    given = section(nodes=2, strategy=strategy)
    said = ended(world.nodes(given, "two"))
    assert [code for code, _ in said] == [0, 0], said
    two = world.adapter("two")
    outcome = Outcome.model_validate_json(world.store.get("train-jobs/two/outcome.json"))
    assert (outcome.steps, outcome.rows, outcome.resumed) == (4, 5, 0)
    assert (outcome.share < 0.6) == (strategy == "fsdp")

    whole = section(processes=2, strategy=strategy)
    done = world.one_node(whole)
    assert done.returncode == 0, done.stderr
    key = world.job(whole).key
    assert world.adapter(key) == two
    assert trained_key(world.base, world.job(given).examples_digest, given, 2) == key  # it counts how many, not where


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_killed_nodes_go_on_from_the_store_with_the_random_numbers_of_every_process(
    world: World, strategy: str
) -> None:
    given = section(nodes=2, epochs=20, checkpoint_steps=3, strategy=strategy)
    whole = ended(world.nodes(given, "whole"))
    assert [code for code, _ in whole] == [0, 0], whole

    nodes = world.nodes(given, "killed")
    end = time.monotonic() + 200
    while not any("00000009/manifest.json" in key for key in world.store.keys("checkpoints/killed/")):
        assert time.monotonic() < end
        assert all(node.poll() is None for node in nodes), ended(nodes)
        time.sleep(0.002)
    for node in nodes:
        os.kill(node.pid, signal.SIGKILL)
    ended(nodes)
    newest = max(key for key in world.store.keys("checkpoints/killed/") if key.endswith("manifest.json"))
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= json.loads(world.store.get(newest))["files"].keys()
    with pytest.raises(MissingError):
        world.store.get("adapters/killed/manifest.json")

    again = ended(world.nodes(given, "killed"))
    assert [code for code, _ in again] == [0, 0], again
    outcome = Outcome.model_validate_json(world.store.get("train-jobs/killed/outcome.json"))
    assert 9 <= outcome.resumed < 40
    assert world.adapter("killed") == world.adapter("whole")
    assert world.store.keys("checkpoints/") == []


@pytest.mark.slow
def test_what_goes_wrong_in_a_node_is_left_in_the_store(world: World) -> None:
    nodes = world.nodes(section(nodes=2, target_modules=("q_proj", "query")), "bad")
    assert [code for code, _ in ended(nodes)] == [2, 2]
    for rank in (0, 1):
        told = ToldError.model_validate_json(world.store.get(f"train-jobs/bad/error-{rank}.json"))
        assert (told.type, told.final) == ("ConfigError", True)
        assert "no linear layer query" in told.problem
    assert not [key for key in world.store.keys("") if key.startswith("adapters/")]


@pytest.mark.slow
def test_a_node_that_dies_ends_the_others_which_do_not_take_the_blame(world: World) -> None:
    nodes = world.nodes(section(nodes=2, epochs=4000, checkpoint_steps=1), "dies")
    end = time.monotonic() + 200
    while not world.store.keys("checkpoints/"):
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(nodes[1].pid, signal.SIGKILL)
    codes = [code for code, _ in ended(nodes, 120)]
    assert codes == [1, -signal.SIGKILL]
    told = ToldError.model_validate_json(world.store.get("train-jobs/dies/error-0.json"))
    assert (told.type, told.final) == ("StageError", False)
