from __future__ import annotations

import re
from typing import TYPE_CHECKING

from thinksafe.report.svg import COLOURS, C, chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drawn(text: str = "a", name: str = "one") -> str:
    def draw(figure: Figure, width: int) -> int:
        axes = figure.subplots()
        axes.errorbar([1], [2], xerr=[[1], [1]], fmt="o", color=C["candidate"], clip_on=True)
        axes.plot([1, 2], [3, 4], color=C["base"], label=text)
        axes.legend()
        axes.set_title(text)
        return 200

    return str(chart(name, f"What {text} says", draw))


def test_two_sizes_share_no_ids_and_are_the_same_every_time() -> None:
    picture = drawn()
    assert picture == drawn()
    assert 'class="chart wide"' in picture
    assert 'class="chart narrow"' in picture
    ids = re.findall(r'\bid="([^"]+)"', picture)
    assert len(ids) == len(set(ids)) > 20
    for target in re.findall(r'(?:href="#|url\(#)([^")]+)', picture):
        assert target in ids
    assert not set(ids) & set(re.findall(r'\bid="([^"]+)"', drawn(name="two")))


def test_colours_and_typeface_come_from_the_page() -> None:
    picture = drawn()
    assert "var(--chart-candidate)" in picture
    assert "DejaVu" not in picture
    assert not any(colour in picture for colour in C.values())
    assert len(set(C.values())) == len(COLOURS)
    for forbidden in ("<style", "<metadata", "xlink", "<?xml", "<!DOCTYPE", "http://"):
        assert forbidden not in picture


def test_text_is_escaped_and_never_read_as_mathematics() -> None:
    picture = drawn("<script>$\\frac{1}$ \" & #0a0b15")
    assert "<script" not in picture
    assert "&lt;script&gt;$\\frac{1}$" in picture
    assert "#0a0b15" in picture
