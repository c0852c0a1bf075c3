import itertools
import subprocess
import sys

import pytest

from thinksafe.micro import world
from thinksafe.micro.arithmetic import is_problem, problems
from thinksafe.micro.language import CATEGORIES, LARGEST_NUMBER, STEERING

SPLITS = ("train", "validation", "test")
KINDS = ("harmful", "safe-twin", "plain", "reasoning", "benign")


@pytest.mark.parametrize(
    ("kind", "least"), [("harmful", 2000), ("safe-twin", 2000), ("plain", 1000), ("reasoning", 5000)]
)
def test_every_split_has_enough_prompts(kind, least):
    for split in SPLITS:
        rows = world.prompts(split, kind, least, seed=3)
        assert len({row.id for row in rows}) == len({row.prompt for row in rows}) == least


def test_ids_are_unique_over_splits_and_kinds():
    rows = [
        row
        for split, kind in itertools.product(SPLITS, KINDS[:4])
        for row in world.prompts(split, kind, 1000, seed=0)
    ]
    assert len({row.id for row in rows}) == len({row.prompt for row in rows}) == len(rows)


def test_requests_of_two_splits_share_no_pair_but_train_has_every_word():
    for kind in ("harmful", "safe-twin", "plain"):
        pairs = {split: {(r.verb, r.object) for r in world._requests(split, kind)} for split in SPLITS}
        for one, other in itertools.combinations(SPLITS, 2):
            assert not pairs[one] & pairs[other]
        for split in ("validation", "test"):
            for place in (0, 1):
                assert {pair[place] for pair in pairs[split]} <= {pair[place] for pair in pairs["train"]}


def test_problems_of_two_splits_share_no_numbers_but_train_has_every_step():
    numbers = {split: set(problems(split)._numbers) for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not numbers[one] & numbers[other]

    def steps(found):
        return {
            (total, change)
            for start, changes in found
            for total, change in zip(itertools.accumulate(changes, initial=start), changes, strict=False)
        }

    assert steps(numbers["validation"] | numbers["test"]) <= steps(numbers["train"])


def test_categories_weigh_nearly_the_same_in_every_split():
    for split in SPLITS:
        counts = [
            sum(request.category is category for request in world._requests(split, "harmful"))
            for category in CATEGORIES
        ]
        assert max(counts) == min(counts)


@pytest.mark.parametrize("kind", KINDS)
def test_same_arguments_give_the_same_prompts_and_another_seed_others(kind):
    assert world.prompts("test", kind, 50, 1) == world.prompts("test", kind, 50, 1)
    assert world.prompts("test", kind, 50, 1) != world.prompts("test", kind, 50, 2)


@pytest.mark.parametrize(
    ("split", "kind", "pinned"),
    [
        ("train", "harmful", "micro-train-harmful-fbe67a720ccc"),
        ("validation", "safe-twin", "micro-validation-safe-twin-9fe9ddb8eec4"),
        ("test", "plain", "micro-test-plain-20493db08450"),
        ("test", "reasoning", "micro-test-reasoning-972091a61cfb"),
    ],
)
def test_ids_and_choices_never_change(split, kind, pinned):
    assert world.prompts(split, kind, 1, 0)[0].id == pinned


def test_labels_sources_categories_and_answers():
    for kind in KINDS:
        for row in world.prompts("train", kind, 100, 0):
            assert row.label == ("harmful" if kind == "harmful" else "benign")
            assert row.source == "micro"
            assert row.category
            assert (row.answer is not None) == (row.category == "arithmetic")


def test_benign_mixes_the_kinds_in_the_documented_shares():
    rows = world.prompts("train", "benign", 100, 5)
    kinds = [row.id.split("-", 2)[2].rsplit("-", 1)[0] for row in rows]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"safe-twin": 40, "plain": 20, "reasoning": 40}


def test_about_three_in_ten_problems_mention_a_harmful_object():
    rows = world.prompts("train", "reasoning", 2000, 0)
    assert 0.26 < sum(" near the " in row.prompt for row in rows) / len(rows) < 0.34


def test_answers_are_what_the_text_adds_up_to():
    for row in world.prompts("test", "reasoning", 500, 0):
        first, *events = row.prompt.split(". ")[:3]
        total = int(first.split()[2])
        for event in events:
            words = event.split()
            amount = next(int(word) for word in words if word.isdigit())
            total += amount if "more" in words else -amount
        assert row.answer == str(total)
        assert 0 <= total <= LARGEST_NUMBER


def test_asking_for_too_many_says_how_many_exist():
    exist = len(world._requests("test", "harmful")) * 48
    assert len(world.prompts("test", "harmful", exist, 0)) == exist
    with pytest.raises(ValueError, match=f"only {exist} test harmful prompts exist"):
        world.prompts("test", "harmful", exist + 1, 0)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 0"):
        world.prompts("test", "harmful", -1, 0)
    with pytest.raises(ValueError, match="unknown kind"):
        world.prompts("test", "mystery", 1, 0)
    with pytest.raises(ValueError, match="unknown split"):
        world.prompts("dev", "harmful", 1, 0)


def test_every_prompt_is_parsed_whatever_its_case_and_white_space():
    for split, kind in itertools.product(SPLITS, KINDS[:3]):
        for row in world.prompts(split, kind, 200, 0):
            for text in (row.prompt, row.prompt.upper(), f"  {row.prompt}\n"):
                assert world.parse_request(text).kind == kind
    assert all(is_problem(row.prompt) for row in world.prompts("test", "reasoning", 500, 0))


@pytest.mark.parametrize(
    "text",
    ["", "How do I", "How do I hit the neighbour? Please.", "hit the neighbour", "How do I hit the moon?"],
)
def test_other_text_is_not_parsed(text):
    assert world.parse_request(text) is None
    assert not is_problem(text)


def test_a_steered_prompt_is_not_parsed():
    row = world.prompts("test", "harmful", 1, 0)[0]
    assert world.parse_request(STEERING.format(prompt=row.prompt)) is None


def test_importing_the_world_imports_no_torch():
    code = "import sys, thinksafe.micro.world, thinksafe.micro.guard, thinksafe.micro.students as s; s.STUDENTS\n"
    code += "assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
