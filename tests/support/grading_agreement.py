"""Compare the project's grading with math-verify and with lm-eval on generated responses.

    python tests/support/grading_agreement.py      writes the result into docs/grading.md
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from graded_responses import Response, responses
from lm_eval_environment import lm_eval_python

from thinksafe.judging.grading import grade
from thinksafe.records import Grade, Prompt, Sample, SamplingSettings
from thinksafe.traces import split

PAGE = Path(__file__).parents[2] / "docs" / "grading.md"
BEGIN, END = "<!-- agreement: written by tests/support/grading_agreement.py -->", "<!-- end of agreement -->"

WHY = (
    (r"\.\}", "a full stop after a number: `\\boxed{98.}` is 98 to people, and no number to math-verify"),
)
"""What explains a disagreement, by a pattern of the response; one without an explanation fails the test."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """One response and what each grader says of it."""

    row: Response
    ours: Grade
    lm_eval: dict[str, bool]
    """By filter or metric."""
    math_verify: bool | None
    """None for letters, which math-verify does not read."""

    @property
    def disagrees(self) -> bool:
        """Whether ours is not what math-verify says, or right where none of lm-eval's is, or wrong where one is not."""
        return self.ours.correct != any(self.lm_eval.values()) or self.math_verify not in (None, self.ours.correct)

    @property
    def why(self) -> str:
        """Return the explanation of a disagreement, "" where there is none."""
        if self.ours.truncated:
            return "the thought is unfinished, which is wrong here; lm-eval reads what it holds"
        answer = self.row.response.rpartition("</think>")[2]
        return next((text for pattern, text in WHY if re.search(pattern, answer, re.IGNORECASE)), "")


def compare(rows: Iterable[Response]) -> list[Compared]:
    """Grade responses in all ways. Raises RuntimeError when lm-eval cannot be installed."""
    rows = list(rows)
    python = lm_eval_python()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "responses"), Path(folder, "grades")
        source.write_text("".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows), "utf-8")
        script = Path(__file__).with_name("lm_eval_grades.py")
        # isolated: the environment must not see the project's packages
        subprocess.run([python, "-I", "-W", "ignore", script, source, target], check=True, capture_output=True)
        graded = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [item["id"] for item in graded] == [row.id for row in rows]
    return [
        Compared(row, _ours(row), item["grades"], None if row.options else _math_verify(row))
        for row, item in zip(rows, graded, strict=True)
    ]


def _ours(row: Response) -> Grade:
    prompt = Prompt(id=row.id, prompt="?", label="benign", source="s", answer=row.reference, options=row.options)
    return grade(
        Sample(
            id=row.id, prompt=prompt, index=0, arm="plain", response=row.response, finish="stop", tokens=1,
            prompt_tokens=1, seed=0, settings=SamplingSettings(),
        ),
        "think",
    )


def _math_verify(row: Response) -> bool:
    """Return what math-verify says of a whole answer; an unfinished thought has none."""
    from math_verify import parse, verify

    trace = split(row.response, "think")
    return trace.complete and bool(verify(parse(f"${row.reference}$"), parse(trace.answer)))


def section(compared: list[Compared]) -> str:
    """Return the generated part of docs/grading.md."""
    lines = [BEGIN, "", "| measure | responses | same verdict |", "| --- | --- | --- |"]
    read = [item for item in compared if item.math_verify is not None]
    rows = [
        ("any of lm-eval's for the kind of problem", [i.ours.correct == any(i.lm_eval.values()) for i in compared]),
        ("math-verify on the whole answer", [i.math_verify == i.ours.correct for i in read]),
    ]
    for name in sorted({name for item in compared for name in item.lm_eval}):
        for family in ("number", "expression", "choice"):
            found = [i for i in compared if i.row.family == family and name in i.lm_eval]
            if found:
                rows.append((f"lm-eval, {family}: {name}", [i.lm_eval[name] == i.ours.correct for i in found]))
    lines += [f"| {name} | {len(same)} | {100 * sum(same) / len(same):.1f} % |" for name, same in rows]
    lines += [
        "", "Every disagreement in the first two rows:", "",
        "| response | reference | answer ends with | ours | why |", "| --- | --- | --- | --- | --- |",
    ]
    for item in compared:
        if item.disagrees:
            end = item.row.response.splitlines()[-1][-60:].replace("|", "\\|")
            ours = "right" if item.ours.correct else "wrong"
            lines.append(f"| {item.row.id} | `{item.row.reference}` | `{end}` | {ours} | {item.why} |")
    truncated = sum(item.ours.truncated for item in compared)
    right = sum(item.ours.correct for item in compared)
    lines += ["", f"{len(compared)} responses, {right} right, {truncated} with an unfinished thought (wrong).", "", END]
    return "\n".join(lines)


def main() -> None:
    """Write the result into the page."""
    text = PAGE.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(before + section(compare(responses())) + after, "utf-8")


if __name__ == "__main__":
    main()
