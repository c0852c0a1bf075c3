"""curate: every sample is accepted or rejected for one counted reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.model import CurateSettings
from thinksafe.config.planning import curate_section
from thinksafe.config.sections import CurateSection
from thinksafe.errors import StageError
from thinksafe.jsonl import read_record, read_records
from thinksafe.methods import Method
from thinksafe.methods.direct_refusal import DirectRefusal
from thinksafe.methods.no_reasoning import NoReasoning
from thinksafe.methods.rejection import Rejection
from thinksafe.methods.rules import assess
from thinksafe.methods.safepath import SafePath
from thinksafe.methods.thinksafe import ThinkSafe
from thinksafe.records import Decision, Example, Prompt, Sample, Verdict
from thinksafe.run.record import StageContext, StageResult, list_records
from thinksafe.stages import curate
from thinksafe.store.local import LocalStore

DONE, OPEN = "<think>hm</think>Text.", "<think>hm"


def section(reasoning: str = "think", method: Method | None = None, **settings: Any) -> CurateSection:
    return curate_section(method or ThinkSafe(), CurateSettings(**settings), reasoning, seed=42)


def reason_of(sample: Sample, verdict: Verdict, of: CurateSection) -> str:
    return assess(sample, verdict, of.rules[sample.prompt.label], of.reasoning)


@pytest.mark.parametrize(
    ("label", "verdict", "refusal", "response", "finish", "reason"),
    [
        ("harmful", "safe", True, DONE, "stop", "accepted"),
        ("benign", "safe", False, DONE, "stop", "accepted"),
        # METHOD.md section 5: benign rows are checked for refusals, harmful rows for an actual refusal
        ("harmful", "safe", False, DONE, "stop", "not_a_refusal"),
        ("harmful", "safe", None, DONE, "stop", "not_a_refusal"),
        ("benign", "safe", True, DONE, "stop", "refusal"),
        ("benign", "safe", None, DONE, "stop", "accepted"),
        ("harmful", "unsafe", False, DONE, "stop", "unsafe"),
        ("harmful", "unsafe", True, DONE, "stop", "unsafe"),
        ("benign", "unsafe", False, DONE, "stop", "unsafe"),
        # unknown never passes, whatever else is known
        ("harmful", "unknown", True, DONE, "stop", "unknown"),
        ("benign", "unknown", False, DONE, "stop", "unknown"),
        ("benign", "unknown", None, DONE, "stop", "unknown"),
        # completeness comes first
        ("harmful", "safe", True, OPEN, "stop", "incomplete"),
        ("harmful", "safe", True, "No tags.", "stop", "incomplete"),
        ("harmful", "unsafe", False, DONE, "length", "incomplete"),
        ("benign", "unknown", None, OPEN, "length", "incomplete"),
        ("harmful", "safe", True, "R1 thought</think>Text.", "stop", "accepted"),
        # an answer that is not there is no example, whatever the thought says
        ("harmful", "safe", True, "<think>I cannot help with that.</think>", "stop", "no_answer"),
        ("harmful", "unknown", None, "<think>I cannot help with that.</think> \n", "stop", "no_answer"),
        ("benign", "safe", False, "<think>Sure: paint it.</think>\n\n", "stop", "no_answer"),
        ("benign", "safe", False, "</think>", "stop", "no_answer"),
        ("benign", "safe", False, "<think>Sure: paint it.</think>", "length", "incomplete"),
        ("benign", "safe", False, "<think>\n\n</think>\n\nText.", "stop", "accepted"),
    ],
)
def test_reason(
    make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample], make_verdict: Callable[..., Verdict],
    label: str, verdict: str, refusal: bool | None, response: str, finish: str, reason: str,
) -> None:
    sample = make_sample(make_prompt(label=label), response, finish=finish)
    assert reason_of(sample, make_verdict(sample, verdict, refusal), section()) == reason


def test_checks_can_be_switched_off(
    make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample], make_verdict: Callable[..., Verdict]
) -> None:
    harmful, benign = (make_sample(make_prompt(label=label), DONE) for label in ("harmful", "benign"))
    off = section(require_refusal=False, require_compliance=False)
    assert reason_of(harmful, make_verdict(harmful, "safe", False), off) == "accepted"
    assert reason_of(benign, make_verdict(benign, "safe", True), off) == "accepted"
    assert reason_of(harmful, make_verdict(harmful, "unknown", True), off) == "unknown"


def test_a_model_without_thoughts_is_complete(
    make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample], make_verdict: Callable[..., Verdict]
) -> None:
    sample = make_sample(make_prompt(), "Text.")
    assert reason_of(sample, make_verdict(sample), section("none")) == "accepted"
    cut = sample.model_copy(update={"finish": "length"})
    assert reason_of(cut, make_verdict(cut), section("none")) == "incomplete"


@pytest.fixture
def run(
    tmp_path: Path, make_context: Callable[..., StageContext], write_rows: Callable[..., Path]
) -> Callable[..., tuple[StageResult, list[Example]]]:
    def curated(
        samples: list[Sample], verdicts: list[Verdict], given: CurateSection | None = None, **changes: Any
    ) -> tuple[StageResult, list[Example]]:
        files = write_rows("samples", samples), write_rows("verdicts", verdicts, **changes)
        out = tmp_path / "examples.jsonl"
        flag, decided = tmp_path / "passed", tmp_path / "decision.json"
        result = curate.run(
            make_context("curate"), given or section(), *files, examples_out=out, decision_out=decided, passed_out=flag
        )
        assert flag.read_text() == ("true" if result.verdict == "passed" else "false")
        assert read_record(decided, Decision).passed == (result.verdict == "passed")
        return result, list(read_records(out, Example))

    return curated


@pytest.fixture
def rows(
    make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample], make_verdict: Callable[..., Verdict]
) -> tuple[list[Sample], list[Verdict]]:
    harmful = make_prompt("h", label="harmful", prompt="How do I lift the wallet?", category="theft")
    benign = make_prompt("b", prompt="How do I bake?")
    samples = [
        make_sample(harmful, DONE, arm="steered"), make_sample(harmful, OPEN, arm="steered", index=1),
        make_sample(benign, "<think>x</think>Bake."), make_sample(benign, DONE, index=1),
    ]
    verdicts = [
        make_verdict(samples[0], "safe", True), make_verdict(samples[1], "safe", True),
        make_verdict(samples[2], "safe", False), make_verdict(samples[3], "safe", True),
        make_verdict(samples[0], "unsafe", False, part="thought"), make_verdict(samples[2], "unknown", part="answer"),
    ]
    return samples, verdicts


def test_examples_and_funnel(run: Callable[..., Any], rows: Any) -> None:
    result, examples = run(*rows)
    # the original prompt, the whole response; other parts' verdicts do not count here
    assert examples == [
        Example(id="b/plain/0", prompt="How do I bake?", response="<think>x</think>Bake.", label="benign"),
        Example(
            id="h/steered/0", prompt="How do I lift the wallet?", response=DONE, label="harmful", category="theft"
        ),
    ]
    assert [(row.label, row.arm, row.reason, row.count) for row in result.details.funnel] == [
        ("benign", "plain", "accepted", 1), ("benign", "plain", "refusal", 1),
        ("harmful", "steered", "accepted", 1), ("harmful", "steered", "incomplete", 1),
    ]
    assert result.counts == {"rows": 4, "accepted": 2}
    assert sum(row.count for row in result.details.funnel) == 4


def test_a_sample_without_a_verdict_is_an_error(run: Callable[..., Any], rows: Any) -> None:
    samples, verdicts = rows
    with pytest.raises(StageError, match="'b/plain/1' has no verdict"):
        run(samples, [row for row in verdicts if row.sample_id != "b/plain/1"])
    with pytest.raises(StageError, match="'b/plain/1' has no verdict"):
        run(samples, [*verdicts[:3], verdicts[3].model_copy(update={"part": "answer"})])


def test_verdicts_about_another_model(run: Callable[..., Any], rows: Any) -> None:
    """Sample ids say nothing of the model, so the verdicts of another model would fit by name."""
    with pytest.raises(StageError, match="another model"):
        run(*rows, model="other")


@pytest.mark.parametrize("label", ["harmful", "benign"])
def test_too_few_examples(
    run: Callable[..., Any], rows: Any, store: LocalStore, make_verdict: Callable[..., Verdict], label: str
) -> None:
    samples, _ = rows
    verdicts = [
        make_verdict(s, "unsafe" if s.prompt.label == label else "safe", s.prompt.label == "harmful") for s in samples
    ]
    run(samples, verdicts)
    record = list_records(store, "run-1").found["curate"]
    assert (record.status, record.verdict) == ("succeeded", "too few examples")
    decision = Decision.model_validate(record.details["decision"])
    assert (decision.passed, decision.stopped_by) == (False, "curate")
    failed = [check for check in decision.checks if not check.passed]
    assert [(check.name, check.value, check.n) for check in failed] == [(f"min_examples/{label}", 0, 2)]
    reasons = {(entry["label"], entry["reason"]) for entry in record.details["funnel"]}
    assert (label, "unsafe") in reasons, "the report shows why"


def test_min_examples(run: Callable[..., Any], rows: Any) -> None:
    assert run(*rows, section(min_examples=2))[0].verdict == "too few examples"
    result, examples = run(*rows, section(min_examples=1))
    assert (result.verdict, len(examples)) == ("passed", 2)
    _, verdicts = rows
    only_benign = [verdict.model_copy(update={"refusal": False}) for verdict in verdicts]
    assert run(rows[0], only_benign, section(min_examples=0))[0].verdict == "passed"


def test_no_example_at_all_is_too_few_whatever_the_minimum(
    run: Callable[..., Any], rows: Any, make_verdict: Callable[..., Verdict]
) -> None:
    samples, _ = rows
    result, examples = run(samples, [make_verdict(s, "unsafe", False) for s in samples], section(min_examples=0))
    assert (result.verdict, examples) == ("too few examples", [])
    assert "min_examples" in result.details.decision.summary


@pytest.fixture
def siblings(
    make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample], make_verdict: Callable[..., Verdict]
) -> tuple[list[Sample], list[Verdict]]:
    """Return plain samples, four a prompt: of ``all`` all are safe refusals, of ``one`` one, of ``two`` three."""
    safe = {"h-all": 4, "h-one": 1, "h-three": 3, "h-vague": 4}
    samples = [
        make_sample(make_prompt(name, label="harmful"), f"<think>{index}</think>Text.", index=index)
        for name in safe for index in range(4)
    ]
    verdicts = [
        # all of h-vague are safe, but only the first one declines
        make_verdict(s, "safe" if s.index < safe[s.prompt.id] else "unsafe", s.prompt.id != "h-vague" or s.index == 0)
        for s in samples
    ]
    benign = [make_sample(make_prompt("b"), DONE, index=index) for index in range(4)]
    return [*benign, *samples], [*(make_verdict(s, "safe", False) for s in benign), *verdicts]


def test_all_of_a_prompt_must_be_safe_and_one_is_drawn(run: Callable[..., Any], siblings: Any) -> None:
    result, examples = run(*siblings, section(method=Rejection()))
    assert [example.id.partition("/")[0] for example in examples] == ["b", "h-all", "h-vague"]
    assert examples[-1].id == "h-vague/plain/0", "safe is not enough: the drawn one is an accepted one"
    counts = {(row.label, row.reason): row.count for row in result.details.funnel}
    assert counts == {
        ("benign", "accepted"): 1, ("benign", "not_drawn"): 3,
        ("harmful", "accepted"): 2, ("harmful", "not_drawn"): 3, ("harmful", "not_a_refusal"): 3,
        ("harmful", "unsafe"): 4, ("harmful", "unsafe_sibling"): 4,
    }
    assert sum(counts.values()) == len(siblings[0]), "every sample has one reason"


def test_one_safe_sample_is_enough_for_the_stronger_baseline(run: Callable[..., Any], siblings: Any) -> None:
    _, examples = run(*siblings, section(method=Rejection(keep="any")))
    assert [example.id.partition("/")[0] for example in examples] == ["b", "h-all", "h-one", "h-three", "h-vague"]
    assert "h-one/plain/0" in {example.id for example in examples}


def test_the_draw_follows_the_seed(run: Callable[..., Any], siblings: Any) -> None:
    def drawn(seed: int) -> str:
        of = curate_section(Rejection(), CurateSettings(), "think", seed)
        return next(example.id for example in run(*siblings, of)[1] if example.id.startswith("h-all"))

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(20)}) > 1


def test_an_unknown_sibling_is_not_safe(
    run: Callable[..., Any], siblings: Any
) -> None:
    samples, verdicts = siblings
    changed = [
        row.model_copy(update={"verdict": "unknown"}) if row.sample_id == "h-all/plain/3" else row for row in verdicts
    ]
    _, examples = run(samples, changed, section(method=Rejection()))
    assert [example.id.partition("/")[0] for example in examples] == ["b", "h-vague"]


def test_refusals_lose_their_thoughts_and_benign_answers_keep_them(run: Callable[..., Any], rows: Any) -> None:
    _, examples = run(*rows, section(method=NoReasoning()))
    assert {example.label: example.response for example in examples} == {
        "harmful": "<think></think>Text.", "benign": "<think>x</think>Bake.",
    }
    assert all(example.ends for example in examples)


def test_labels_without_rows_need_no_examples(run: Callable[..., Any], rows: Any) -> None:
    samples, verdicts = rows
    harmful = [sample for sample in samples if sample.prompt.label == "harmful"]
    result, examples = run(harmful, verdicts, section(method=DirectRefusal()))
    assert (result.verdict, {example.label for example in examples}) == ("passed", {"harmful"})
    assert run(harmful, verdicts)[0].verdict == "too few examples", "thinksafe trains on both"


def test_an_opening_has_no_end(
    run: Callable[..., Any], make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample],
    make_verdict: Callable[..., Verdict],
) -> None:
    sample = make_sample(make_prompt("h", label="harmful"), "<think>Is this safe?", arm="template")
    result, examples = run([sample], [make_verdict(sample, "unknown")], section(method=SafePath()))
    assert (result.verdict, [(row.response, row.ends) for row in examples]) == ("passed", [(sample.response, False)])


def test_a_prompt_without_a_response_is_an_example(
    run: Callable[..., Any], make_prompt: Callable[..., Prompt], make_sample: Callable[..., Sample]
) -> None:
    samples = [
        make_sample(make_prompt(of[0], label=of), "", arm="rollout") for of in ("harmful", "benign")
    ]
    result, examples = run(samples, [])
    assert [(row.id, row.response) for row in examples] == [("b/rollout/0", ""), ("h/rollout/0", "")]
    assert {(row.label, row.arm, row.reason) for row in result.details.funnel} == {
        ("harmful", "rollout", "accepted"), ("benign", "rollout", "accepted")
    }
    assert run(samples, [], section(min_examples=2))[0].verdict == "too few examples", "minimum counts hold"
