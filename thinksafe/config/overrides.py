"""Apply overrides to a document: single keys, and the kind of a method or a guard, on which its options depend."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from thinksafe.config import guard_kinds
from thinksafe.config.document import Location, read_yaml
from thinksafe.config.guard import GuardsSettings
from thinksafe.errors import ConfigError
from thinksafe.methods import carried_over

GUARDS = tuple(GuardsSettings.model_fields)
"""Keys of the section ``guard``; each holds a guard."""


def apply_overrides(value: dict[str, Any], overrides: Iterable[str]) -> list[Location]:
    """Apply ``dotted.key=YAML value`` to a document, in order, and return the places that were set.

    Another kind of method or guard leaves behind what is not for it (:func:`of_kind`).

    Raises:
        ConfigError: an override is malformed, or goes through a single value.
    """
    places: list[Location] = []
    for override in overrides:
        places.append(_apply(value, override, frozenset(places)))
    return places


def _apply(value: dict[str, Any], override: str, said: Collection[Location]) -> Location:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"The override {override[:80]!r} is not of the form key=value.", "Write e.g. seed=7.")
    setting, _ = read_yaml(f"the override of {key}", text)
    *parents, last = key.split(".")
    at: Any = value
    place: list[str | int] = []
    for step, parent in enumerate(parents):
        path = ".".join(parents[: step + 1])
        place.append(_index(at, parent, path) if isinstance(at, list) else parent)
        at = _child(at, place[-1], path)
    place.append(_index(at, last, key) if isinstance(at, list) else last)
    if place[-1] == "kind" and isinstance(at, dict):
        own = {str(of[-1]) for of in said if of[:-1] == tuple(place[:-1])}
        for lost in at.keys() - of_kind(tuple(place[:-1]), at, setting, own).keys():
            del at[lost]
    at[place[-1]] = setting
    return tuple(place)


def _child(at: Any, name: str | int, path: str) -> Any:
    child = at.setdefault(name, {}) if isinstance(at, dict) else at[name]
    if not isinstance(child, dict | list):
        raise ConfigError(f"The override goes through {path!r}, which is a single value.", "Set that key itself.")
    return child


def _index(at: list[Any], name: str, path: str) -> int:
    if not name.isdigit() or int(name) >= len(at):
        raise ConfigError(f"The override {path!r} needs an index from 0 to {len(at) - 1}.", "Correct the key.")
    return int(name)


def of_kind(
    place: Location, section: Mapping[str, Any], kind: object, said: Collection[str] = ()
) -> dict[str, Any]:
    """Return a section with what it keeps if its kind becomes another: of a method or a guard, not all of it.

    Args:
        place: Where the section is in the document.
        section: The section as written; it may be malformed.
        kind: The new kind; None and an unknown one change nothing, and validation refuses the latter.
        said: Keys of a guard that were set for the new kind.
    """
    if kind is None:
        return dict(section)
    if place == ("method",):
        return carried_over(section, kind)
    if place[:1] == ("guard",) and (len(place) == 2 or place[2:3] == ("members",)) and place[1] in GUARDS:
        return guard_kinds.carried_over(section, kind, said)
    return dict(section)


def inherited(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe as a document inherits it: without what the document's kinds of method and guards do not have."""
    found = dict(below)
    if isinstance(own := above.get("method"), dict) and isinstance(below.get("method"), dict):
        found["method"] = of_kind(("method",), below["method"], own.get("kind"))
    under, over = below.get("guard"), above.get("guard")
    if isinstance(under, dict) and isinstance(over, dict):
        found["guard"] = {
            use: of_kind(("guard", use), guard, over[use].get("kind"))
            if isinstance(guard, dict) and isinstance(over.get(use), dict) else guard
            for use, guard in under.items()
        }
    return found
