"""The stage commands: what a container runs, with the files of one stage going into the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config import load_config, sections_of
from thinksafe.digests import canonical_json
from thinksafe.jsonl import read_records
from thinksafe.records import Example, Prompt
from thinksafe.run.manifests import read_manifest
from thinksafe.run.record import list_records
from thinksafe.store.local import LocalStore

SECRET = "SECRET wording of a prompt"
SMALL = [
    "data.harmful.0.prompts.count=6", "data.benign.0.prompts.count=6", "diagnose.prompts=2", "sampling.chunk_size=4",
    "sampling.settings.max_tokens=40",
    *(f"evaluation.benchmarks.{place}.prompts.count=3" for place in range(3)),
]

PREPARED = ("pilot", "training", "evaluation", "contamination")


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    found = sections_of(load_config("micro", SMALL))
    return {name: canonical_json(section) for name, section in found if not name.startswith("shards_")}


@pytest.fixture
def common(tmp_path: Path) -> list[object]:
    return ["--artifacts", tmp_path / "store", "--run-id", "run-1"]


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
    cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str], base_file: Path
) -> None:
    def stage(command: str, section: str, *args: object) -> None:
        ended = cli(command, "--section", sections[section], *common, *args)
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
    shards = json.dumps(["0", "1"])
    for shard in (0, 1):
        stage(
            "sample", "sample_training", "--model", base_file, "--prompts", at["training"], "--shard", shard,
            "--shards", shards, "--samples-out", tmp_path / f"samples-{shard}", "--task", f"sample-training-{shard}",
            "--executor-input", executor_input(tmp_path, "samples"),
        )
        assert metadata(tmp_path, "samples")["rows"] == read_manifest(tmp_path / f"samples-{shard}").rows
    ended = cli(
        "merge", "--manifest", tmp_path / "samples-1", "--manifest", tmp_path / "samples-0",
        "--manifest-out", at["samples"],
    )
    assert ended.code == 0
    assert read_manifest(at["samples"]).rows >= 12
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
    assert list(records) == ["prepare", "sample-training-0", "sample-training-1", "judge", "curate"]
    assert {record.status for record in records.values()} == {"succeeded"}
    shown = "".join(record.model_dump_json() for record in records.values())
    assert not any(example.prompt in shown or example.response in shown for example in examples)


def test_merge_takes_the_list_from_the_executor_input(
    cli: Callable[..., Any], tmp_path: Path, write_rows: Callable[..., Path], make_sample: Callable[..., Any]
) -> None:
    whole = write_rows("samples", [make_sample(index=0)], [make_sample(index=1)])
    manifest = read_manifest(whole)
    parts = []
    for place in (0, 1):
        parts.append(tmp_path / f"part-{place}")
        parts[-1].write_text(manifest.model_copy(update={"chunks": (manifest.chunks[place],)}).model_dump_json())
    given = json.loads(executor_input(tmp_path, "merged"))
    given["inputs"] = {"artifacts": {"manifests": {"artifacts": [{"name": p.name, "uri": str(p)} for p in parts]}}}
    ended = cli(
        "merge", "--manifests", "manifests", "--manifest-out", tmp_path / "merged", "--task", "merge-samples-pilot",
        "--executor-input", json.dumps(given),
    )
    assert ended.code == 0, ended.err
    assert read_manifest(tmp_path / "merged") == manifest
    assert cli("merge", "--manifests", "manifests", "--manifest-out", tmp_path / "x").code == 2
    assert cli("merge", "--manifest-out", tmp_path / "x").code == 1


def test_section_may_be_a_file(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str]
) -> None:
    (tmp_path / "section.json").write_text(sections["prepare"])
    outs = [part for use in PREPARED for part in (f"--{use}-out", tmp_path / "new" / use)]
    ended = cli("prepare", "--section", tmp_path / "section.json", *common, *outs)
    assert ended.code == 0, ended.err
    assert (tmp_path / "new" / "pilot").is_file(), "folders are made, as kfp.local does not"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("", "--section is neither JSON nor a readable file"),
        ("nowhere.json", "--section is neither JSON nor a readable file"),
        ("x" * 5000, "--section is neither JSON nor a readable file"),
        ("{", "--section is not a GradeSection (wrong: text)"),
        ("{}", "--section is not a GradeSection (wrong: reasoning)"),
        ('{"reasoning": "SECRET"}', "--section is not a GradeSection (wrong: reasoning)"),
        ('{"reasoning": "think", "other": 1}', "--section is not a GradeSection (wrong: other)"),
    ],
)
def test_wrong_section(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], section: str, problem: str
) -> None:
    ended = cli("grade", "--section", section, *common, "--samples", "x", "--grades-out", tmp_path / "g")
    assert ended.code == 2
    assert problem in ended.err
    assert "SECRET" not in ended.err
    assert "thinksafe plan" in ended.err


@pytest.mark.parametrize(
    "option",
    [
        ["--run-id", "../x"], ["--run-id", ""], ["--run-id", "a/b"], ["--run-id", ".x"], ["--run-id", "a\nb"],
        ["--run-id", "x" * 201], ["--task", "../x"], ["--task", "a b"], ["--task", "ä"], ["--artifacts", ""],
        ["--artifacts", "ftp://host"],
    ],
)
def test_names_that_could_leave_their_place(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str], option: list[str]
) -> None:
    ended = cli(
        "grade", "--section", sections["grade"], *common, *option, "--samples", "x", "--grades-out", tmp_path / "g"
    )
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shards", ["0", "-1", "x", "1.5", "true", "[]", "{}", "null", ""])
def test_shards_that_are_no_number(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str], shards: str
) -> None:
    ended = cli(
        "sample", "--section", sections["sample_pilot"], *common, "--model", "x", "--prompts", "x", "--samples-out",
        tmp_path / "s", f"--shards={shards}",
    )
    assert ended.code == 2
    assert "is no number of shards" in ended.err


@pytest.mark.parametrize(("shard", "shards"), [("2", "2"), ("1", '["0"]'), ("5", "3")])
def test_shard_that_does_not_exist(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str], shard: str, shards: str
) -> None:
    ended = cli(
        "sample", "--section", sections["sample_pilot"], *common, "--model", "x", "--prompts", "x", "--samples-out",
        tmp_path / "s", "--shard", shard, "--shards", shards,
    )
    assert ended.code == 2
    assert "Shards count from 0" in ended.err


def test_wrong_role(cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str]) -> None:
    files = [part for name in ("samples", "verdicts", "grades") for part in (f"--{name}", "x")]
    ended = cli(
        "metrics", "--section", sections["metrics"], *common, "--role", "king", *files, "--metrics-out",
        tmp_path / "m", "--outcomes-out", tmp_path / "o",
    )
    assert ended.code == 2
    assert "'king' is not a role" in ended.err


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (["--overrides", "seed=7"], "--overrides or --output is malformed"),
        (["--overrides", '{"seed": 7}'], "not a JSON list of strings"),
        (["--overrides", "[1]"], "not a JSON list of strings"),
        (["--output", "gate"], "--overrides or --output is malformed"),
        (["--overrides", '["sede=7"]'], "did you mean 'seed'?"),
        (["--overrides", '["student.model=./nowhere"]'], "does not exist"),
    ],
)
def test_wrong_plan(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], option: list[str], problem: str
) -> None:
    ended = cli(
        "plan", "--config", "micro", "--base-out", tmp_path / "b", "--champion-out", tmp_path / "c", *common, *option
    )
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
        "--base-out", tmp_path / "b", "--champion-out", tmp_path / "c", "--output", f"run_id={tmp_path / 'run'}",
        "--output", f"gate={tmp_path / 'gate'}", "--executor-input", executor_input(tmp_path, "base", "champion"),
    )
    assert ended.code == 0, ended.err
    assert (tmp_path / "run").read_text() == expected
    assert json.loads((tmp_path / "gate").read_text())["gate"]["alpha"] == 0.05
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
    cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str], base_file: Path,
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
    text = sections[section]
    if command == "prepare":
        given = json.loads(text)
        given["data"]["harmful"][0]["prompts"] = {"source": "jsonl", "path": str(path)}
        text = json.dumps(given)
    ended = cli(command, "--section", text, *common, *args)
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
    cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str], command: str,
    write_rows: Callable[..., Path], make_sample: Callable[..., Any],
) -> None:
    samples = write_rows("samples", [make_sample()])
    for path in (tmp_path / "store" / "chunks").rglob("*.jsonl"):
        path.unlink()
    out = {"judge": "--verdicts-out", "grade": "--grades-out"}[command]
    section = {"judge": "judge_filter", "grade": "grade"}[command]
    ended = cli(command, "--section", sections[section], *common, "--samples", samples, out, tmp_path / "out")
    assert ended.code == 1
    assert "It was deleted or never written; start the run again." in ended.err


def test_output_that_cannot_be_written(
    cli: Callable[..., Any], tmp_path: Path, common: list[object], sections: dict[str, str],
    write_rows: Callable[..., Path], make_sample: Callable[..., Any],
) -> None:
    samples = write_rows("samples", [make_sample()])
    for out in (tmp_path, samples / "below", "."):
        ended = cli("grade", "--section", sections["grade"], *common, "--samples", samples, "--grades-out", out)
        assert ended.code == 1
        assert "Could not write" in ended.err
