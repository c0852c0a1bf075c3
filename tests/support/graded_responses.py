"""Seeded responses to problems, in the many forms in which models state answers: right, wrong, hedged, cut.

Used to compare the project's grading with math-verify and with lm-eval's filters (``grading_agreement``).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Family = Literal["number", "expression", "choice"]
COUNT = 500

# how an answer is stated: {a} as it is written, {w} the same inside a box
NUMBER_FORMS = (
    "So the total is {a}.\n#### {a}", "#### {a}", "Adding it all up gives the result.\n\n#### ${a}",
    "The answer is {a}.",
    "The answer is {a}", "Therefore, the answer is {a} apples.", "The answer is ${a}.", "The final answer is: {a}",
    "**Answer:** {a}", "**Final Answer:** ${a}$", "**Final Answer**\n\n\\[\\boxed{{{w}}}\\]", "\\boxed{{{w}}}",
    "Thus she has $\\boxed{{{w}}}$ left.", "We get \\(\\boxed{{{w}}}\\).", "The answer is $\\boxed{{{w}}}$.",
    "In total that is \\boxed{{{w}\\text{{ apples}}}}.", "It comes to \\boxed{{\\${w}}}.",
    "She has {a} of them in the end.",
    "First I wrote 3 and then 4, but the sum is {a}.", "**{a}**", "{a}", "The answer should be {a}.",
    "Answer: {a} euros in all", "After 2 days and 5 nights the answer is {a}.",
)
EXPRESSION_FORMS = (
    "$\\boxed{{{w}}}$", "\\boxed{{{w}}}", "Therefore \\[\\boxed{{{w}}}\\]",
    "So we find $x = 3$ first, and then $\\boxed{{{w}}}$.",
    "The answer is $\\boxed{{{w}}}$.", "The answer is \\(\\boxed{{{w}}}\\), as was to be shown.",
    "**Final Answer**\n\n\\[\\boxed{{{w}}}\\]", "Final Answer: The final answer is ${w}$. I hope it is correct.",
    "We first tried $\\boxed{{0}}$, which fails. Hence $\\boxed{{{w}}}$.", "The answer is ${w}$.",
)
CHOICE_FORMS = (
    "The answer is ({a}).", "The answer is {a}.", "The correct answer is ({a})", "**Answer:** ({a})", "({a})",
    "Option ({a}) is the only one that fits.", "The answer is **({a})**.", "$\\boxed{{({a})}}$",
    "\\boxed{{\\text{{({a})}}}}",
    "Of these, (A) is too small, (D) too large. The answer is ({a}).", "So it must be ({a}).", "Answer: {a}",
    "Final answer: {a}", "The answer is: ({a})", "The best choice is ({a}), because the units match.",
)
# as the reference has it: as models may write it
EXPRESSIONS = {
    "\\frac{1}{2}": ("\\frac{1}{2}", "\\dfrac{1}{2}", "0.5", "1/2", "\\frac12"),
    "\\frac{14}{3}": ("\\frac{14}{3}", "\\dfrac{14}{3}", "14/3"),
    "-\\frac{3}{4}": ("-\\frac{3}{4}", "-0.75", "-\\tfrac{3}{4}"),
    "2\\sqrt{5}": ("2\\sqrt{5}", "2 \\sqrt{5}", "\\sqrt{20}"),
    "\\sqrt{13}": ("\\sqrt{13}", "\\sqrt{13}"),
    "3\\pi": ("3\\pi", "3 \\pi"),
    "\\left( 3, \\frac{\\pi}{2} \\right)": ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\frac{\\pi}{2})"),
    "(-2,1)": ("(-2,1)", "(-2, 1)", "\\left(-2, 1\\right)"),
    "[2,5)": ("[2,5)", "[2, 5)"),
    "x^2+2x-3": ("x^2+2x-3", "x^2 + 2x - 3", "(x+3)(x-1)"),
    "6 - 5i": ("6 - 5i", "6-5i"),
    "p - q": ("p - q", "-q+p"),
    "\\text{Evelyn}": ("\\text{Evelyn}", "Evelyn"),
    "\\begin{pmatrix} 1 \\\\ -2 \\end{pmatrix}": ("\\begin{pmatrix} 1 \\\\ -2 \\end{pmatrix}",
    "\\begin{pmatrix}1\\\\-2\\end{pmatrix}"),
    "10\\%": ("10\\%", "10"),
    "90^\\circ": ("90^\\circ", "90"),
    "2^{10}": ("1024", "2^{10}"),
    "5": ("5", "x=5", "5.0"),
}
WRONG_EXPRESSIONS = ("\\frac{2}{7}", "7\\sqrt{3}", "(4, -9)", "x^2-1", "\\pi + 11", "123", "\\text{Marcus}")
THOUGHT = (
    "Let me think. There are {x} and {y} to begin with.", "Perhaps it is \\boxed{{{x}}}? No, that forgets the rest.",
    "The answer is {y}, or is it?", "I check this again: {x} + {y} does not give it.", "Wait, option (B) or (C)?",
    "Now all is clear.",
)


@dataclass(frozen=True)
class Response:
    """One response to a problem."""

    id: str
    family: Family
    reference: str
    response: str
    options: int = 0


def responses(seed: int = 20_24, count: int = COUNT) -> list[Response]:
    """Return ``count`` responses, two fifths numbers, two fifths expressions, one fifth letters."""
    draw = random.Random(seed)
    found = []
    for place in range(count):
        family: Family = ("number", "number", "expression", "expression", "choice")[place % 5]
        right = draw.random() < 0.6
        reference, text = {"number": _number, "expression": _expression, "choice": _choice}[family](draw, right)
        options = 4 if family == "choice" else 0
        found.append(Response(f"{family}-{place:03d}", family, reference, _with_thought(draw, text), options))
    return found


def _number(draw: random.Random, right: bool) -> tuple[str, str]:
    value = draw.choice((draw.randint(1, 99), draw.randint(100, 9_999), draw.randint(10_000, 2_000_000)))
    said = value if right else value + draw.choice((-10, -1, 1, 7, 100))
    form = draw.choice(NUMBER_FORMS)
    written = draw.choice((str(said), f"{said:,}", str(said)))
    if "{w}" in form:
        written = draw.choice((written, f"{said}.00", f"{said:,}".replace(",", "{,}")))
        if form.endswith("{{{w}}}"):
            written = draw.choice((written, f"{said}."))
    return str(value), form.format(a=written, w=written)


def _expression(draw: random.Random, right: bool) -> tuple[str, str]:
    reference = draw.choice(sorted(EXPRESSIONS))
    said = draw.choice(EXPRESSIONS[reference] if right else WRONG_EXPRESSIONS)
    return reference, draw.choice(EXPRESSION_FORMS).format(w=said)


def _choice(draw: random.Random, right: bool) -> tuple[str, str]:
    reference = draw.choice("ABCD")
    said = reference if right else draw.choice([letter for letter in "ABCD" if letter != reference])
    return reference, draw.choice(CHOICE_FORMS).format(a=said)


def _with_thought(draw: random.Random, answer: str) -> str:
    """Put a thought in front: with both tags, as R1-Distill writes it (closing tag only), or unfinished."""
    thought = " ".join(
        draw.choice(THOUGHT).format(x=draw.randint(2, 90), y=draw.randint(2, 90)) for _ in range(draw.randint(1, 5))
    )
    kind = draw.random()
    if kind < 0.06:
        return f"<think>\n{thought[: draw.randint(10, len(thought))]}"
    return f"{'<think>' if kind < 0.6 else ''}\n{thought}\n</think>\n\n{answer}"
