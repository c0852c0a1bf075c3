"""The stage commands: what a container runs, with files of the same stage going into the next."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config import load_config, sections_of
from thinksafe.config.plan_document import plan_document, read_plan
from thinksafe.digests import digest_file
from thinksafe.jsonl import read_records
from thinksafe.records import Example, Prompt
from thinksafe.run.manifests import marker_key, read_manifest
from thinksafe.run.record import list_records
from thinksafe.store.local import LocalStore
from thinksafe.work.claims import claimed
from thinksafe.work.order import Order, announced, place

SECRET = "SECRET wording of a prompt"
SMALL = [
    "data.harmful.0.prompts.count=6", "data.benign.0.prompts.count=6", "diagnose.prompts=2", "sampling.chunk_size=4",
    "sampling.settings.max_tokens=40", "sampling.parallelism=2",
    *(f"evaluation.benchmarks.{place}.prompts.count=3" for place in range(3)),
]

PLANNED = ("plan", "base", "champion")
PREPARED = ("pilot", "training", "evaluation", "contamination")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    document = plan_document("run-1", sections_of(load_config("micro", SMALL)))
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    path.write_text(document.model_dump_json())
    return path


@pytest.fixture
def common(tmp_path: Path, plan: Path) -> list[object]:
    return ["--artifacts", tmp_path / "store", "--plan", plan]


def planned(folder: Path) -> list[object]:
    """Return the options that say where plan writes."""
    return [part for name in PLANNED for part in (f"--{name}-out", folder / name)]


def executor_input(tmp_path: Path, *outputs: str) -> str:
    artifacts = {
        name: {"artifacts": [{"name": name, "uri": str(tmp_path / name), "metadata": {}}]} for name in outputs
    }
    return json.dumps({"outputs": {"artifacts": artifacts, "outputFile": str(tmp_path / "executor_output.json")}})


def metadata(tmp_path: Path, name: str) -> dict[str, Any]:
    written = json.loads((tmp_path / "executor_output.json").read_text())
    (artifact,) = written["artifacts"][name]["artifacts"]
    assert artifact["uri"] == str(tmp_path / name)
    return artifact["metadata"]


def test_from_prompts_to_examples(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], base_file: Path
) -> None:
    def stage(command: str, section: str, *args: object) -> None:
        ended = cli(command, "--section", section, *common, *args)
        assert (ended.code, ended.out) == (0, ""), ended.err

    at = {
        name: tmp_path / name
        for name in (
            "pilot", "training", "evaluation", "contamination", "verdicts", "examples", "samples", "decision", "passed",
        )
    }
    stage(
        "prepare", "prepare", "--pilot-out", at["pilot"], "--training-out", at["training"],
        "--evaluation-out", at["evaluation"], "--contamination-out", at["contamination"],
    )
    assert len(list(read_records(at["training"], Prompt))) == 12
    stage(
        "sample", "sample_training", "--model", base_file, "--prompts", at["training"], "--samples-out", at["samples"],
        "--executor-input", executor_input(tmp_path, "samples"),
    )
    assert metadata(tmp_path, "samples")["rows"] == read_manifest(at["samples"]).rows >= 12
    assert list((tmp_path / "store" / "claims").iterdir()), "the plan's parallelism holds: two workers shared the work"
    stage("judge", "judge_filter", "--samples", at["samples"], "--verdicts-out", at["verdicts"])
    stage(
        "curate", "curate", "--samples", at["samples"], "--verdicts", at["verdicts"], "--examples-out", at["examples"],
        "--decision-out", at["decision"], "--passed-out", at["passed"],
        "--executor-input", executor_input(tmp_path, "examples"),
    )
    examples = list(read_records(at["examples"], Example))
    assert {example.label for example in examples} == {"harmful", "benign"}
    assert metadata(tmp_path, "examples")["accepted"] == len(examples)
    records = list_records(LocalStore(tmp_path / "store"), "run-1").found
    assert list(records) == ["prepare", "sample", "judge", "curate"]
    assert {record.status for record in records.values()} == {"succeeded"}
    shown = "".join(record.model_dump_json() for record in records.values())
    assert not any(example.prompt in shown or example.response in shown for example in examples)


def order_of(store: LocalStore, plan: Path, samples: Path, workers: int = 2) -> Order:
    return Order(
        stage="grade", run_id="run-1", task="grade-base", section=read_plan(plan).sections["grade"],
        inputs={"samples.json": digest_file(samples)}, maker="image", workers=workers,
    )


def test_workers_share_an_order(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], plan: Path, monkeypatch: pytest.MonkeyPatch,
    write_rows: Callable[..., Path], make_sample: Callable[..., Any],
) -> None:
    samples = write_rows("samples", *([make_sample(index=index)] for index in range(4)))
    store = LocalStore(tmp_path / "store")
    order = order_of(store, plan, samples)
    address = place(store, order, {"samples.json": samples})
    ended = cli("work", address)
    assert (ended.code, ended.out) == (0, ""), ended.err
    said = announced(store, order, 0)
    assert said is not None
    assert len(said.keys) == 4
    assert claimed(store, order.scope(0)) == {0, 1, 2, 3}, "a worker that is alone makes all chunks"
    store.delete(marker_key(said.keys[1]))
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    ended = cli("work", address)
    assert ended.code == 0, ended.err
    assert not store.exists(marker_key(said.keys[1])), "the claim of a worker that is alive is left alone"
    ended = cli("grade", *common, "--samples", samples, "--grades-out", tmp_path / "grades")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("address", ["", "x", "work/x", "{store}/work/x", "{store}/work/x/y/z", "ftp://host/work/x/y"])
def test_an_address_without_an_order(cli: Callable[..., Any], tmp_path: Path, address: str) -> None:
    ended = cli("work", address.format(store=tmp_path))
    assert ended.code == 2
    assert ended.err.startswith("error: ")


def test_a_worker_that_the_order_does_not_have(
    cli: Callable[..., Any], tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch,
    write_rows: Callable[..., Path], make_sample: Callable[..., Any],
) -> None:
    samples = write_rows("samples", [make_sample()])
    store = LocalStore(tmp_path / "store")
    address = place(store, order_of(store, plan, samples), {"samples.json": samples})
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    ended = cli("work", address)
    assert ended.code == 2
    assert "Workers count from 0" in ended.err


def test_a_worker_refuses_input_that_is_not_what_the_stage_wrote(
    cli: Callable[..., Any], tmp_path: Path, plan: Path, write_rows: Callable[..., Path],
    make_sample: Callable[..., Any],
) -> None:
    samples = write_rows("samples", [make_sample()])
    store = LocalStore(tmp_path / "store")
    address = place(store, order_of(store, plan, samples), {"samples.json": samples})
    (changed,) = (tmp_path / "store" / "work").rglob("samples.json.gz")
    changed.write_bytes(gzip.compress(gzip.decompress(changed.read_bytes()) + b" "))
    ended = cli("work", address)
    assert ended.code == 2
    assert "samples.json" in ended.err


def test_folders_are_made(cli: Callable[..., Any], tmp_path: Path, common: list[object]) -> None:
    outs = [part for use in PREPARED for part in (f"--{use}-out", tmp_path / "new" / use)]
    ended = cli("prepare", *common, *outs)
    assert ended.code == 0, ended.err
    assert (tmp_path / "new" / "pilot").is_file(), "folders are made, as kfp.local does not"


@pytest.mark.parametrize(
    ("text", "section", "problem"),
    [
        (None, "grade", "plan.json cannot be read"),
        ("{", "grade", "plan.json is not a plan (wrong: text)"),
        ('{"run_id": "r", "sections": {}, "SECRET": 1}', "grade", "plan.json is not a plan (wrong: "),
        ('{"run_id": "r", "sections": {}}', "grade", "plan.json has no section 'grade'"),
        ('{"run_id": "r", "sections": {"other": {}}}', "", "plan.json has no section 'grade'"),
        ('{"run_id": "r", "sections": {"grade": {}}}', "grade", "plan.json is not a GradeSection (wrong: reasoning)"),
        ('{"run_id": "r", "sections": {"grade": {"reasoning": "SECRET"}}}', "", "GradeSection (wrong: reasoning)"),
        ('{"run_id": "r", "sections": {"grade": {"reasoning": "think", "x": 1}}}', "", "GradeSection (wrong: x)"),
    ],
)
def test_wrong_plan_document(
    cli: Callable[..., Any], tmp_path: Path, text: str | None, section: str, problem: str
) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    ended = cli("grade", "--plan", path, "--section", section, "--samples", "x", "--grades-out", tmp_path / "g")
    assert ended.code == 2
    assert problem in ended.err
    assert '"SECRET"' not in ended.err
    assert str(path) in ended.err


@pytest.mark.parametrize(
    "option",
    [
        ["--run-id", "../x"], ["--run-id", "a/b"], ["--run-id", ".x"], ["--run-id", "a\nb"],
        ["--run-id", "x" * 201], ["--task", "../x"], ["--task", "a b"], ["--task", "ä"], ["--artifacts", ""],
        ["--artifacts", "ftp://host"],
    ],
)
def test_names_that_could_leave_their_place(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], option: list[str]
) -> None:
    ended = cli(
        "grade", *common, *option, "--samples", "x", "--grades-out", tmp_path / "g"
    )
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_wrong_role(cli: Callable[..., Any], tmp_path: Path, common: list[object]) -> None:
    files = [part for name in ("samples", "verdicts", "grades") for part in (f"--{name}", "x")]
    ended = cli(
        "metrics", *common, "--role", "king", *files, "--metrics-out",
        tmp_path / "m", "--outcomes-out", tmp_path / "o",
    )
    assert ended.code == 2
    assert "'king' is not a role" in ended.err


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (["--overrides", "seed=7"], "not a JSON list of strings"),
        (["--overrides", '{"seed": 7}'], "not a JSON list of strings"),
        (["--overrides", "[1]"], "not a JSON list of strings"),
        (["--overrides", '["sede=7"]'], "did you mean 'seed'?"),
        (["--overrides", '["student.model=./nowhere"]'], "does not exist"),
    ],
)
def test_wrong_options_of_plan(cli: Callable[..., Any], tmp_path: Path, option: list[str], problem: str) -> None:
    ended = cli("plan", "--config", "micro", *planned(tmp_path), "--artifacts", tmp_path / "store", *option)
    assert ended.code == 2
    assert problem in ended.err


@pytest.mark.parametrize(
    ("given", "expected"), [(["--run-id", "mine"], "mine"), ([], "job-1"), (["--run-id", ""], "job-1")]
)
def test_run_id_is_the_job_id_where_none_is_given(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], expected: str
) -> None:
    monkeypatch.setattr("thinksafe.registry.tracking.ensure_parent_run", lambda *args: "m")
    ended = cli(
        "plan", "--config", "micro", "--artifacts", tmp_path / "store", "--job-id", "job-1", *given,
        *planned(tmp_path), "--executor-input", executor_input(tmp_path, "base", "champion"),
    )
    assert ended.code == 0, ended.err
    document = read_plan(tmp_path / "plan")
    assert document.run_id == expected
    assert document.sections["gate"]["gate"]["alpha"] == 0.05
    assert metadata(tmp_path, "base") == {}


BAD_ROWS = {
    "torn": f'{{"id": "a", "prompt": "{SECRET}',
    "foreign": f'{{"{SECRET}": "{SECRET}"}}',
    "list": f'["{SECRET}"]',
    "wrong label": json.dumps({"id": "a", "prompt": SECRET, "label": SECRET, "source": "s"}),
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("bad", BAD_ROWS)
@pytest.mark.parametrize("command", ["sample", "prepare", "judge", "grade", "curate"])
def test_bad_input_files(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], plan: Path, base_file: Path,
    command: str, bad: str,
) -> None:
    """Exit code 2, one line with the place, no traceback, no text of a prompt."""
    path = tmp_path / "bad"
    path.write_text(BAD_ROWS[bad] + "\n")
    out = tmp_path / "out"
    prompts = [part for use in PREPARED for part in (f"--{use}-out", tmp_path / use)]
    section, args = {
        "sample": ("sample_training", ["--model", base_file, "--prompts", path, "--samples-out", out]),
        "prepare": ("prepare", prompts),
        "judge": ("judge_filter", ["--samples", path, "--verdicts-out", out]),
        "grade": ("grade", ["--samples", path, "--grades-out", out]),
        "curate": (
            "curate",
            ["--samples", path, "--verdicts", path, "--examples-out", out, "--decision-out", out, "--passed-out", out],
        ),
    }[command]
    if command == "prepare":
        given = json.loads(plan.read_text())
        given["sections"]["prepare"]["data"]["harmful"][0]["prompts"] = {"source": "jsonl", "path": str(path)}
        (tmp_path / "plan.json").write_text(json.dumps(given))
        args += ["--plan", tmp_path / "plan.json"]  # the last of two options holds
    ended = cli(command, "--section", section, *common, *args)
    assert ended.code == 2, ended.err
    assert ended.err.startswith("error: ")
    assert str(path) in ended.err
    assert "SECRET" not in ended.err
    assert "Traceback" not in ended.err
    assert not out.exists()
    record = list_records(LocalStore(tmp_path / "store"), "run-1").found[command]
    assert (record.status, record.error in ended.err) == ("failed", True)


@pytest.mark.parametrize("command", ["judge", "grade"])
def test_missing_chunk(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], command: str,
    write_rows: Callable[..., Path], make_sample: Callable[..., Any],
) -> None:
    samples = write_rows("samples", [make_sample()])
    for path in (tmp_path / "store" / "chunks").rglob("*.jsonl"):
        path.unlink()
    out = {"judge": "--verdicts-out", "grade": "--grades-out"}[command]
    section = {"judge": "judge_filter", "grade": "grade"}[command]
    ended = cli(command, "--section", section, *common, "--samples", samples, out, tmp_path / "out")
    assert ended.code == 1
    assert "It was deleted or never written; start the run again." in ended.err


def test_output_that_cannot_be_written(
    cli: Callable[..., Any], tmp_path: Path, common: list[object],
    write_rows: Callable[..., Path], make_sample: Callable[..., Any],
) -> None:
    samples = write_rows("samples", [make_sample()])
    for out in (tmp_path, samples / "below", "."):
        ended = cli("grade", *common, "--samples", samples, "--grades-out", out)
        assert ended.code == 1
        assert "Could not write" in ended.err
