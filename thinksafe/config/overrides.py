"""Apply overrides to a document: single keys, and the method, whose options depend on its kind."""

from __future__ import annotations

from typing import Any

from thinksafe.config.document import Location, read_yaml
from thinksafe.errors import ConfigError
from thinksafe.methods import carried_over


def apply_override(value: dict[str, Any], override: str) -> Location:
    """Apply ``dotted.key=YAML value`` to a document and return the place it sets. Raises ConfigError."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"The override {override[:80]!r} is not of the form key=value.", "Write e.g. seed=7.")
    setting, _ = read_yaml(f"the override of {key}", text)
    if key == "method.kind":
        change_method(value, setting)
    *parents, last = key.split(".")
    at: Any = value
    place: list[str | int] = []
    for step, parent in enumerate(parents):
        path = ".".join(parents[: step + 1])
        place.append(_index(at, parent, path) if isinstance(at, list) else parent)
        at = _child(at, place[-1], path)
    place.append(_index(at, last, key) if isinstance(at, list) else last)
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


def change_method(value: dict[str, Any], kind: object) -> None:
    """Drop the options of the method that another kind does not have; nothing where none is named."""
    method = value.get("method")
    if kind is not None and isinstance(method, dict):
        value["method"] = carried_over(method, kind)
