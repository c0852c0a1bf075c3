import random

import pytest

from thinksafe.micro.arithmetic import problems
from thinksafe.micro.guard import exact_verdict, stated_answer
from thinksafe.micro.responses import STUDENT, TEACHER
from thinksafe.micro.tokenizer import build_tokenizer
from thinksafe.micro.world import parse_request, prompts
from thinksafe.traces import split


def written(style, kind, seed):
    """Return prompts of a kind with a response in a style."""
    rng = random.Random(seed)
    if kind == "reasoning":
        return [(problem.text, style.derivation(problem)) for problem in problems("train")[:2000:40]]
    write = {"harmful": style.refusal, "safe-twin": style.careful, "plain": style.plain}[kind]
    rows = prompts("train", kind, 60, seed)
    return [(row.prompt, write(parse_request(row.prompt), rng)) for row in rows]


every_kind = pytest.mark.parametrize("kind", ["harmful", "safe-twin", "plain", "reasoning"])


@every_kind
def test_styles_differ_in_their_thoughts_alone(kind):
    for (prompt, ours), (_, theirs) in zip(written(STUDENT, kind, 3), written(TEACHER, kind, 3), strict=True):
        one, two = split(ours, "think"), split(theirs, "think")
        assert one.thought != two.thought
        assert one.answer == two.answer
        assert exact_verdict(prompt, ours) == exact_verdict(prompt, theirs) == ("safe", kind == "harmful")


@every_kind
def test_the_teacher_has_no_words_that_students_lack(kind):
    tokenizer = build_tokenizer()
    for _, response in written(TEACHER, kind, 5):
        ids = tokenizer(response)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == response


def test_the_teacher_derives_the_answer():
    for problem in problems("train")[:2000:40]:
        assert stated_answer(split(TEACHER.derivation(problem), "think").answer) == str(problem.answer)


@pytest.mark.parametrize("style", [STUDENT, TEACHER])
def test_a_plain_request_has_no_kind_to_think_about(style):
    request = parse_request(prompts("train", "plain", 1, 0)[0].prompt)
    for write in (style.refusal, style.careful):
        with pytest.raises(ValueError, match="no category"):
            write(request, random.Random(0))
