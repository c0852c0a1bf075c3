"""Formats of stored rows: no change of the code behind one goes unnoticed, and no other change counts."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import format_digests
import pytest
from format_digests import BOTH, LEFT_OUT, RECORDED, changed, closure, code_digest, path_of, shape

from thinksafe.config.model import GuardSettings
from thinksafe.run.formats import FORMATS, format_of

BEFORE = """
from __future__ import annotations
from thinksafe.judging.boxes import boxes

def grade(text: str, n: int = 3) -> bool:
    \"\"\"Grade a text.\"\"\"
    found: list[str] = boxes(text)
    if not found:
        raise ValueError(f"No box in {n} lines.")
    return len(found) >= n
"""


def of(text: str) -> str:
    return code_digest({"module": ast.parse(text)})


def test_the_code_behind_every_format_is_what_was_recorded() -> None:
    names = changed(RECORDED.read_text("utf-8"))
    assert not names, BOTH.format(names=", ".join(names))


def test_one_line_a_format() -> None:
    assert [line.rsplit(" ", 2)[0] for line in RECORDED.read_text("utf-8").splitlines()] == list(FORMATS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Grade a text.", "Say whether a text is right."),
        ("found: list[str] =", "found ="),
        ("text: str,", "text: bytes,"),
        ("    if not", "\n    # nothing to grade\n    if not"),
        ("No box in {n} lines.", "There is no box in {n} lines."),
        ("thinksafe.judging.boxes", "thinksafe.judging.grading.boxes"),
        ("from __future__ import annotations", ""),
    ],
)
def test_what_changes_no_row_changes_no_digest(old: str, new: str) -> None:
    assert old in BEFORE
    assert of(BEFORE.replace(old, new)) == of(BEFORE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (">= n", "> n"),
        ("n: int = 3", "n: int = 4"),
        ("import boxes", "import letters as boxes"),
        ("if not found", "if found"),
        ("ValueError", "KeyError"),
    ],
)
def test_what_may_change_rows_changes_the_digest(old: str, new: str) -> None:
    assert old in BEFORE
    assert of(BEFORE.replace(old, new)) != of(BEFORE)


def test_the_annotation_of_a_field_counts() -> None:
    fields = [shape(ast.parse(f"class A:\n    length: {kind} = 3")) for kind in ("int", "float")]
    assert fields[0] != fields[1]


def test_the_shape_of_a_row_counts() -> None:
    sources = {"module": ast.parse(BEFORE)}
    assert code_digest(sources, "Grade") != code_digest(sources, "Verdict")


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("sample", {"stages.sample", "sampling.engines.vllm", "methods.steering", "models.loading", "traces"}),
        ("judge", {"stages.judge", "judging.guards.base", "judging.guards.second", "traces"}),
        ("guard micro-exact", {"judging.guards.exact", "micro.guard", "micro.arithmetic"}),
        ("guard llama-guard-3", {"judging.guards.rendering", "judging.guards.backends", "judging.guards.refusal"}),
        ("grade", {"judging.answers.equality", "judging.answers.letters", "benchmarks.options"}),
        ("train", {"training.fit", "training.objectives.kl", "training.data", "training.node", "models.loading"}),
    ],
)
def test_the_closure_has_what_makes_the_rows(name: str, modules: set[str]) -> None:
    assert modules <= set(closure(FORMATS[name].module))


def test_a_guard_has_nothing_of_another() -> None:
    assert not {"judging.guards.exact", "judging.guards.wildguard"} & set(closure("judging.guards.llama_guard"))
    assert not {"judging.guards.exact", "judging.guards.llama_guard"} & set(closure("stages.judge"))


def test_every_guard_has_a_format() -> None:
    kinds = get_args(GuardSettings.model_fields["kind"].annotation)
    assert {f"guard {kind}" for kind in kinds} <= set(FORMATS)


def test_what_is_left_out_exists() -> None:
    root = format_digests.ROOT
    assert all(path_of(module) or (root / module).is_dir() for module in LEFT_OUT)
    assert all(path_of(row_format.module) for row_format in FORMATS.values())


def test_a_module_that_is_started_by_name_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.py").write_text('command = ["python", "-m", "thinksafe.two"]\n')
    (tmp_path / "two.py").write_text("def run():\n    from thinksafe import three\n")
    (tmp_path / "three.py").write_text("")
    monkeypatch.setattr(format_digests, "ROOT", tmp_path)
    assert set(closure("one")) == {"one", "two", "three"}


def test_keys_hold_name_and_number() -> None:
    assert format_of("sample") == f"sample {FORMATS['sample'].number}"
    with pytest.raises(KeyError):
        format_of("nothing")
