"""Values of answers: what is equal, what differs, and what is read whole or not at all."""

from __future__ import annotations

import pytest

from thinksafe.judging.answers.reading import described, equal, is_words, read


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("72", "72.00"),
        ("72", "72."),
        ("72", "$72"),
        ("72", "\\$72"),
        ("1000", "1,000"),
        ("1000", "1{,}000"),
        ("1000", "1\\,000"),
        ("1000", "1 000"),
        ("72", "72\\%"),
        ("0.72", "72%"),
        ("90", "90^\\circ"),
        ("18", "18\\text{ dollars}"),
        ("18", "\\text{18 dollars}"),
        ("72", "72, because he sold all"),
        ("72", "exactly 72 in total"),
        ("72", "72 (a lot)"),
        ("72", "72 km/h"),
        ("72", "72 m/s."),
        ("72", "$72/week"),
        ("72", "72, as 8 times 9 is 72"),
        ("72", "72 apples (8 times 9)"),
        ("72", "≈ 72"),
        ("540", "540 cents ($5.40)"),
        ("A", "(A)"),
        ("B", "\\text{B}"),
        ("\\text{Evelyn}", "Evelyn"),
        ("5/2", "2 1/2"),
        ("14/3", "4 2/3"),
        ("3.5", "3½"),
        ("100000", "10⁵"),
        ("2\\sqrt3", "2√3"),
        ("\\sqrt{5}", "√5"),
        ("0.0015", "1.5e-3"),
        ("0.0015", "1.5\u00d710⁻³"),
        ("-6", "negative 6"),
        ("-6", "minus 6"),
        ("70000", "70 thousand"),
        ("70000000", "70 million"),
        ("12.5", "12 and a half"),
        ("36", "6 squared"),
        ("50\\%", "0.5"),
        ("50\\%", "1/2"),
        ("1/2", "50\\%"),
        ("4\\sqrt{3}", "4\\sqrt(3)"),
        ("1-\\frac1e", "1-\\frac{1}{\\mathrm e}"),
        ("3+4i", "3+4\\mathrm{i}"),
        ("30", "5\\binom{4}{2}"),
        ("2", "\\sqrt[3](8)"),
        ("\\pi", "\\uppi"),
        ("2x", "2\\mathbf{x}"),
        ("\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}", "\\begin{pmatrix}\n0.2\\\\\n-\\frac{18}{5}\n\\end{pmatrix}"),
        ("\\frac{14}{3}", "\\mathbf{\\frac{14}{3}}"),
        ("\\frac{14}{3}", "\\frac{14}{3}."),
        ("(3,4)", "\\big(3,4\\big)"),
        ("6-5i", "6-5\\cdot i"),
        ("(-\\infty,0]", "x\\le 0"),
        ("2516_8", "2516_8"),
        ("2516_8", "2516_{8}"),
        ("y=2x+3", "2x-y+3=0"),
        ("y = 2x + 3", "2x+3"),
        ("x \\in [-2,7]", "[-2,7]"),
        ("[-2,7]", "-2\\le x\\le 7"),
        ("864 \\mbox{ inches}^2", "864"),
        ("10,\\!080", "10080"),
        ("-2,1", "x=1 or x=-2"),
        ("-2,1", "1 \\text{ and } -2"),
        ("\\frac 34", "0.75"),
        ("\\cot x", "\\frac{\\cos x}{\\sin x}"),
        ("(2,\\infty)", "x>2"),
        ("\\text{(C)}", "C"),
        ("\\frac{1}{\\sqrt3}", "\\frac{\\sqrt{3}}{3}"),
        ("12", "twelve"),
        ("21", "twenty-one"),
        ("125", "one hundred and twenty-five"),
        ("0.75", "three quarters"),
        ("0.75", "three-fourths"),
        ("2.5", "two and a half"),
        ("1+2\\sqrt3", "2\\sqrt{3}+1"),
("\\{1,2\\}", "\\{2,1\\}"),
        ("1\\pm\\sqrt2", "1+\\sqrt2, 1-\\sqrt{2}"),
        ("(x+1)^2", "x^2+2x+1"),
        ("3:4", "3:4"),
        ("5", "x=5"),
        ("5", "x = 2+3 = 5"),
        ("x=5", "5"),
        ("0.\\overline{3}", "1/3"),
        ("\\frac{1}{3}", "0.333333"),
        ("f(x)=2x", "2x"),
        ("\\log_2 8", "3"),
        ("\\sin 30^\\circ", "0.5"),
        ("|x|", "\\left|x\\right|"),
        ("6", "3!"),
        ("12\\pi", "12π cm^2"),
        ("60", "60 miles per hour"),
        ("12", "12 cm"),
        ("5", "5 m"),
        ("5.4 \\text{ cents}", "5.4"),
        ("\\text{June 20}", "June 20"),
        ("x^{-1}", "1/x"),
        ("\\$18.90", "18.90"),
        ("2+2", "4"),
        ("\\begin{cases}a\\\\b\\end{cases}", "\\begin{cases} a \\\\ b \\end{cases}"),
        ("72", "**72**"),
        ("1/2", "\\dfrac{1}{2}"),
        ("1/2", "\\frac12"),
        ("25", "025"),
        ("0.5", ".5"),
        ("p-q", "-q+p"),
        ("\\mathbb{R}", "(-\\infty,\\infty)"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\pi/2)"),
        ("5", "5 apples and that is all"),
        ("(-\\infty,2)\\cup(2,\\infty)", "x \\ne 2"),
        ("(-\\infty,1)\\cup(3,\\infty)", "x<1 or x>3"),
        ("\\text{even}", "even"),
        ("3", "$3$ apples"),
        ("6", "6, not 7"),
        ("6", "6 (not 7)"),
    ],
)
def test_one_value_in_two_forms(reference: str, answer: str) -> None:
    assert equal(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("72", "73"),
        ("12", "1,2"),
        ("72", "not 72"),
        ("72", "72 and 73"),
        ("72", "7 2"),
        ("72", "72x"),
        ("72", "72 + 1"),
        ("72", "72 or 73"),
        ("72", "72/3"),
        ("2", "2(3)"),
        ("3", "3 x"),
        ("70", "70 million"),
        ("12", "12 and a half"),
        ("6", "6 squared"),
        ("540", "540!"),
        ("6", "half of 6"),
        ("6", "twice 6"),
        ("6", "more than 6"),
        ("6", "no solution for 6"),
        ("5", "5/s"),
        ("50", "5000%"),
        ("4", "4\\sqrt(3)"),
        ("1", "1-\\frac{1}{\\mathrm e}"),
        ("7", "3+4\\mathrm{i}"),
        ("5", "5\\binom{4}{2}"),
        ("2", "2\\operatorname{foo}(x)"),
        ("2", "2\\uppi"),
        ("2", "2\\mathbf{x}"),
        ("(5,\\infty)", "(5,\\infty]"),
        ("2516_8", "2516_9"),
        ("\\text{listen}", "silent"),
        ("\\frac{1}{2^{90}}", "\\frac{1}{2^{91}}"),
        ("6.6\\times10^{-34}", "1.1\\times10^{-34}"),
        ("6", "6 is wrong"),
        ("6", "between 6 and 7"),
        ("5", "about 5 or 6"),
        ("\\text{Evelyn}", "Marcus"),
        ("(0,1)", "[0,1]"),
        ("\\frac13", "0.333"),
        ("x=5", "y=5"),
        ("3", "9^{9^{9^9}}"),
        ("5", "5 m/s x"),
        ("10 \\text{ cm}", "10 \\text{ m}"),
        ("7", "7 more than that"),
        ("|x|", "x"),
        ("1000", "1,00"),
        ("1", "1. Count"),
        ("2", "II"),
        ("5", "1, as 5 is"),
        ("5", "2+2=5"),
        ("6", "2 \\text{ dozen}"),
        ("12", "12 (mod 13)"),
        ("12", "12 \\pmod{13}"),
        ("2\\sqrt3", "2"),
        ("\\frac{14}{3}", "14"),
        ("(1,2)", "(2,1)"),
        ("6", "6 or so x"),
    ],
)
def test_another_value(reference: str, answer: str) -> None:
    assert not equal(reference, answer)


@pytest.mark.parametrize(
    ("text", "described_as"),
    [
        ("4 \\frac{2}{3}", "4 + 2/3"), ("12 cm", "12 (unit: cm)"), ("x=5", "x = 5"), ("50\\%", "50%"),
        ("(1,2]", "(1, 2]"), ("\\{1,2\\}", "{1, 2}"), ("2516_8", "2516 in base 8"),
        ("\\text{Evelyn}", "words evelyn"), ("-\\sqrt{2}", "-root(2, 2)"),
    ],
)
def test_a_value_is_described_for_people(text: str, described_as: str) -> None:
    value = read(text)
    assert value is not None
    assert described(value) == described_as


@pytest.mark.parametrize(
    "text", ["12 \\pmod{13}", "\\foo", "2\\operatorname{foo}(x)", "(1", "7 2", "5 or", "1. Count", "", "half of 6"]
)
def test_what_is_not_read_whole_has_no_value(text: str) -> None:
    value = read(text)
    assert value is None or value.node is None


def test_the_same_unreadable_text_is_equal() -> None:
    text = "\\begin{cases} x & y \\\\ z & w \\end{cases}"
    assert read(text) is None
    assert equal(text, text.replace(" ", ""))
    assert not equal(text, text.replace("x", "q"))


def test_words_are_told_from_mathematics() -> None:
    assert is_words("\\text{east}")
    assert not is_words("p - q")
