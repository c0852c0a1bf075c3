"""Instructions that a program can verify."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import InputError
from thinksafe.judging.grading import grade
from thinksafe.judging.instructions import CHECKS, CLOSED, count_sentences, followed, require_known
from thinksafe.records import Grade, Instruction, Prompt, Sample, SamplingSettings

ENGLISH = "the boats came back in the evening and the harbour was quiet again"
GERMAN = "Die Boote kamen am Abend zurück, und im Hafen war es wieder still."


def follows(kind: str, text: str, **options: Any) -> bool:
    (found,) = followed((Instruction(kind=kind, options=options),), text)
    return found


CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ("tide", "Moon")}, ["Tides follow the moon."], ["The moon.", "Tide."]),
    (
        "keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}, ["Sea and sea.", "seasea"],
        ["One sea."],
    ),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "less than"}, ["One sea."], ["Sea, sea."]),
    ("keywords:forbidden_words", {"forbidden_words": ("cat", "a.b")}, ["Category.", "axb"], ["A CAT!", "see a.b now"]),
    (
        "keywords:letter_frequency", {"letter": "X", "let_frequency": 2, "let_relation": "at least"}, ["xX"],
        ["x marks it"],
    ),
    ("language:response_language", {"language": "de"}, [GERMAN], [ENGLISH, "123"]),
    ("language:response_language", {"language": "zh-cn"}, ["今天的天气很好 我们去海边散步"], [ENGLISH]),
    (
        "length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, ["One. Two!"],
        ["Only one."],
    ),
    (
        "length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["a *** b", "***\na\n***\nb\n***"],
        ["a\n\nb", "a *** *** b", "***"],
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["two words"], ["one-two three"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Ships"}, ["a\n\nships, b", "a\n\n'Ships' b"],
        ["a\n\nb", "ships", "a\n\nships\n\nc", "a\n\n\n\nships"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[name] of [town]"], ["[name]", "[a\nb] [c]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye.\n\nP.S. Write.", "p. s. x"], ["PS: x"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["P.P.S Write."], ["P.S. Write."]),
    (
        "detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n* b", "- a\n  - b"],
        ["* a", "**a**\n* b", "* a\n* b\n* c"],
    ),
    ("detectable_format:constrained_response", {}, [CLOSED[0], f"Well. {CLOSED[2]}"], ["Yes."]),
    (
        "detectable_format:number_highlighted_sections", {"num_highlights": 2}, ["*a* and *b*", "**a** and **b**"],
        ["*a*", "* a\n* b"],
    ),
    (
        "detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2},
        ["Part 1\na\nPart 2\nb"], ["Part 1", "Part one, Part two"],
    ),
    ("detectable_format:json_format", {}, ['{"a": 1}', "```json\n[1]\n```", "```\n3\n```"], ["{a: 1}", "[" * 100_000]),
    ("detectable_format:title", {}, ["<<The sea>>\nText"], ["<The sea>", "<<>>", "<< >>"]),
    ("combination:two_responses", {}, ["a ****** b", "******a******b******"], ["a", "a ****** a", "a******b******c"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, [" say IT. I said it."], ["I say it."]),
    ("startend:end_checker", {"end_phrase": "The end."}, ['So: "the END."', "the end. "], ["The end. Or not"]),
    ("startend:quotation", {}, ['"quoted"'], ['"', '"open', "plain"]),
    (
        "change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"},
        ["THE SEA-SIDE", "A B"], ["The SEA"],
    ),
    ("change_case:english_capital", {}, [ENGLISH.upper()], [ENGLISH, GERMAN.upper()]),
    ("change_case:english_lowercase", {}, [ENGLISH], [ENGLISH.title(), GERMAN.lower()]),
    ("punctuation:no_comma", {}, ["no comma here"], ["a, b"]),
]


@pytest.mark.parametrize(("kind", "options", "yes", "no"), CASES)
def test_what_follows_and_what_does_not(kind: str, options: dict[str, Any], yes: list[str], no: list[str]) -> None:
    assert [follows(kind, text, **options) for text in yes] == [True] * len(yes)
    assert [follows(kind, text, **options) for text in no] == [False] * len(no)


def test_every_kind_has_a_case() -> None:
    assert {kind for kind, *_ in CASES} == set(CHECKS)
    assert len(CHECKS) == 25, "as many as the data set has"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0), ("...", 0), ("No end", 1), ("One. Two! Three?", 3), ("Dr. Who met Mr. J. Smith. They left.", 2),
        ("1. First point. 2. Second point.", 2), ("It costs 3.50 euros. Cheap!", 2), ('He said "Go." Then he went.', 2),
        ("It was i.e. a boat. So.", 2), ("What?! Really?", 2), ("Lines\nwithout end", 1), ("He asked Mr.", 1),
        ("So do I. Then we left.", 2),
    ],
)
def test_sentences(text: str, sentences: int) -> None:
    assert count_sentences(text) == sentences


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("keywords:rhyme", {}, "no instruction 'keywords:rhyme'"),
        ("length_constraints:number_words", {"num_words": 3}, "'relation'"),
        ("length_constraints:number_words", {"num_words": "many", "relation": "at least"}, "'num_words'"),
        ("length_constraints:number_words", {"num_words": 3, "relation": "about"}, "'relation'"),
        ("punctuation:no_comma", {"text": "no"}, "'text'"),
        ("keywords:existence", {"keywords": ()}, "'keywords'"),
    ],
)
def test_a_wrong_instruction_is_named(kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match="row 7: ") as caught:
        require_known((Instruction(kind=kind, options=options),), "row 7")
    assert said in caught.value.problem


@given(st.text(max_size=200), st.sampled_from(CASES))
def test_any_text_has_an_answer(text: str, case: tuple[str, dict[str, Any], list[str], list[str]]) -> None:
    kind, options, *_ = case
    assert follows(kind, text, **options) in (True, False)
    assert not follows(kind, "  \n", **options), "nothing said is nothing followed"


@given(st.text(max_size=100), st.integers(0, 20))
def test_a_limit_holds_from_one_side(text: str, limit: int) -> None:
    options = {"num_words": limit, "relation": "at least"}
    kind = "length_constraints:number_words"
    if text.strip():
        assert follows(kind, text, **options) != follows(kind, text, **(options | {"relation": "less than"}))


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<think>two, so</think>calm sea", {"correct": True, "extracted": "2 of 2 instructions", "truncated": False}),
        ("<think>x</think>calm, sea", {"correct": False, "extracted": "1 of 2 instructions", "truncated": False}),
        ("<think>sea", {"correct": False, "extracted": None, "truncated": True}),
    ],
)
def test_a_sample_follows_all_or_is_wrong(response: str, expected: dict[str, Any]) -> None:
    asked = (
        Instruction(kind="punctuation:no_comma"),
        Instruction(kind="keywords:existence", options={"keywords": ("sea",)}),
    )
    prompt = Prompt(id="p", prompt="Two words.", label="benign", source="ifeval", instructions=asked)
    assert prompt.graded
    assert Prompt.model_validate_json(prompt.model_dump_json()) == prompt
    sample = Sample(
        id="s", prompt=prompt, arm="plain", index=0, seed=1, response=response, finish="stop", prompt_tokens=2,
        tokens=3,
        settings=SamplingSettings(temperature=0.0, top_p=1.0, max_tokens=9),
    )
    assert grade(sample, "think") == Grade(sample_id="s", **expected)


def test_options_that_a_row_does_not_have_are_not_written() -> None:
    assert "instructions" not in json.loads(
        Prompt(id="p", prompt="x", label="benign", source="s", answer="1").model_dump_json()
    ), "so that digests of other prompts stay"
