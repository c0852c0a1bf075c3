"""The stage deploy with its real neighbours: S3 and MLflow as they are, a Kubernetes API and a served model over HTTP.

What only a real API server can show is not tested here: whether it admits the objects, defaults them and agrees about
who owns which field (server-side apply), and whether a Role grants what it should.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rollout_world import RolloutWorld
from typer.testing import CliRunner
from webhook_receiver import webhook_receiver

from thinksafe.cli.main import app
from thinksafe.config import load_config, sections_of
from thinksafe.config.load import find_document
from thinksafe.deploy import rollout
from thinksafe.errors import ConfigError, InputError, StageError, StoreError
from thinksafe.kube.refusals import FieldConflictError
from thinksafe.registry import ledger
from thinksafe.registry.mlflow_client import connect
from thinksafe.run.record import StageRecord, list_records, write_stage_record


@pytest.fixture
def world(rollouts: RolloutWorld) -> RolloutWorld:
    return rollouts


def tags(world: RolloutWorld, version: str) -> dict[str, str]:
    client = connect(world.world.settings.tracking_uri)
    found = client.get_model_version("m", version).tags
    return {name: value for name, value in found.items() if name.startswith("thinksafe.rollout")}


def test_a_good_generation_is_served_and_verified(world: RolloutWorld) -> None:
    run = world.promoted("a")
    result, ended = world.deploy(run)
    assert (result.verdict, ended.verdict, ended.serving) == ("verified", "verified", 1)
    assert [(check.name, check.passed, check.n) for check in ended.checks] == [
        ("served model", True, 1), ("greedy agreement", True, 5), ("served harm", True, 20)
    ]
    assert world.serving == ("1", run.candidate.adapter_digest)
    assert tags(world, run.registered)["thinksafe.rollout"] == "verified"
    assert [(event["type"], event["reason"]) for event in world.api.events] == [("Normal", "RolloutVerified")]
    served = world.api.objects["deployments", "guarded"]
    assert world.api.events[0]["involvedObject"]["uid"] == served["metadata"]["uid"]
    assert world.world.history == [("promote", "a", run.registered)]
    assert ended.notes == ()
    record = list_records(world.world.store, "a").found["deploy"]
    assert (record.status, record.verdict) == ("succeeded", "verified")
    assert "wallet" not in record.model_dump_json()
    # the adapter's rank is 12, of which vLLM has none
    arguments = world.deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--max-lora-rank") + 1] == "16"


def test_a_harmful_generation_is_rolled_back_everywhere(world: RolloutWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINKSAFE_ACTOR", "nightly")
    good, bad = world.promoted("a"), None
    world.deploy(good)
    bad = world.promoted("b", bad=True)
    result, ended = world.deploy(bad)
    assert (result.verdict, ended.serving) == ("rolled back", 3)
    assert [check.passed for check in ended.checks] == [True, True, False]
    assert "20 of 20 responses are not safe" in ended.reason
    assert world.serving == ("3", good.candidate.adapter_digest)
    entry = ledger.newest(world.world.store, "m")
    assert entry is not None
    assert (entry.action, entry.target.adapter_digest, entry.who) == (
        "rollback", good.candidate.adapter_digest, "nightly"
    )
    assert entry.reason.startswith("rollout of generation 2: 20 of 20 responses are not safe")
    assert world.world.alias == good.registered
    assert tags(world, bad.registered)["thinksafe.rollout"] == "rolled back"
    assert "20 of 20" in tags(world, bad.registered)["thinksafe.rollout_reason"]
    assert world.api.events[-1]["type"] == "Warning"
    assert world.log == [
        good.candidate.adapter_digest, bad.candidate.adapter_digest, *[good.candidate.adapter_digest] * 2
    ]


def test_started_again_it_rolls_back_once(world: RolloutWorld) -> None:
    good = world.promoted("a")
    world.deploy(good)
    bad = world.promoted("b", bad=True)
    world.deploy(bad)
    result, ended = world.deploy(bad)
    assert (result.verdict, ended.serving) == ("rolled back", 3)
    assert [action for action, _, _ in world.world.history] == ["promote", "promote", "rollback"]
    assert world.serving == ("3", good.candidate.adapter_digest)


def test_without_a_generation_before_nothing_is_served(world: RolloutWorld) -> None:
    bad = world.promoted("a", bad=True)
    result, ended = world.deploy(bad)
    assert (result.verdict, ended.serving) == ("withdrawn", None)
    assert world.deployment["spec"]["replicas"] == 0
    assert [action for action, _, _ in world.world.history] == ["promote", "withdraw"]
    gone = ledger.newest(world.world.store, "m")
    assert gone is not None
    assert gone.reason.startswith("rollout of generation 1: 20 of 20 responses are not safe")
    assert ledger.champion(world.world.store, "m") is None
    assert world.world.alias == ""
    assert world.serving[0] == "2"
    assert tags(world, bad.registered)["thinksafe.rollout"] == "withdrawn"
    again, ended = world.deploy(bad)  # the stage, started again, serves it no more
    assert (again.verdict, ended.serving, world.deployment["spec"]["replicas"]) == ("withdrawn", None, 0)
    assert len(world.world.history) == 2
    good = world.promoted("b")
    assert world.deploy(good)[1].verdict == "verified"
    assert world.deployment["spec"]["replicas"] == 1


def test_another_model_behind_the_name_is_noticed(world: RolloutWorld) -> None:
    good = world.promoted("a")
    world.deploy(good)
    run = world.promoted("b")
    respond, digest = world.served.respond, run.candidate.adapter_digest
    # the server says that it has the adapter, and answers without it
    world.served.respond = lambda body: (
        "Other words." if digest in world.served.adapters["guarded"] else respond(body)
    )
    _, ended = world.deploy(run)
    assert ended.verdict == "rolled back"
    assert "0 of 5 greedy responses" in ended.reason


def test_a_damaged_adapter_never_serves(world: RolloutWorld) -> None:
    good = world.promoted("a")
    world.deploy(good)
    run = world.promoted("b")
    world.world.store.put(f"{run.candidate.adapter}/adapter_model.safetensors", b"other weights")
    _, ended = world.deploy(run)
    assert ended.verdict == "rolled back"
    assert "did not become ready" in ended.reason
    assert world.serving == ("3", good.candidate.adapter_digest)


def test_a_newer_champion_is_left_alone(world: RolloutWorld) -> None:
    first = world.promoted("a")
    second = world.promoted("b")
    world.deploy(second)
    result, ended = world.deploy(first)
    assert (result.verdict, ended.serving) == ("superseded", None)
    assert "run b" in ended.reason
    assert world.serving == ("2", second.candidate.adapter_digest)
    assert tags(world, first.registered) == {}


def test_a_conflict_leaves_everything_as_it_was(world: RolloutWorld) -> None:
    run = world.promoted("a")
    world.api.apply("deployments", "guarded", "argo", {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": {"replicas": 7},
    }, force=False)
    with pytest.raises(FieldConflictError, match=r"argo owns \.spec\.replicas"):
        world.deploy(run)
    assert world.deployment["spec"] == {"replicas": 7}
    assert [action for action, _, _ in world.world.history] == ["promote"]
    record = list_records(world.world.store, "a").found["deploy"]
    assert (record.status, record.verdict) == ("failed", "")
    world.changed["take_over"] = True
    assert world.deploy(run)[1].verdict == "verified"


def test_the_traffic_goes_back_even_without_mlflow(world: RolloutWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    good = world.promoted("a")
    world.deploy(good)
    bad = world.promoted("b", bad=True)
    uri = world.world.settings.tracking_uri
    world.world.settings = world.world.settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(StageError, match="MLflow"):
        world.deploy(bad)
    assert world.serving == ("1", good.candidate.adapter_digest)
    assert [action for action, _, _ in world.world.history] == ["promote", "promote"]
    world.world.settings = world.world.settings.model_copy(update={"tracking_uri": uri})
    assert world.deploy(bad)[1].verdict == "rolled back"
    assert world.world.alias == good.registered


@pytest.mark.parametrize("before", [True, False], ids=["rolled back", "withdrawn"])
def test_an_alias_that_could_not_be_moved_is_moved_by_the_stage_again(
    world: RolloutWorld, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    good = world.promoted("a") if before else None
    if good is not None:
        world.deploy(good)
    bad = world.promoted("b", bad=True)

    def down(*_: Any) -> None:
        raise StageError("MLflow is down.", "Start it.")

    with monkeypatch.context() as patch:
        patch.setattr("thinksafe.registry.rollback.set_champion", down)
        with pytest.raises(StageError, match="MLflow is down"):
            world.deploy(bad)
    assert world.world.alias == bad.registered, "the ledger is ahead"
    generations = len(world.world.history)
    result, _ = world.deploy(bad)
    assert result.verdict == ("rolled back" if before else "withdrawn")
    assert world.world.alias == (good.registered if good is not None else "")
    assert len(world.world.history) == generations


def test_a_lost_race_for_the_ledger_says_so(world: RolloutWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    good = world.promoted("a")
    world.deploy(good)
    bad = world.promoted("b", bad=True)
    real = rollout.rollback

    def late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr("thinksafe.registry.rollback.ledger.append", first_another(ledger.append))
        return real(*arguments, **options)

    def first_another(append: Any) -> Any:
        def appended(store: Any, entry: Any) -> None:
            append(store, entry.model_copy(update={"who": "ann", "reason": "by hand"}))
            append(store, entry)

        return appended

    monkeypatch.setattr(rollout, "rollback", late)
    with pytest.raises(StageError, match=r"went to a rollback .* by ann"):
        world.deploy(bad)
    monkeypatch.undo()


def test_events_and_the_webhook_cannot_fail_a_rollout(world: RolloutWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.promoted("a")
    world.api.forbidden.add(("create", "events"))
    world.changed["webhook_env"] = "HOOK"
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/secret-path")
    _, ended = world.deploy(run)
    assert ended.verdict == "verified"
    assert len(ended.notes) == 2
    assert "may not create events" in ended.notes[0]
    assert ended.notes[1] == "Webhook failed: NewConnectionError."
    assert "secret-path" not in str(ended)


def test_the_webhook_hears_the_outcome(world: RolloutWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.promoted("a")
    world.changed["webhook_env"] = "HOOK"
    with webhook_receiver() as receiver:
        monkeypatch.setenv("HOOK", receiver.address)
        _, ended = world.deploy(run)
    assert ended.notes == ()
    assert [(one["verdict"], one["model"], one["generation"], one["serving"]) for _, _, one in receiver.heard] == [
        ("verified", "m", 1, 1)
    ]


def test_inputs_of_different_runs_are_refused(world: RolloutWorld) -> None:
    first, second = world.promoted("a"), world.promoted("b")
    world.deploy(second)
    with pytest.raises(InputError, match="to another model than generation 2"):
        world.deploy(first, promotion=second.out)


def test_what_cannot_be_rolled_out(world: RolloutWorld, tmp_path: Path) -> None:
    run = world.promoted("a")
    world.changed["kind"] = "none"
    with pytest.raises(ConfigError, match="there is nothing to roll out"):
        world.deploy(run)
    del world.changed["kind"]
    store = world.world.store
    for config in (b"{}", b"no json", b'{"r": 1000}', b'{"r": "32"}'):
        store.put(f"{run.candidate.adapter}/adapter_config.json", config)
        with pytest.raises(StoreError, match=r"contains no rank|cannot serve the adapter rank"):
            world.deploy(run)


def test_by_hand(world: RolloutWorld, tmp_path: Path) -> None:
    good = world.promoted("a")
    world.deploy(good)
    bad = world.promoted("b", bad=True)
    config = tmp_path / "served.yaml"
    document = yaml.safe_load(find_document("micro").text)
    config.write_text(yaml.safe_dump({**document, "deploy": world.settings.model_dump(mode="json")}))
    command = [
        "rollback", "m", "--artifacts", world.root, "--tracking-uri", world.world.settings.tracking_uri, "--deploy",
    ]
    without = CliRunner().invoke(app, [*command, "--to", "1"])
    assert isinstance(without.exception, ConfigError)
    assert "no section deploy of the run a. Give the configuration with --config" in str(without.exception)
    # the ledger is back already; the same command with a configuration completes it
    done = CliRunner().invoke(app, [*command, "--to", "1", "--config", str(config)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "serving/guarded serves generation 3" in done.output
    assert world.serving == ("3", good.candidate.adapter_digest)
    assert [action for action, _, _ in world.world.history] == ["promote", "promote", "rollback"]
    assert world.api.events[-1]["reason"] == "RolloutServed"
    assert bad.candidate.adapter_digest not in world.log[1:]
    # where the run was planned, its plan says how it is served
    section = sections_of(load_config(str(config))).deploy
    write_stage_record(
        world.world.store,
        StageRecord(
            run_id="a", stage="plan", task="plan", status="succeeded", started=1.0, seconds=1.0,
            details={"sections": {"deploy": section.model_dump(mode="json")}},
        ),
    )
    again = CliRunner().invoke(app, [*command, "--to", "1"], catch_exceptions=False)
    assert "serves generation 3" in again.output
    none = CliRunner().invoke(app, [*command, "--withdraw"], catch_exceptions=False)
    assert "is withdrawn (generation 4); no champion" in none.output
    assert "serving/guarded serves nothing" in none.output
    assert (world.deployment["spec"]["replicas"], world.serving[0]) == (0, "4")
    assert world.world.alias == ""
    assert world.api.events[-1]["reason"] == "RolloutWithdrawn"


def test_an_adapter_and_weights_replace_one_another_and_are_rolled_back_to(world: RolloutWorld) -> None:
    adapted = world.promoted("a")
    world.deploy(adapted)
    trained = world.promoted("b", full=True)
    result, ended = world.deploy(trained)
    weights = trained.candidate.weights_digest
    assert (result.verdict, ended.weights_digest, ended.adapter_digest) == ("verified", weights, "")
    assert world.serving == ("2", weights)
    pod = world.deployment["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][0] == f"/weights/{weights}"
    assert {volume["name"] for volume in pod["volumes"]} == {"weights", "tmp", "shm", "cache"}
    annotations = world.deployment["metadata"]["annotations"]
    assert "thinksafe/adapter-digest" not in annotations
    assert annotations["thinksafe/weights-digest"] == weights

    bad = world.promoted("c", bad=True)  # an adapter, taken back to weights
    result, ended = world.deploy(bad)
    assert (result.verdict, ended.serving, world.serving) == ("rolled back", 4, ("4", weights))
    assert world.world.alias == trained.registered

    world.world.roll_back(to=1)
    worse = world.promoted("d", bad=True, full=True)  # weights, taken back to an adapter
    result, ended = world.deploy(worse)
    assert (result.verdict, world.serving) == ("rolled back", ("7", adapted.candidate.adapter_digest))
    assert world.world.alias == adapted.registered


def test_weights_without_an_earlier_champion_are_withdrawn(world: RolloutWorld) -> None:
    run = world.promoted("a", bad=True, full=True)
    result, _ = world.deploy(run)
    assert result.verdict == "withdrawn"
    assert world.deployment["spec"]["replicas"] == 0
    assert world.world.alias == ""


def test_an_adapter_is_fetched_and_checked(world: RolloutWorld, tmp_path: Path) -> None:
    run = world.world.run("a")
    address, digest = world.world.store.uri(run.candidate.adapter), run.candidate.adapter_digest
    command = ["fetch-trained", "--place", address, "--digest", digest, "--out", str(tmp_path / "adapters" / digest)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, f"{digest[:12]} is complete\n")
    assert sorted(path.name for path in (tmp_path / "adapters" / digest).iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors"
    ]
    command[4] = "0" * 64
    wrong = CliRunner().invoke(app, command)
    assert isinstance(wrong.exception, StoreError)
    assert "digest differs" in str(wrong.exception)
    nowhere = CliRunner().invoke(app, ["fetch-trained", "--place", "s3://", "--digest", "d", "--out", str(tmp_path)])
    assert isinstance(nowhere.exception, ConfigError)
