"""Safety contexts of self-distillation: texts around a harmful prompt, which only the teacher reads.

A context is searched for among several (:attr:`SelfDistillation.contexts`), or fixed by its name. The known ones are
the steering templates and the shipped file ``data/contexts/shipped.yaml``; a file of a team has the same form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from thinksafe.errors import InputError
from thinksafe.jsonl import read_record, write_atomic, write_json
from thinksafe.methods.steering import PLACE, steering_names, steering_template
from thinksafe.records import Share
from thinksafe.settings import Name, Section
from thinksafe.text import clean

SEARCH = "search"
"""Value of ``method.context`` that is no name."""
LONGEST, MOST = 4000, 100
"""Characters of a context, and contexts of a file."""
_TAG = re.compile(r"<[^<>\n]{1,80}>|\[/?(?:INST|SYS)\]", re.IGNORECASE)
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class Context(Section):
    """A text around a prompt."""

    name: str
    template: str
    """Has ``{prompt}`` once."""


class ContextChoice(Section):
    """Which contexts a method may use, for the plan to read and the diagnosis to choose from."""

    file: str = ""
    """The team's own; empty for the known ones."""
    only: str = ""
    """Name of the only one; empty to search among all."""
    max_refused: Share
    """Largest share of benign prompts that a context may make the student refuse."""


@cache
def known_contexts() -> tuple[Context, ...]:
    """Return the steering templates and the shipped contexts, in the order of their names."""
    import yaml

    text = (resources.files("thinksafe") / "data" / "contexts" / "shipped.yaml").read_text("utf-8")
    found = {name: steering_template(name) for name in steering_names()} | yaml.safe_load(text)
    return contexts_in(found, "the shipped contexts")


def contexts_in(
    found: Any, source: str, lines: Mapping[tuple[str | int, ...], int] | None = None
) -> tuple[Context, ...]:
    """Return the contexts of a file, in the order of their names.

    Args:
        found: Its value: a mapping of names to texts.
        source: The file, for messages.
        lines: Line of each name.

    Raises:
        InputError: there are none or too many, or a name or text cannot be used; it names the line and the name, and
            quotes no text.
    """
    if not isinstance(found, dict) or not 0 < len(found) <= MOST:
        raise InputError(
            f"{source} has no contexts, or more than {MOST}.",
            f"Write 1 to {MOST} of them, one a line: name, colon, and a text in quotes with {PLACE} once.",
        )
    texts: dict[str, str] = {}
    for name, text in found.items():
        line = (lines or {}).get((name,))
        place = f"{source}{'' if line is None else f', line {line}'}: the context {clean(str(name), 63)!r}"
        try:
            _NAME.validate_python(name, strict=True)
        except ValidationError as error:
            raise InputError(
                f"{place} has a name that cannot be used.",
                "Use at most 63 lower-case letters, digits, dots, dashes and underscores.",
            ) from error
        if name == SEARCH:
            raise InputError(f"{place} has the name of the search itself.", "Give it another name.")
        if problem := _problem(text):
            raise InputError(f"{place} {problem[0]}.", problem[1])
        if twin := next((other for other, its in texts.items() if its == text.strip()), None):
            raise InputError(f"{place} is the same text as {twin!r}.", "Delete one of the two.")
        texts[name] = text.strip()
    return tuple(Context(name=name, template=text) for name, text in sorted(texts.items()))


def _problem(text: Any) -> tuple[str, str] | None:
    """Return what is wrong with a text, and what to do; None if nothing is."""
    if not isinstance(text, str) or not text.strip():
        return "has no text", f"Write a text with {PLACE} once, in quotes."
    if len(text) > LONGEST:
        return f"has {len(text):,} characters", f"A context has at most {LONGEST:,}: the prompt and a response follow."
    if clean(text, len(text)) != text:
        return "has control characters, or marks that no reader sees", "Delete them; line breaks and tabs may stay."
    if text.count(PLACE) != 1 or f"{{{PLACE}}}" in text:
        return (
            f"has {PLACE} {text.count(PLACE)} times" if text.count(PLACE) != 1 else f"has {PLACE} in double braces",
            f"The prompt stands where {PLACE} is: write it once, in single braces.",
        )
    if not text.replace(PLACE, "").strip():
        return f"is {PLACE} alone", "Write what the teacher shall know beside the prompt."
    if _TAG.search(text):
        return (
            "has a tag in angle or square brackets, which a chat template may take for its own",
            "Write it in plain words.",
        )
    return None


def context_named(name: str, contexts: Iterable[Context], source: str) -> Context:
    """Return the context of a name. Raises InputError, which names the others."""
    known = {context.name: context for context in contexts}
    if name not in known:
        raise InputError(f"There is no context {name!r} in {source}.", f"Use one of: {', '.join(known)}.")
    return known[name]


def write_context(path: Path, context: Context | None) -> None:
    """Write a context as JSON; ``null`` for none. Raises StageError."""
    if context is None:
        write_atomic(path, b"null\n")
    else:
        write_json(path, context)


def read_context(path: Path) -> Context | None:
    """Return what :func:`write_context` wrote. Raises InputError."""
    try:
        if path.read_bytes().strip() == b"null":
            return None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.", "Check the path.") from error
    return read_record(path, Context)
