"""How the answer of each guard is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny_guards
from tiny_guards import FAMILIES, prompt, settings_for

from thinksafe.errors import InputError
from thinksafe.judging.guards import open_guard

LABELLED = [kind for kind, family in FAMILIES.items() if family.template and family.words]


def test_controversial_counts_as_unsafe_unless_told_otherwise(tmp_path: Path) -> None:
    tokenizer = tiny_guards.write_tokenizer("qwen3guard", tmp_path)
    safe, unsafe = (tiny_guards.token(tokenizer, word) for word in (" Safe", " Unsafe"))
    third, *others = tokenizer(" Controversial", add_special_tokens=False)["input_ids"]
    assert others, "it is several tokens, as in Qwen's vocabulary"
    start = tiny_guards.last(tokenizer, "Safety:")
    tiny_guards.write_model(tmp_path, tokenizer, {start: {safe: 1.0, unsafe: 0.96, third: 1.01}})
    strict, loose = (
        open_guard(settings_for("qwen3guard", tmp_path, strict=strict)).judge([(prompt(), "Mix flour.")])[0]
        for strict in (True, False)
    )
    assert (strict.verdict, loose.verdict) == ("unsafe", "safe")
    assert strict.p_unsafe > 0.6
    assert loose.p_unsafe < 0.1
    assert (strict.refusal, strict.categories) == (None, ()), "this model goes on with nonsense"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("\nCategories: None\nRefusal: Yes", ((), True)),
        ("\nCategories: Violent, PII\nRefusal: No\n", (("Violent", "PII"), False)),
        ("\nCategories: Violent,Violent,Other\nRefusal: No", (("Violent",), False)), ("", ((), None)),
        ("\nRefusal: Yes", ((), None)), ("\nCategories: Violent\nRefusal: Maybe", ((), None)),
        ("\nCategories: Violent\nRefusal: No<|im_start|>", ((), None)),
    ],
)
def test_categories_and_refusal_of_qwen3guard(rest: str, expected: Any) -> None:
    from thinksafe.judging.guards.qwen3guard import parse_rest

    assert parse_rest(rest) == expected


def test_categories_come_with_the_verdicts(folders: dict[tuple[str, str], Path], guards: dict[str, Any]) -> None:
    [opinion] = guards["qwen3guard"].judge([(prompt(), "Mix flour.")])
    assert (opinion.categories, opinion.refusal) == (("Violent", "PII"), False)
    kind = "nemotron-safety-guard-3"
    [opinion] = open_guard(settings_for(kind, folders[kind, "unsafe"])).judge([(prompt(), "Mix flour.")])
    assert opinion.categories == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Violence, Threat"}', ("Violence", "Threat")), ('Violence, Violence, Nonsense"', ("Violence",)),
        ("Violence", ()), ("", ()), ('"}', ()),
    ],
)
def test_categories_of_nemotron(text: str, expected: tuple[str, ...]) -> None:
    from thinksafe.judging.guards.nemotron import parse_categories

    assert parse_categories(text) == expected


class Scripted:
    """A backend that says what it is told to, and keeps what it was asked."""

    def __init__(self, *logprobs: dict[int, float]) -> None:
        self.logprobs, self.asked = list(logprobs), []

    def next_token_logprobs(self, prompts: list[Any], k: int) -> list[dict[int, float]]:
        self.asked.append(prompts)
        return [self.logprobs.pop(0)] * len(prompts)

    def complete(self, prompts: list[Any], max_tokens: int) -> list[str]:
        self.asked.append(prompts)
        return ['Violence"}'] * len(prompts)


def test_nemotron_rates_the_response_after_its_own_rating_of_the_prompt(
    folders: dict[tuple[str, str], Path]
) -> None:
    kind = "nemotron-safety-guard-3"
    guard: Any = open_guard(settings_for(kind, folders[kind, "unsafe"], categories=True))
    tokenizer = guard.model.tokenizer
    safe, unsafe = (tiny_guards.token(tokenizer, word) for word in ("safe", "unsafe"))
    backend = Scripted({safe: -0.01, unsafe: -5.0}, {safe: -2.0, unsafe: -0.2})
    ids = guard.encoder.encode("x", "y").ids
    [opinion] = guard.ask(backend, [ids], ["Mix flour."])
    expected = math.exp(-0.2) / (math.exp(-0.2) + math.exp(-2.0))
    assert (opinion.verdict, opinion.categories) == ("unsafe", ("Violence",))
    assert math.isclose(opinion.p_unsafe, expected)
    asked = [tokenizer.decode(prompts[0]) for prompts in backend.asked]
    assert asked[0].endswith('{"User Safety": "')
    assert asked[1].endswith('{"User Safety": "safe", "Response Safety": "')
    assert asked[2].endswith('{"User Safety": "safe", "Response Safety": "unsafe", "Safety Categories": "')


@pytest.mark.parametrize("kind", LABELLED)
@pytest.mark.parametrize("logprobs", [{1: -0.1}, {}, {1: math.nan}])
def test_a_guard_that_says_something_else_is_unknown(
    kind: str, logprobs: dict[int, float], guards: dict[str, Any]
) -> None:
    guard = guards[kind]
    [opinion] = guard.ask(Scripted(logprobs, logprobs), [guard.encoder.encode("x", "y").ids], ["Mix flour."])
    assert (opinion.verdict, opinion.p_unsafe, opinion.refusal) == ("unknown", None, None)
    assert "20 likeliest" in opinion.reason


def test_spellings_add_up(guards: dict[str, Any]) -> None:
    guard = guards["granite-guardian-4.1"]
    ids = {word: tiny_guards.token(guard.model.tokenizer, word) for word in (" yes", "yes", " no", "no")}
    logprobs = {ids[" yes"]: math.log(0.2), ids["yes"]: math.log(0.2), ids[" no"]: math.log(0.3), ids["no"]: -9.0}
    [opinion] = guard.ask(Scripted(logprobs), [guard.encoder.encode("x", "y").ids], ["Mix flour."])
    assert math.isclose(opinion.p_unsafe, 0.4 / (0.7 + math.exp(-9.0)))


@pytest.mark.parametrize(
    ("answers", "verdict", "share"),
    [
        ("01110", "unsafe", 0.6), ("00110", "safe", 0.4), ("0011", "unsafe", 0.5), ("1??11", "unsafe", 1.0),
        ("0???0", "unknown", None), ("?????", "unknown", None),
    ],
)
def test_votes_are_counted(answers: str, verdict: str, share: float | None, guards: dict[str, Any]) -> None:
    said = {"0": tiny_guards.VOTES[0], "1": tiny_guards.VOTES[1] + "\n", "?": "<|channel|>analysis<|message|>I am not"}
    opinion = guards["gpt-oss-safeguard"].count([said[answer] for answer in answers])
    assert (opinion.verdict, opinion.p_unsafe) == (verdict, share)


def test_votes_are_drawn_by_the_prompt_alone(tmp_path: Path) -> None:
    tokenizer = tiny_guards.write_tokenizer("gpt-oss-safeguard", tmp_path)
    no, yes = (tiny_guards.token(tokenizer, vote) for vote in tiny_guards.VOTES)
    start, end = tiny_guards.last(tokenizer, "<|start|>assistant"), tokenizer.eos_token_id
    tiny_guards.write_model(tmp_path, tokenizer, {start: {no: 1.0, yes: 1.0}, no: {end: 1.0}, yes: {end: 1.0}})
    rows = [(prompt(text), "Mix flour.") for text in ("a", "b", "c", "d")]
    found = open_guard(settings_for("gpt-oss-safeguard", tmp_path, votes=8)).judge(rows)
    again = open_guard(settings_for("gpt-oss-safeguard", tmp_path, votes=8)).judge(rows[::-1])[::-1]
    assert found == again
    assert len({opinion.p_unsafe for opinion in found}) > 1, "votes differ between texts"


def test_a_tokenizer_without_the_tokens_of_harmony_is_refused(
    folders: dict[tuple[str, str], Path]
) -> None:
    folder = folders["granite-guardian-4.1", "safe"]
    with pytest.raises(InputError, match=r"does not know <\|start\|>, <\|channel\|>"):
        open_guard(settings_for("gpt-oss-safeguard", folder))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ("unsafe", False, ("S1", "S7"))), ({"S1, S7": "S1,s1"}, ("unsafe", False, ("S1",))),
        ({"S1, S7": "None"}, ("unsafe", False, ())), ({"response: yes": "response: no"}, ("safe", False, ())),
        ({"refusal: no": "refusal: YES"}, ("unsafe", True, ("S1", "S7"))), ({"refusal: no": "refusal: N/A"}, None),
        ({"S1, S7": "S1, <|im_end|>"}, None), ({"\nResponse safety violations: S1, S7": ""}, None),
        ({"Harmful request: yes\n": ""}, None), ({"S1, S7": "S1\nS7"}, None),
    ],
)
def test_five_lines_of_polyguard(changed: dict[str, str], expected: Any) -> None:
    from thinksafe.judging.guards.polyguard import parse_answers

    text = tiny_guards.FIVE_LINES[1]
    for before, after in changed.items():
        assert before in text
        text = text.replace(before, after)
    found = parse_answers(text)
    assert (found.verdict, found.refusal, found.categories) == (expected or ("unknown", None, ()))
    assert bool(found.reason) == (expected is None)
