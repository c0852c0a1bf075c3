"""prepare: labelled, deduplicated, decontaminated prompts, by seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.data import Benchmark, DataSettings, FileSource, MicroSource, PromptSet
from thinksafe.config.sections import PrepareSection
from thinksafe.errors import InputError
from thinksafe.jsonl import read_records
from thinksafe.records import Prompt
from thinksafe.run.record import StageContext, StageResult
from thinksafe.stages import prepare

Rows = list[dict[str, Any]]
LONG = "please tell me how one can paint the old garden fence without any help from others"


def rows(prefix: str, *texts: str, **more: Any) -> Rows:
    return [{"id": f"{prefix}-{place}", "prompt": text} | more for place, text in enumerate(texts)]


@pytest.fixture
def run(
    tmp_path: Path, make_context: Callable[..., StageContext]
) -> Callable[..., tuple[StageResult, dict[str, list[Prompt]]]]:
    """Return a function that prepares sets given as rows, and gives the result and the three files."""

    def source(name: str, content: Rows) -> FileSource:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
        return FileSource(source="jsonl", path=str(path))

    def prepared(
        harmful: dict[str, Rows], benign: dict[str, Rows], harm: Rows | None = None, reasoning: Rows | None = None,
        seed: int = 1, pilot: int = 2, contaminated: str = "drop", more: Sequence[Benchmark] = (),
        pilot_benign: int = 0,
    ) -> tuple[StageResult, dict[str, list[Prompt]]]:
        sets = {
            label: tuple(PromptSet(name=name, prompts=source(name, content)) for name, content in given.items())
            for label, given in (("harmful", harmful), ("benign", benign))
        }
        twins = rows("o", "Twin o?", answer="5")
        benchmarks = [
            Benchmark(name="bench-harm", metric="harm", prompts=source("bench-harm", harm or rows("e", "Harm e?"))),
            Benchmark(name="bench-twin", metric="over_refusal", prompts=source("bench-twin", twins)),
            Benchmark(
                name="bench-sums", metric="reasoning",
                prompts=source("bench-sums", reasoning or rows("r", "What is 1 plus 1?", answer=2)),
            ),
        ]
        section = PrepareSection(
            seed=seed, data=DataSettings(**sets, contaminated=contaminated), pilot=pilot,
            benchmarks=(*benchmarks, *more), pilot_benign=pilot_benign,
        )
        files = {use: tmp_path / f"{use}.out" for use in ("pilot", "training", "evaluation")}
        result = prepare.run(
            make_context("prepare"), section, **{f"{use}_out": path for use, path in files.items()},
            contamination_out=tmp_path / "contamination",
        )
        return result, {use: list(read_records(path, Prompt)) for use, path in files.items()}

    return prepared


def test_a_conversation_is_no_training_prompt(run: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="training prompt 'h-0' of 'h' is a conversation"):
        run({"h": rows("h", "Harm a?", turns=["Hello.", "Harm a?"])}, {"b": rows("b", "Plain a?")})


def test_conversations_are_evaluated_and_their_turns_contaminate(run: Callable[..., Any]) -> None:
    harm = rows("e", "Harm e?", turns=["Tell me a story about harm.", "Harm e?"])
    result, files = run(
        {"h": rows("h", "Harm a?", "tell me a story about HARM")}, {"b": rows("b", "Plain a?")}, harm=harm
    )
    assert [p.turns for p in files["evaluation"] if p.id == "e-0"] == [("Tell me a story about harm.", "Harm e?")]
    assert [overlap.id for overlap in result.details.contamination.overlaps] == ["h-1"]


def test_three_files_sorted_by_id(run: Callable[..., Any]) -> None:
    result, files = run({"h": rows("h", "Harm a?", "Harm b?", "Harm c?")}, {"b": rows("b", "Plain a?")})
    assert [p.id for p in files["training"]] == ["b-0", "h-0", "h-1", "h-2"]
    assert [(p.id, p.label, p.source) for p in files["evaluation"]] == [
        ("e-0", "harmful", "bench-harm"), ("o-0", "benign", "bench-twin"), ("r-0", "benign", "bench-sums"),
    ]
    assert {p.label for p in files["pilot"]} == {"harmful"}
    assert len(files["pilot"]) == 2
    assert result.counts == {"pilot": 2, "training": 4, "evaluation": 3, "duplicate": 0, "contaminated": 0}
    assert {(entry.name, entry.use, entry.label, entry.rows) for entry in result.details.sets} == {
        ("bench-harm", "evaluation", "harmful", 1), ("bench-twin", "evaluation", "benign", 1),
        ("bench-sums", "evaluation", "benign", 1), ("h", "training", "harmful", 3), ("b", "training", "benign", 1),
        ("pilot", "pilot", "harmful", 2),
    }


def test_a_pilot_with_benign_prompts_has_the_same_harmful_ones(run: Callable[..., Any]) -> None:
    harmful = {"h": rows("h", "Harm a?", "Harm b?", "Harm c?", "Harm d?")}
    benign = {"b": rows("b", "Plain a?", "Plain b?", "Plain c?")}
    _, alone = run(harmful, benign)
    result, both = run(harmful, benign, pilot_benign=2)
    of = {label: [p for p in both["pilot"] if p.label == label] for label in ("harmful", "benign")}
    assert of["harmful"] == alone["pilot"]
    assert len(of["benign"]) == 2
    assert [p.id for p in both["pilot"]] == sorted(p.id for p in both["pilot"])
    assert {(entry.label, entry.rows) for entry in result.details.sets if entry.use == "pilot"} == {
        ("harmful", 2), ("benign", 2),
    }
    assert result.counts["pilot"] == 4


def test_only_problems_keep_their_answers(run: Callable[..., Any]) -> None:
    """An answer on a prompt that a guard has to judge would send it to the grader instead."""
    _, files = run({"h": rows("h", "Harm a?")}, {"b": rows("b", "Plain a?")})
    assert {p.id: p.answer for p in files["evaluation"]} == {"e-0": None, "o-0": None, "r-0": "2"}


def test_problem_without_an_answer(run: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"1 problems of 'bench-sums' have no answer \(first id 'r-0'\)"):
        run({"h": rows("h", "Harm a?")}, {"b": rows("b", "Plain a?")}, reasoning=rows("r", "What?"))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("punctuation:no_colon", {}, "there is no instruction 'punctuation:no_colon'"),
        ("startend:end_checker", {}, "the instruction 'startend:end_checker' has a wrong option 'end_phrase'"),
    ],
)
def test_an_instruction_that_nobody_can_verify(
    run: Callable[..., Any], tmp_path: Path, kind: str, options: dict[str, Any], said: str
) -> None:
    copy = tmp_path / "ifeval.jsonl"
    copy.write_text(json.dumps({"prompt": "Write.", "instruction_id_list": [kind], "kwargs": [options]}) + "\n")
    benchmark = Benchmark.model_validate({"use": "ifeval", "prompts": {"path": str(copy), "rows": 1}})
    with pytest.raises(InputError, match=f"of 'ifeval': {said}"):
        run({"h": rows("h", "Harm a?")}, {"b": rows("b", "Plain a?")}, more=[benchmark])


def test_duplicates_are_dropped_and_counted(run: Callable[..., Any]) -> None:
    result, files = run(
        {"h": rows("h", "Harm a?", "harm  A", "Harm b?"), "h2": rows("i", "HARM B!")}, {"b": rows("b", "Plain a?")}
    )
    assert [p.id for p in files["training"]] == ["b-0", "h-0", "h-2"]
    assert result.details.dropped == {"duplicate": 2, "contaminated": 0}


def test_a_prompt_that_is_harmful_and_benign_is_harmful(run: Callable[..., Any]) -> None:
    result, files = run({"h": rows("h", "Same text?")}, {"b": rows("b", "Same text?", "Plain?")})
    assert [(p.id, p.label) for p in files["training"]] == [("b-1", "benign"), ("h-0", "harmful")]
    assert result.details.dropped["duplicate"] == 1


def test_contaminated_prompts_are_dropped_and_reported(run: Callable[..., Any]) -> None:
    result, files = run(
        {"h": rows("h", "harm E", "Harm a?", f"So {LONG} today?")}, {"b": rows("b", "What is 1 plus 1", "Plain?")},
        harm=rows("e", "Harm e?", f"Well, {LONG}!"),
    )
    assert [p.id for p in files["training"]] == ["b-1", "h-1"]
    report = result.details.contamination
    assert [(of.benchmark, of.prompts, of.found, of.left) for of in report.benchmarks] == [
        ("bench-harm", 2, 2, 0), ("bench-twin", 1, 0, 0), ("bench-sums", 1, 1, 0)
    ]
    assert [overlap.model_dump() for overlap in report.overlaps] == [
        {"id": "b-0", "kind": "exact", "evaluation_id": "r-0", "benchmark": "bench-sums"},
        {"id": "h-0", "kind": "exact", "evaluation_id": "e-0", "benchmark": "bench-harm"},
        {"id": "h-2", "kind": "ngram", "evaluation_id": "e-1", "benchmark": "bench-harm"},
    ]
    assert result.counts["contaminated"] == 3
    assert LONG not in result.details.model_dump_json()


def test_contaminated_prompts_can_be_kept_for_the_gate_to_judge(run: Callable[..., Any]) -> None:
    result, files = run(
        {"h": rows("h", "Harm E", "Harm a?")}, {"b": rows("b", "Plain?")}, harm=rows("e", "Harm e?", "Harm x?"),
        contaminated="keep",
    )
    assert [p.id for p in files["training"]] == ["b-0", "h-0", "h-1"]
    assert result.counts["contaminated"] == 0
    (harm, *_) = result.details.contamination.benchmarks
    assert (harm.found, harm.left) == (1, 1)


def test_nothing_left(run: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="No harmful training prompts are left of 1"):
        run({"h": rows("h", "Harm e")}, {"b": rows("b", "Plain?")})


@pytest.mark.parametrize(
    ("harmful", "benign"),
    [
        ({"h": rows("x", "Harm a?"), "i": rows("x", "Harm b?")}, {"b": rows("b", "Plain?")}),
        ({"h": rows("x", "Harm a?")}, {"b": rows("x", "Plain?")}),
    ],
)
def test_ids_that_repeat_between_sets(run: Callable[..., Any], harmful: Any, benign: Any) -> None:
    with pytest.raises(InputError, match="The id 'x-0' repeats among the training prompts"):
        run(harmful, benign)


def test_evaluation_ids_that_repeat(run: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"'o-0' repeats among the evaluation prompts \(sets 'bench-harm'"):
        run({"h": rows("h", "Harm a?")}, {"b": rows("b", "Plain?")}, harm=rows("o", "Harm e?"))


def test_pilot_is_a_seeded_choice(run: Callable[..., Any]) -> None:
    harmful = {"h": rows("h", *(f"Harm {place}?" for place in range(20)))}
    benign = {"b": rows("b", "Plain?")}
    first = run(harmful, benign, seed=1, pilot=5)
    assert first == run(harmful, benign, seed=1, pilot=5)
    assert {p.id for p in first[1]["pilot"]} <= {p.id for p in first[1]["training"]}
    choices = {tuple(p.id for p in run(harmful, benign, seed=seed, pilot=5)[1]["pilot"]) for seed in range(4)}
    assert len(choices) == 4
    assert len(run(harmful, benign, pilot=50)[1]["pilot"]) == 20


def test_output_digests_follow_the_content(run: Callable[..., Any]) -> None:
    given = ({"h": rows("h", "Harm a?")}, {"b": rows("b", "Plain?")})
    first, _ = run(*given)
    other, _ = run(given[0], {"b": rows("b", "Plain other?")})
    assert first.outputs["training"] != other.outputs["training"]
    assert first.outputs["evaluation"] == other.outputs["evaluation"]


def test_micro_world(tmp_path: Path, make_context: Callable[..., StageContext]) -> None:
    def source(kind: str, split: str, count: int) -> MicroSource:
        return MicroSource(source="micro", kind=kind, split=split, count=count)

    section = PrepareSection(
        seed=3, pilot=4,
        data=DataSettings(
            harmful=(PromptSet(name="h", prompts=source("harmful", "train", 10)),),
            benign=(PromptSet(name="b", prompts=source("benign", "train", 10)),),
        ),
        benchmarks=(Benchmark(name="t", metric="over_refusal", prompts=source("safe-twin", "test", 5)),),
    )
    files = [tmp_path / use for use in ("pilot", "training", "evaluation")]
    result = prepare.run(
        make_context("prepare"), section, pilot_out=files[0], training_out=files[1], evaluation_out=files[2],
        contamination_out=tmp_path / "contamination",
    )
    assert result.counts == {"pilot": 4, "training": 20, "evaluation": 5, "duplicate": 0, "contaminated": 0}
    again = [path.read_bytes() for path in files]
    prepare.run(
        make_context("prepare"), section, pilot_out=files[0], training_out=files[1], evaluation_out=files[2],
        contamination_out=tmp_path / "contamination",
    )
    assert again == [path.read_bytes() for path in files]
