"""Prompt sets from the micro world, JSON Lines files and local data sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.data import Benchmark, FileSource, HubSource, MicroSource, PromptSet
from thinksafe.errors import InputError
from thinksafe.prompts.sources import load_benchmark, load_set
from thinksafe.prompts.tables import hub_rows
from thinksafe.records import Prompt

SECRET = "SECRET wording"


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., PromptSet]:
    """Return a function from rows (objects, or lines of text) to a set that reads them."""

    def write(rows: list[Any], **options: Any) -> PromptSet:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
        return PromptSet(name="set", prompts=FileSource(source="jsonl", path=str(path), **options))

    return write


def row(key: str = "a", **changes: Any) -> dict[str, Any]:
    return {"id": key, "prompt": f"What is {key}?"} | changes


def test_rows_become_prompts_in_id_order(jsonl: Callable[..., PromptSet]) -> None:
    rows = [row("b", answer=72), row("a", category="c", foreign={"x": 1}, label="benign")]
    assert load_set(jsonl(rows), "benign", 0) == [
        Prompt(id="a", prompt="What is a?", label="benign", source="set", category="c"),
        Prompt(id="b", prompt="What is b?", label="benign", source="set", answer="72"),
    ]


def test_context_goes_in_front_as_harmbench_sends_it(jsonl: Callable[..., PromptSet]) -> None:
    (prompt,) = load_set(jsonl([row(context="A passage.")]), "harmful", 0)
    assert prompt.prompt == "A passage.\n\n---\n\nWhat is a?"


def test_filters(jsonl: Callable[..., PromptSet]) -> None:
    rows = [row("a", kind="x", level=1), row("b", kind="y", level=1), row("c", kind="x", level=2)]
    assert [p.id for p in load_set(jsonl(rows, only={"kind": "x"}), "benign", 0)] == ["a", "c"]
    assert [p.id for p in load_set(jsonl(rows, exclude={"kind": "x"}), "benign", 0)] == ["b"]
    assert [p.id for p in load_set(jsonl(rows, only={"kind": "x", "level": "1"}), "benign", 0)] == ["a"]
    assert [p.id for p in load_set(jsonl(rows, exclude={"kind": "y", "level": "2"}), "benign", 0)] == ["a"]
    with pytest.raises(InputError, match="line 1: there is no field 'knid'"):
        load_set(jsonl(rows, only={"knid": "x"}), "benign", 0)


def test_columns_of_other_names(jsonl: Callable[..., PromptSet]) -> None:
    rows = [{"key": "a", "question": "What?", "solution": 5, "kind": "k", "passage": "Once.", "prompt": "ignored"}]
    columns = {"id": "key", "prompt": "question", "answer": "solution", "category": "kind", "context": "passage"}
    assert load_set(jsonl(rows, fields=columns, suffix=" Box it."), "benign", 0) == [
        Prompt(id="a", prompt="Once.\n\n---\n\nWhat? Box it.", label="benign", source="set", category="k", answer="5")
    ]
    with pytest.raises(InputError, match="line 1: there is no field 'solutoin'"):
        load_set(jsonl(rows, fields=columns | {"answer": "solutoin"}), "benign", 0)


def test_a_set_with_every_default_written_out_reads_the_same(jsonl: Callable[..., PromptSet]) -> None:
    """As the stages get it: plan writes all defaults."""
    given = jsonl([row("a")])
    written = PromptSet.model_validate(given.model_dump())
    assert load_set(written, "benign", 0) == load_set(given, "benign", 0)


def test_options_of_a_file(jsonl: Callable[..., PromptSet]) -> None:
    rows = [row("a", options=["no", "yes"], answer="yes"), row("b", options='["x", "y"]', answer="(a)")]
    first, second = load_set(jsonl(rows, suffix="\n\nWhich?"), "benign", 0)
    assert (first.prompt, first.answer, first.options) == ("What is a?\n\nA) no\nB) yes\n\nWhich?", "B", 2)
    assert (second.answer, second.options) == ("A", 2)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"options": ["SECRET"], "answer": "A"}, "there must be 2 to 26 options"),
        ({"options": [f"SECRET {n}" for n in range(27)], "answer": "A"}, "there must be 2 to 26 options"),
        ({"options": ["SECRET", "x"], "answer": "C"}, "the answer is neither the letter nor the text of one option"),
        ({"options": ["x", "x"], "answer": "x"}, "the answer is neither"),
        ({"options": "SECRET", "answer": "A"}, "the field 'options' must be a list of texts"),
        ({"options": ["SECRET", 5], "answer": "A"}, "the field 'options' must be a list of texts"),
        ({"options": ["SECRET", " "], "answer": "A"}, "the field 'options' must be a list of texts"),
    ],
)
def test_options_that_do_not_fit(jsonl: Callable[..., PromptSet], change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=f"line 1: {problem}") as raised:
        load_set(jsonl([row("a", **change)]), "benign", 0)
    assert "SECRET" not in str(raised.value)


def test_conversations_of_a_file(jsonl: Callable[..., PromptSet]) -> None:
    rows = [
        {"id": "a", "turns": ["Hello.", "How?"]}, row("b", turns='["x", "y", "z"]'), row("c"), row("d", turns=[]),
    ]
    found = load_set(jsonl(rows), "harmful", 0)
    assert [(p.prompt, p.turns) for p in found] == [
        ("How?", ("Hello.", "How?")), ("What is b?", ("x", "y", "z")), ("What is c?", ()), ("What is d?", ()),
    ]
    with pytest.raises(InputError, match="line 1: the field 'turns' must be a list of texts"):
        load_set(jsonl([row("a", turns=["x", ""])]), "harmful", 0)


def test_all_variations_ask_the_same_prompts(jsonl: Callable[..., PromptSet]) -> None:
    prompts = jsonl([row(key) for key in "abcdefgh"], count=3).prompts
    plain = Benchmark(name="ours", metric="harm", prompts=prompts, transforms=("plain", "base64"))
    first, second = (load_benchmark(one, 3) for one in plain.expanded())
    assert [(p.id, p.source) for p in second] == [(f"{p.id}~base64", "ours-base64") for p in first]
    assert [p.prompt for p in first] == [p.prompt for p in second]
    assert {p.source for p in first} == {"ours"}
    assert all(p.turns for p in second)


def test_label_that_contradicts_the_use(jsonl: Callable[..., PromptSet]) -> None:
    rows = [row("a", label="benign"), row("b", label="harmful")]
    with pytest.raises(InputError, match="line 2: the row is labelled 'harmful', but the set 'set' is used as benign"):
        load_set(jsonl(rows), "benign", 0)
    assert [p.id for p in load_set(jsonl(rows, only={"label": "harmful"}), "harmful", 0)] == ["b"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_count_is_a_seeded_choice(jsonl: Callable[..., PromptSet], count: int) -> None:
    rows = [row(key) for key in "abcdefghij"]
    chosen = [p.id for p in load_set(jsonl(rows, count=count), "benign", 3)]
    assert len(chosen) == count
    assert chosen == sorted(chosen)
    assert chosen == [p.id for p in load_set(jsonl(rows[::-1], count=count), "benign", 3)], "not the order of the file"
    others = {tuple(p.id for p in load_set(jsonl(rows, count=count), "benign", seed)) for seed in range(8)}
    assert len(others) > 1


def test_count_that_is_too_large(jsonl: Callable[..., PromptSet]) -> None:
    with pytest.raises(InputError, match=r"has 2 prompts, but the config asks for 3. Lower its count to 2"):
        load_set(jsonl([row("a"), row("b")], count=3), "benign", 0)


@pytest.mark.parametrize("options", [{"only": {"kind": "y"}}, {"exclude": {"kind": "y"}}])
def test_a_filter_that_matches_nothing(jsonl: Callable[..., PromptSet], options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"The filter \w+: {kind: 'y'} of the set 'set' matches no row"):
        load_set(jsonl([row("a", kind="x")], **options), "benign", 0)


@pytest.mark.parametrize(
    ("value", "wanted"), [(True, "true"), (1.0, "1"), (1, "1.0"), (0.1, "0.1"), (None, ""), ("true", "true")]
)
def test_filters_by_value(jsonl: Callable[..., PromptSet], value: Any, wanted: str) -> None:
    rows = [row("a", kind=value), row("b", kind="other")]
    assert [p.id for p in load_set(jsonl(rows, exclude={"kind": wanted}), "benign", 0)] == ["b"]
    assert [p.id for p in load_set(jsonl(rows, only={"kind": wanted}), "benign", 0)] == ["a"]


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"answer": NAN}, {"answer": None}), ({"category": NAN}, {"category": ""}),
        ({"context": NAN}, {"prompt": "What is a?"}), ({"context": " "}, {"prompt": "What is a?"}),
        ({"label": NAN}, {}), ({"label": ""}, {}), ({"turns": NAN}, {"turns": ()}), ({"options": NAN}, {"options": 0}),
        ({"answer": 0.1}, {"answer": "0.1"}), ({"answer": 72.0}, {"answer": "72"}), ({"answer": 0}, {"answer": "0"}),
        ({"answer": -0.5}, {"answer": "-0.5"}), ({"answer": 1e20}, {"answer": "100000000000000000000"}),
        ({"answer": ""}, {"answer": None}), ({"answer": " \n"}, {"answer": None}),
        ({"answer": "\u200b"}, {"answer": None}),
        ({"answer": "nan"}, {"answer": "nan"}), ({"category": 0}, {"category": "0"}),
        ({"category": 2.0}, {"category": "2"}),
        ({"context": 3.0}, {"prompt": "3\n\n---\n\nWhat is a?"}),
        ({"options": ["71", "72"], "answer": 72.0}, {"answer": "B"}),
        ({"options": ["True", "False"], "answer": False}, {"answer": "B"}),
        ({"options": ["0.10", "0.2"], "answer": 0.1}, {"answer": "A"}),
    ],
)
def test_values_become_texts(
    jsonl: Callable[..., PromptSet], changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    (found,) = load_set(jsonl([row("a", **changes)]), "benign", 0)
    assert found.model_dump(include=set(expected)) == expected


def test_float32_of_a_parquet_file(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {
        "id": pyarrow.array(["a", "b", "c"]), "prompt": pyarrow.array(["x", "y", "z"]),
        "answer": pyarrow.array([0.1, 72, NAN], pyarrow.float32()),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    source = FileSource(source="file", path=str(tmp_path / "t.parquet"))
    assert [p.answer for p in load_set(PromptSet(name="s", prompts=source), "benign", 0)] == ["0.1", "72", None]


@pytest.mark.parametrize("rows", [[], [""]])
def test_empty_set(jsonl: Callable[..., PromptSet], rows: list[Any]) -> None:
    with pytest.raises(InputError, match="'set' is empty"):
        load_set(jsonl(rows, only={"kind": "y"}), "benign", 0)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"id": "b"}, "no text in the field 'prompt'"),
        (row("b", prompt=""), "no text in the field 'prompt'"),
        (row("b", prompt=" \n"), "no text in the field 'prompt'"),
        (row("b", prompt=[SECRET]), "no text in the field 'prompt'"),
        ({"prompt": SECRET}, "the field 'id'"),
        (row("", prompt=SECRET), "the field 'id'"),
        (row(7, prompt=SECRET), "the field 'id'"),  # type: ignore[arg-type]
        (row("a/b", prompt=SECRET), "the field 'id'"),
        (row("a\nb", prompt=SECRET), "the field 'id'"),
        (row("\x1b[31m", prompt=SECRET), "the field 'id'"),
        (row("b" * 201, prompt=SECRET), "the field 'id'"),
        (row("b", answer=[SECRET]), "context, answer and category"),
        (row("b", context={"x": SECRET}), "context, answer and category"),
        ('{"id": "b", "prompt": "\\ud800 SECRET"}', "field 'prompt': half of a surrogate pair"),
        ('{"id": "b", "prompt": "SECRET", "answer": "\\udc00"}', "field 'answer': half of a surrogate pair"),
        ('{"id": "b", "prompt": "SECRET", "turns": ["\\ud800"]}', "field 'turns': half of a surrogate pair"),
        ('{"id": "b", "prompt": "SECRET", "prompt": "x"}', "the key 'prompt' occurs twice"),
        (row("b", prompt=NAN), "no text in the field 'prompt'"),
        (row("b", prompt="\u200b"), "no text in the field 'prompt'"),
        (row("b", answer=float("inf"), prompt=SECRET), "context, answer and category"),
        (row("b", answer=True, prompt=SECRET), "context, answer and category"),
        (f'{{"id": "b", "prompt": "{SECRET}"', "not valid JSON"),
        (f'["{SECRET}"]', "not an object"),
    ],
)
def test_bad_row_is_named_without_its_text(jsonl: Callable[..., PromptSet], bad: Any, problem: str) -> None:
    with pytest.raises(InputError, match=f"rows.jsonl, line 2: .*{problem}") as raised:
        load_set(jsonl([row("a"), bad]), "benign", 0)
    assert "SECRET" not in str(raised.value)


def test_ids_repeat(jsonl: Callable[..., PromptSet]) -> None:
    with pytest.raises(InputError, match=r"line 3: the id 'a' repeats .*line 1"):
        load_set(jsonl([row("a"), row("b"), row("a")]), "benign", 0)


def test_missing_file() -> None:
    with pytest.raises(InputError, match=r"Cannot read nowhere.jsonl"):
        load_set(PromptSet(name="s", prompts=FileSource(source="jsonl", path="nowhere.jsonl")), "benign", 0)


def micro(kind: str, count: int = 5, split: str = "train") -> PromptSet:
    return PromptSet(name="m", prompts=MicroSource(source="micro", kind=kind, split=split, count=count))


def test_micro_prompts() -> None:
    first = load_set(micro("harmful"), "harmful", 1)
    assert len(first) == 5
    assert {p.source for p in first} == {"m"}
    assert first == load_set(micro("harmful"), "harmful", 1)
    assert first != load_set(micro("harmful"), "harmful", 2)


@pytest.mark.parametrize(("kind", "label"), [("harmful", "benign"), ("safe-twin", "harmful"), ("benign", "harmful")])
def test_micro_prompts_of_another_label(kind: str, label: Any) -> None:
    with pytest.raises(InputError, match=f"used as {label}"):
        load_set(micro(kind), label, 1)


def test_micro_world_is_finite() -> None:
    with pytest.raises(InputError, match="'m': asked for 10000000 prompts, but only"):
        load_set(micro("harmful", 10_000_000), "harmful", 1)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what ``datasets`` caches out of the user's home and out of the data sets' folders."""
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set as the hub's, in a local folder."""
    root = tmp_path_factory.mktemp("hub")
    rows = [
        {"vanilla": f"What is {place}?", "label": label, "solution": place}
        for place, label in enumerate(["vanilla_harmful", "vanilla_benign", "adversarial_harmful", "vanilla_benign"])
    ]
    rows.append({"vanilla": None, "label": "broken", "solution": 9})
    (root / "train.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    return root


def hub(folder: Path, **changes: Any) -> PromptSet:
    given = {"source": "hub", "repo": str(folder)}
    fields = {"prompt": "vanilla"} | changes.pop("fields", {})
    return PromptSet(name="h", prompts=HubSource(**given, **changes, fields=fields))


def test_hub_data_set_in_a_folder(folder: Path) -> None:
    found = load_set(hub(folder, contains={"label": "harmful"}, fields={"category": "label"}), "harmful", 0)
    assert [(p.prompt, p.category, p.answer) for p in found] == [
        ("What is 0?", "vanilla_harmful", None), ("What is 2?", "adversarial_harmful", None),
    ]
    assert [p.id.rpartition("-")[0] for p in found] == ["h-000000", "h-000002"]
    assert found == load_set(hub(folder, contains={"label": "harmful"}, fields={"category": "label"}), "harmful", 0)
    found = load_set(hub(folder, only={"label": "vanilla_benign"}, fields={"answer": "solution"}, count=1), "benign", 0)
    assert [p.answer for p in found] in (["1"], ["3"])


def test_one_file_of_a_repository(tmp_path: Path) -> None:
    for name in ("question", "question_morse"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"turns": [f"of {name}"], "prompt_style": "base"}) + "\n")
    found = [row for _, row in hub_rows(str(tmp_path), "", "", "train", file="question.jsonl")]
    assert found == [{"turns": ["of question"], "prompt_style": "base"}]


def test_hub_numbers_are_what_they_stand_for(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {
        "question": ["a", "b", "c"], "answer": pyarrow.array([0.1, 72, NAN], pyarrow.float32()),
        "kind": pyarrow.array([1, 1, 2], pyarrow.float64()),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    fields = {"prompt": "question", "answer": "answer", "category": "kind"}
    found = load_set(hub(tmp_path, fields=fields), "benign", 0)
    assert [(p.answer, p.category) for p in found] == [("0.1", "1"), ("72", "1"), (None, "2")]
    assert len(load_set(hub(tmp_path, fields=fields, only={"kind": "1"}), "benign", 0)) == 2


def test_hub_answer_after_a_mark_and_suffix(tmp_path: Path) -> None:
    """GSM8K's form: the answer stands after the last ####."""
    rows = [
        {"question": "2 + 1?", "answer": "#### is next.\nAdd.\n#### 3"},
        {"question": "500 * 2?", "answer": "#### 1,000"},
    ]
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "test.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    given = {"fields": {"prompt": "question", "answer": "answer"}, "split": "test", "suffix": "\n\nBox it."}
    source = hub(tmp_path / "main", **given, answer_after="####")
    assert [(p.prompt, p.answer) for p in load_set(source, "benign", 0)] == [
        ("2 + 1?\n\nBox it.", "3"), ("500 * 2?\n\nBox it.", "1,000"),
    ]
    whole = load_set(hub(tmp_path / "main", **given), "benign", 0)
    assert whole[1].answer == "#### 1,000"
    assert [p.id for p in whole] == [p.id for p in load_set(source, "benign", 0)]


@pytest.mark.parametrize("mark", ["@@", "3"])
def test_hub_row_without_the_mark_or_with_nothing_after_it(tmp_path: Path, mark: str) -> None:
    (tmp_path / "train.jsonl").write_text('{"question": "2 + 1?", "answer": "#### 3"}\n')
    source = hub(tmp_path, fields={"prompt": "question", "answer": "answer"}, answer_after=mark)
    with pytest.raises(InputError, match=f"row 0: the field 'answer' has no answer after '{mark}'"):
        load_set(source, "benign", 0)


def test_hub_subset_of_tab_separated_files(tmp_path: Path) -> None:
    """WildJailbreak's form."""
    (tmp_path / "eval").mkdir()
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: train\n  data_files: train/*\n- config_name: eval\n  data_files: eval/*\n---\n"
    )
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "train.tsv").write_text("vanilla\tadversarial\tcompletion\tdata_type\na\tb\tc\td\n")
    (tmp_path / "eval" / "eval.tsv").write_text(
        'adversarial\tlabel\tdata_type\nHow, "so"?\t1\tadversarial_harmful\nWhy?\t0\tadversarial_benign\n'
    )
    source = hub(tmp_path, subset="eval", fields={"prompt": "adversarial"}, only={"data_type": "adversarial_harmful"})
    assert [p.prompt for p in load_set(source, "harmful", 0)] == ['How, "so"?']


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"fields": {"prompt": "prompt"}}, "no field 'prompt'. Its fields are: vanilla, label, solution"),
        ({"fields": {"answer": "answer"}}, "no field 'answer'"),
        ({"contains": {"lable": "x"}}, "no field 'lable'"),
        ({"split": "test"}, "Cannot load the data set"),
        ({"contains": {"label": "nothing"}}, "The filter contains: {label: 'nothing'} of the set 'h' matches no row"),
        ({"only": {"label": "broken"}}, "row 4: there is no text"),
    ],
)
def test_hub_data_set_that_does_not_fit(folder: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_set(hub(folder, **changes), "harmful", 0)
