"""Measure the grader on many values in many styles, right and wrong, beside plain math-verify.

    python tests/support/grading_measure.py [EVERY]    writes the table into docs/grading.md; every EVERY-th case
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from answer_styles import CHOICES, STYLES
from answer_values import EXPRESSIONS, NUMBERS, Answer

from thinksafe.judging.grading import judge_answer

FEWEST = 4
"""Fewest responses of each kind in a style for a row about the worst of them."""
PAGE = Path(__file__).parents[2] / "docs" / "grading.md"
BEGIN, END = "<!-- measured: written by tests/support/grading_measure.py -->", "<!-- end of measured -->"


@dataclass(frozen=True)
class Case:
    """One response to one problem."""

    family: str
    style: str
    reference: str
    response: str
    right: bool
    options: int = 0


@dataclass
class Counts:
    """How many right and wrong responses there were, and how many of each were accepted."""

    seen: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    accepted: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})

    def add(self, right: bool, accepted: bool) -> None:
        self.seen[right] += 1
        self.accepted[right] += accepted

    def include(self, other: Counts) -> None:
        """Add the counts of another."""
        for right in (True, False):
            self.seen[right] += other.seen[right]
            self.accepted[right] += other.accepted[right]

    def share(self, right: bool) -> float:
        """Return the share of the right (or wrong) responses that were accepted, in per cent."""
        return 100 * self.accepted[right] / self.seen[right] if self.seen[right] else 0.0


def cases(every: int = 1, start: int = 0) -> Iterator[Case]:
    """Yield every n-th case: all values in all styles, in another order of styles for each value."""
    number = start
    for family, answers in (("expression", EXPRESSIONS), ("number", NUMBERS)):
        for answer in answers:
            for form, right in _forms(answer):
                for style in STYLES:
                    number += 1
                    if number % every == 0 and not (style == "corrected" and "77" in form):
                        yield Case(family, style, answer.reference, stated(form, style), right)
    for style, text in CHOICES.items():
        for reference in "ABCD":
            for said in "ABCD":
                yield Case("letter", style, reference, text.format(a=said), said == reference, 4)


def _forms(answer: Answer) -> Iterator[tuple[str, bool]]:
    yield from ((form, True) for form in dict.fromkeys((answer.reference, *answer.right)))
    yield from ((form, False) for form in answer.wrong)


def stated(form: str, style: str) -> str:
    """Return a response that states an answer; LaTeX becomes a formula, plain text stays."""
    latex = any(sign in form for sign in "\\^_{=<>") and not form.startswith("\\$")
    return STYLES[style].format(a=form, m=f"${form}$" if latex and "boxed" not in form else form)


def by_math_verify(case: Case) -> bool:
    """Return what math-verify says of a whole response."""
    from math_verify import parse, verify

    return bool(verify(parse(f"${case.reference}$"), parse(case.response)))


def measured(rows: list[Case], *, beside: bool) -> dict[tuple[str, str], tuple[Counts, Counts]]:
    """Return by family and style what our grader accepts, and (if ``beside``) what math-verify does."""
    found: dict[tuple[str, str], tuple[Counts, Counts]] = {}
    for case in rows:
        ours, theirs = found.setdefault((case.family, case.style), (Counts(), Counts()))
        ours.add(case.right, judge_answer(case.response, case.reference, case.options).correct)
        if beside and not case.options:
            theirs.add(case.right, by_math_verify(case))
    return found


def total(found: dict[tuple[str, str], tuple[Counts, Counts]], family: str, which: int) -> Counts:
    """Return the counts of a family over all its styles."""
    counts = Counts()
    for (name, _), pair in found.items():
        if name == family:
            counts.include(pair[which])
    return counts


def table(found: dict[tuple[str, str], tuple[Counts, Counts]]) -> str:
    """Return the generated part of docs/grading.md: all styles of a family together, and the worst of them."""
    heads = "| responses | right, accepted | by math-verify | wrong, accepted | by math-verify |"
    lines = [BEGIN, "", heads, "| --- " * 5 + "|"]
    for family in ("expression", "number", "letter"):
        pairs = [pair for (name, _), pair in found.items() if name == family]
        whole = [total(found, family, which) for which in (0, 1)]
        count = f"{whole[0].seen[True] + whole[0].seen[False]:,} {family}s"
        lines.append(f"| {count} in {len(pairs)} styles | {_cells([[each] for each in whole])} |")
        if min(seen for ours, _ in pairs for seen in ours.seen.values()) >= FEWEST:
            by_style = [[pair[which] for pair in pairs] for which in (0, 1)]
            lines.append(f"| {family}s, worst style | {_cells(by_style)} |")
    return "\n".join([*lines, "", END])


def _cells(counts: list[list[Counts]]) -> str:
    """Return what was accepted of the right responses (the least) and of the wrong ones (the most), by grader."""
    cells = []
    for right, worst in ((True, min), (False, max)):
        for each in counts:
            shares = [count.share(right) for count in each if count.seen[right]]
            cells.append(f"{worst(shares):.1f} %" if shares else "")
    return " | ".join(cells)


def main() -> None:
    """Write the table into the page."""
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    found = measured(list(cases(every)), beside=True)
    text = PAGE.read_text("utf-8")
    PAGE.write_text(text.split(BEGIN)[0] + table(found) + text.split(END)[1], "utf-8")


if __name__ == "__main__":
    main()
