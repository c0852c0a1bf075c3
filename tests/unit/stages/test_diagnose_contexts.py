"""diagnose, where contexts are searched: the ranking, what is excluded, what training gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pilots import ACCEPTED, CUT, SAFE_ANSWER, UNKNOWN, UNSAFE, Kind, Stage, one, pilot

from thinksafe.config.sections import ContextsSection
from thinksafe.errors import StageError
from thinksafe.methods.contexts import Context, read_context
from thinksafe.records import Sample, Verdict

COMPLIES = ("<think>ok</think>here", "safe", False)
REFUSES = ("<think>no</think>sorry", "safe", True)
UNTOLD = ("<think>ok</think>here", "safe", None)
NAMES = ("calm", "kind", "loud")


def contexts(search: bool = True, **fields: Any) -> ContextsSection:
    known = tuple(Context(name=name, template=f"{name}: {{prompt}}") for name in NAMES)
    return ContextsSection(known=known if search else known[1:2], search=search, max_refused=0.1, **fields)


def trials(
    flips: dict[str, int], refusals: dict[str, int], n: int = 40, flip: Kind = SAFE_ANSWER, plain: Kind = UNSAFE,
    refuse: Kind = REFUSES, benign: Kind = COMPLIES,
) -> list[tuple[Sample, Verdict]]:
    """Rows of a pilot: in each context so many of n harmful prompts turn safe, and so many of n benign are refused."""
    rows = pilot((n, plain, ACCEPTED))
    for number in range(n):
        rows += [
            one(number, "context", flip if number < flips[name] else UNSAFE, place, template=name)
            for place, name in enumerate(NAMES)
        ]
        rows.append(one(f"b{number}", "plain", benign, label="benign"))
        rows += [
            one(f"b{number}", "context", refuse if number < refusals[name] else COMPLIES, place, template=name,
                label="benign")
            for place, name in enumerate(NAMES)
        ]
    return rows


NOBODY = dict.fromkeys(NAMES, 0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def chosen(stage: Stage) -> str | None:
    context = read_context(stage.folder / "context.json")
    return context and context.name


def test_the_highest_teacher_flip_rate_wins_and_is_what_training_gets(stage: Stage) -> None:
    result = stage(trials({"calm": 20, "kind": 33, "loud": 12}, NOBODY), contexts=contexts())
    found = result.details.contexts
    assert [(of.name, of.flip_rate.value, of.flip_rate.n) for of in found] == [
        ("kind", 33 / 40, 40), ("calm", 0.5, 40), ("loud", 0.3, 40),
    ]
    assert all(of.flip_rate.interval.low < of.flip_rate.value < of.flip_rate.interval.high for of in found)
    assert {(of.refused.value, of.refused.n, of.excluded) for of in found} == {(0.0, 40, "")}
    assert (chosen(stage), result.details.context, stage.passed) == ("kind", "kind", "true")
    assert read_context(stage.folder / "context.json") == Context(name="kind", template="kind: {prompt}")
    assert list(stage.checks) == ["steerability/contexts", "steerability/flip_rate", "unknown"]
    assert (stage.checks["steerability/flip_rate"].value, stage.checks["steerability/contexts"].value) == (33 / 40, 3)
    assert "the context kind" in stage.decision.summary
    assert any("kind" in sentence.text and "82.5" in sentence.evidence for sentence in
               result.details.recommendation.sentences)


def test_equal_ones_go_by_name(stage: Stage) -> None:
    stage(trials({"calm": 30, "kind": 33, "loud": 33}, NOBODY), contexts=contexts())
    assert chosen(stage) == "kind"


def test_a_context_that_refuses_benign_prompts_is_excluded_with_words(stage: Stage) -> None:
    result = stage(
        trials({"calm": 20, "kind": 40, "loud": 12}, {"calm": 4, "kind": 5, "loud": 0}), contexts=contexts()
    )
    assert [(of.name, of.excluded) for of in result.details.contexts] == [
        ("calm", ""), ("loud", ""), ("kind", "12.5\xa0% of benign prompts refused, more than 10.0\xa0%"),
    ]
    assert chosen(stage) == "calm"
    assert "2 of 3 contexts" in stage.checks["steerability/contexts"].reason


@pytest.mark.parametrize("on_failure", ["stop", "warn"])
def test_none_left_ends_the_run_even_if_it_only_warns(stage: Stage, on_failure: str) -> None:
    result = stage(
        trials(dict.fromkeys(NAMES, 40), {"calm": 30, "kind": 20, "loud": 10}), contexts=contexts(),
        on_failure=on_failure,
    )
    assert (stage.passed, result.verdict, chosen(stage), result.details.context) == ("false", "unsteerable", None, "")
    assert result.details.continues is False
    assert list(stage.checks) == ["steerability/contexts", "unknown"]
    reason = stage.checks["steerability/contexts"].reason
    assert reason.startswith("No context to train in: each makes the student refuse benign prompts: 0 of 3")
    assert "method.contexts" in reason
    assert "method.max_refused" in reason
    assert "goes on" not in stage.decision.summary


def test_a_benign_prompt_that_is_refused_anyway_is_not_the_contexts_doing(stage: Stage) -> None:
    rows = [
        one(f"b{number}", "plain", REFUSES, label="benign") if sample.id == f"pb{number}/plain/0" and number < 30
        else (sample, verdict)
        for sample, verdict in trials(dict.fromkeys(NAMES, 40), dict.fromkeys(NAMES, 30))
        for number in [int(sample.prompt.id[2:]) if sample.prompt.label == "benign" else -1]
    ]
    result = stage(rows, contexts=contexts())
    assert {(of.refused.value, of.refused.n, of.excluded) for of in result.details.contexts} == {(0.0, 10, "")}


@pytest.mark.parametrize("refuse", [REFUSES, UNTOLD, UNKNOWN, CUT])
def test_what_is_not_told_to_comply_counts_as_refused(stage: Stage, refuse: Kind) -> None:
    result = stage(trials(dict.fromkeys(NAMES, 40), {"calm": 0, "kind": 8, "loud": 8}, refuse=refuse),
                   contexts=contexts())
    assert [bool(of.excluded) for of in result.details.contexts] == [False, True, True]


def test_a_guard_that_never_tells_refusals_excludes_all_and_says_so(stage: Stage) -> None:
    result = stage(trials(dict.fromkeys(NAMES, 40), NOBODY, benign=UNTOLD), contexts=contexts())
    assert stage.passed == "false"
    assert all("told to comply" in of.excluded for of in result.details.contexts)


@pytest.mark.parametrize("flip", [UNKNOWN, CUT, UNSAFE])
def test_only_a_complete_and_safe_response_is_a_flip(stage: Stage, flip: Kind) -> None:
    result = stage(trials(dict.fromkeys(NAMES, 40), NOBODY, flip=flip), contexts=contexts())
    assert {of.flip_rate.value for of in result.details.contexts} == {0.0}
    assert stage.passed == "false"


def test_a_teacher_that_turns_little_safe_stops_the_run_whatever_steering_does(stage: Stage) -> None:
    stage(trials({"calm": 8, "kind": 4, "loud": 0}, NOBODY), contexts=contexts())
    check = stage.checks["steerability/flip_rate"]
    assert (check.passed, check.value, stage.passed) == (False, 0.2, "false")
    assert "the best context, calm" in check.reason
    assert "method.contexts" in check.reason


def test_a_pilot_that_is_safe_already_chooses_by_name(stage: Stage) -> None:
    stage(trials(dict.fromkeys(NAMES, 40), NOBODY, plain=SAFE_ANSWER), contexts=contexts(), on_failure="warn")
    assert stage.decision.summary.startswith("Nothing to repair")
    assert (chosen(stage), stage.passed) == ("calm", "true")


def test_the_same_whatever_the_order(stage: Stage) -> None:
    rows = trials({"calm": 20, "kind": 33, "loud": 12}, {"calm": 1, "kind": 2, "loud": 9})
    first = stage(rows, contexts=contexts()).details
    assert stage(rows[::-1], contexts=contexts()).details == first


def test_a_fixed_context_is_handed_on_and_nothing_is_ranked(stage: Stage) -> None:
    result = stage(pilot((60, UNSAFE, ACCEPTED)), contexts=contexts(search=False))
    assert (chosen(stage), result.details.context, result.details.contexts) == ("kind", "kind", ())
    assert list(stage.checks) == ["steerability/acceptance", "steerability/flip_rate", "unknown"]


def test_a_prompt_without_a_context_is_an_error(stage: Stage) -> None:
    rows = trials(dict.fromkeys(NAMES, 40), NOBODY)
    without = [row for row in rows if row[0].id != "p7/context/2"]
    with pytest.raises(StageError, match="'p7' has no sample in the context 'loud'"):
        stage(without, contexts=contexts())
    with pytest.raises(StageError, match="no benign sample in a context"):
        stage([row for row in rows if row[0].prompt.label == "harmful"], contexts=contexts())
    with pytest.raises(StageError, match="'p0/context/0' is in a context"):
        stage([row for row in rows if row[0].prompt.label == "harmful"])
