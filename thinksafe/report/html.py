"""Render templates to one HTML file that needs no network and no other file, and runs no script but its own.

Every text passes through :func:`thinksafe.text.clean` and Jinja's escaping, and a content security policy blocks
everything that is not part of the page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from thinksafe import __version__
from thinksafe.text import clean, count, duration, label, percent, plural, utc


def render(template: str, title: str, first_section: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: File below ``templates/`` that extends ``base.html.jinja``.
        title: Title of the page.
        first_section: Id of the section that the keyboard can skip to.
        values: Variables of the template.
    """
    script = asset("report.js")
    return _environment().get_template(template).render(
        **values, page_title=title, first_section=first_section, version=__version__, style=own(asset("report.css")),
        script=own(script), script_hash=_sha256(script),
    )


def asset(name: str) -> str:
    """Return a file of this package."""
    return (resources.files("thinksafe.report") / "templates" / name).read_text("utf-8")


def own(text: str) -> Markup:
    """Mark text of this package as HTML."""
    return Markup(text)  # noqa: S704


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("thinksafe.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_finalize,
    )
    environment.filters.update(
        count=count, duration=duration, percent=percent, utc=utc, brief=lambda text: label(str(text), 80),
        breakable=_breakable, code=_code,
    )
    environment.globals.update(plural=plural)
    return environment


def _finalize(value: Any) -> Any:
    """Every expression of the template passes through here before it is escaped."""
    if isinstance(value, Markup):
        return value
    return clean(value) if isinstance(value, str) else value


def _breakable(name: str) -> Markup:
    """Let a name such as ``harm/<benchmark>`` break at its slashes."""
    return escape(clean(name)).replace("/", Markup("/<wbr>"))


def _code(text: str) -> Markup:
    """Show what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(clean(text)))))  # noqa: S704 - escaped before


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
