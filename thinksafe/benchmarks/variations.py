"""Variations of a benchmark: attack transforms of its requests, and controls of the thought.

Both are data files (``thinksafe/data/transforms``, ``thinksafe/data/thinking``). A variation is a benchmark of its own,
with its own metric: the same prompts, asked in another way.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

from thinksafe.errors import ConfigError, InputError
from thinksafe.records import Prompt
from thinksafe.traces import OPEN

PLAIN, FREE = "plain", "free"
"""Names for no transform and for an uncontrolled thought."""
PLACES = ("{prompt}", "{base64}")
"""Placeholders for the request in a transform's text: as it is, or encoded (UTF-8, then Base64)."""


@cache
def _files(kind: str) -> dict[str, dict[str, Any]]:
    import yaml

    folder = resources.files("thinksafe") / "data" / kind
    return {
        item.name.removesuffix(".yaml"): yaml.safe_load(item.read_text("utf-8"))
        for item in sorted(folder.iterdir(), key=lambda item: item.name)
        if item.name.endswith(".yaml")
    }


def transform_names() -> tuple[str, ...]:
    """Return the names of the transforms, ``plain`` first."""
    return (PLAIN, *_files("transforms"))


def thinking_names() -> tuple[str, ...]:
    """Return the names of the controls of the thought, ``free`` first."""
    return (FREE, *_files("thinking"))


def variation(transforms: Iterable[str], thinking: Iterable[str]) -> str:
    """Return the name of a variation, e.g. ``role-play-no-thought``; empty for none."""
    return "-".join(name for name in (*transforms, *thinking) if name not in (PLAIN, FREE))


def transform(name: str, request: str) -> tuple[str, ...]:
    """Return the user turns into which a transform puts a request; none for ``plain``.

    Raises:
        ConfigError: there is no such transform.
    """
    if name == PLAIN:
        return ()
    found = _known("transforms", name, transform_names())
    encoded = base64.b64encode(request.encode("utf-8", "replace")).decode("ascii")
    return tuple(_filled(str(turn), request, encoded) for turn in found["turns"])


def opening(name: str) -> str:
    """Return the text with which a control of the thought starts a response; empty for ``free``.

    Raises:
        ConfigError: there is no such control.
    """
    return "" if name == FREE else str(_known("thinking", name, thinking_names())["opening"])


def varied(prompts: Iterable[Prompt], transforms: Iterable[str], thinking: Iterable[str]) -> list[Prompt]:
    """Return prompts as a variation asks them; ``prompt`` stays the plain request.

    Args:
        prompts: The benchmark's prompts.
        transforms: At most one transform.
        thinking: At most one control of the thought.

    Raises:
        ConfigError: there is no such transform or control.
        InputError: a conversation cannot be transformed.
    """
    rows = list(prompts)
    suffix = variation(transforms, thinking)
    if not suffix:
        return rows
    found = []
    for row in rows:
        changes: dict[str, Any] = {"id": f"{row.id}~{suffix}"}
        for name in transforms:
            if name != PLAIN and row.turns:
                raise InputError(
                    f"The prompt {row.id!r} is a conversation, which {name} cannot rewrite.",
                    "Do not apply transforms to benchmarks of conversations.",
                )
            changes["turns"] = transform(name, row.prompt) or row.turns
        for name in thinking:
            changes["opening"] = opening(name)
        found.append(row.model_copy(update=changes))
    return found


def _filled(text: str, request: str, encoded: str) -> str:
    """Put a request into a text's placeholders; what looks like a placeholder inside the request stays as it is."""
    for place, value in zip(PLACES, (request, encoded), strict=True):
        before, found, after = text.partition(place)
        if found:
            return before + value + after
    return text


def _known(kind: str, name: str, names: tuple[str, ...]) -> dict[str, Any]:
    if name not in names:
        what = "transform" if kind == "transforms" else "control of the thought"
        raise ConfigError(f"There is no {what} {name[:80]!r}.", f"Known: {', '.join(names)}.")
    found = _files(kind)[name]
    if kind == "thinking" and not str(found["opening"]).startswith(OPEN):
        raise ConfigError(f"The opening of {name!r} does not open a thought ({OPEN}).", "Correct the file.")
    return found

