"""Matplotlib figures as inline SVG that takes its colours and typeface from the page.

A figure is drawn in placeholder colours, one for each name in :data:`COLOURS`. Here they become CSS variables, so that
the same picture is legible in light mode, in dark mode and on paper.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (
    "ink", "muted", "grid", "paper", "region", "base", "candidate", "champion", "accepted", "r1", "r2", "r3", "r4",
)
C = {name: f"#0a0b{number:02x}" for number, name in enumerate(COLOURS, start=16)}
"""Placeholder colour by name; the page defines ``--chart-<name>``."""

_NAMES = {colour: name for name, colour in C.items()}

C |= {"evaluated": C["candidate"], "previous": C["base"]}

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "thinksafe",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.color": C["ink"],
    "axes.labelcolor": C["muted"],
    "axes.edgecolor": C["muted"],
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.titleweight": "bold",
    "axes.labelsize": 12,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": C["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": C["muted"],
    "ytick.color": C["muted"],
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "figure.facecolor": "none",
    "figure.dpi": 72,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "hatch.color": C["paper"],
    "lines.linewidth": 1.6,
}
"""One unit is one CSS pixel: 72 dots per inch, sizes in points."""


def chart(name: str, alt: str, draw: Callable[[Figure, int], int], widths: tuple[int, ...] = (1008, 340)) -> Markup:
    """Draw a figure once for wide and once for narrow pages; CSS shows one of them.

    Args:
        name: Prefix of the SVG's ids, unique on the page.
        alt: Text alternative for readers who cannot see the picture.
        draw: Fills a figure of the given width in pixels and returns the height it needs.
        widths: Width in pixels of each variant, widest first.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    drawn = []
    with matplotlib.rc_context(STYLE):
        for width, size in zip(widths, ("wide", "narrow"), strict=False):
            figure = Figure(layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.06, hspace=0.04))
            canvas = FigureCanvasSVG(figure)
            height = draw(figure, width)
            figure.set_size_inches(width / 72, height / 72)
            text = io.StringIO()
            with warnings.catch_warnings():
                # the reader's typeface draws the text; the one here only measures it
                warnings.filterwarnings("ignore", message="Glyph")
                metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
                canvas.print_svg(text, metadata=metadata)  # type: ignore[no-untyped-call]
            drawn.append(_inline(text.getvalue(), f"{name}-{size}", size, alt, width))
    return Markup("").join(drawn)


def standalone(picture: Markup) -> bytes:
    """Return the wide variant of a picture as an SVG file of its own, in the light colours of the page."""
    style = (resources.files("thinksafe.report") / "templates" / "report.css").read_text("utf-8")
    values = dict(re.findall(r"(--[\w-]+): ([^;]+);", style.split("@media")[0]))

    def value(found: re.Match[str]) -> str:
        return re.sub(r"var\((--[\w-]+)\)", value, values[found[1]]).replace('"', "'")

    wide = picture[: picture.index("</svg>") + len("</svg>")]
    filled = re.sub(r"var\((--[\w-]+)\)", value, wide)
    root = '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif"'
    filled = filled.replace("<svg", root, 1)
    return filled.replace('style="max-width', 'style="background: #ffffff; max-width', 1).encode()


def _inline(document: str, prefix: str, size: str, alt: str, width: int) -> Markup:
    root = ElementTree.fromstring(document)  # noqa: S314 - just written by matplotlib
    for parent in root.iter():
        for child in list(parent):
            if child.tag.rsplit("}")[-1] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rsplit("}")[-1]
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            element.attrib[key.rsplit("}")[-1]] = _attribute(key.rsplit("}")[-1], value, prefix)
    attributes = {"viewBox": root.attrib["viewBox"]}
    root.attrib.clear()
    root.attrib.update(attributes)
    root.attrib["class"] = f"chart {size}"
    root.attrib["role"] = "img"
    root.attrib["style"] = f"max-width: {width}px"
    body = ElementTree.tostring(root, encoding="unicode").removeprefix("<svg")
    # the text was made from cleaned strings and is escaped by the serialiser
    return Markup('<svg aria-label="{}"').format(escape(alt)) + Markup(re.sub(r"\s*\n\s*", "\n", body))  # noqa: S704


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href":
        return f"#{prefix}-{value.removeprefix('#')}"
    if name == "style":
        declarations = (declaration.partition(":") for declaration in value.split(";"))
        kept = (
            f"{key.strip()}: {_style(key.strip(), item.strip(), prefix)}"
            for key, _, item in declarations
            if key.strip() not in ("", "font-family")
        )
        return "; ".join(kept)
    return value.replace("url(#", f"url(#{prefix}-")


def _style(key: str, value: str, prefix: str) -> str:
    if key == "font":
        return re.sub(r"px.*", "px var(--sans)", value)
    if value in _NAMES:
        return f"var(--chart-{_NAMES[value]})"
    return value.replace("url(#", f"url(#{prefix}-")
