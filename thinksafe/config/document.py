"""YAML text to plain values, safe against repeated keys, shared objects and documents that expand when read."""

from __future__ import annotations

from typing import Any

import yaml

from thinksafe.errors import ConfigError

LONGEST, NODES, DEPTH = 1 << 20, 20_000, 40
"""Limits of a document: characters, and settings and nesting after expanding its aliases."""

Location = tuple[str | int, ...]


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML loader; a repeated key is an error instead of a silent replacement."""


def _unique_mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, str | int | float | bool):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} repeats", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


def _date(loader: _UniqueKeys, node: yaml.ScalarNode) -> Any:
    """Return a date; the text of one that does not exist (2026-02-30), which the setting's own check names."""
    try:
        return yaml.SafeLoader.construct_yaml_timestamp(loader, node)
    except ValueError:
        return loader.construct_scalar(node)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
_UniqueKeys.add_constructor("tag:yaml.org,2002:timestamp", _date)


def read_yaml(name: str, text: str) -> tuple[Any, dict[Location, int]]:
    """Return the value of a YAML text and the line number of each place in it.

    Aliases are expanded: no two places share an object. Merge keys (``<<``) are not supported.

    Args:
        name: Name of the text in errors.
        text: One YAML document.

    Raises:
        ConfigError: not safe YAML, a repeated key, or more than a configuration can need.
    """
    mark = None
    try:
        if len(text) <= LONGEST:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if _size(node, {}, DEPTH) <= NODES:
                value = _own(yaml.load(text, Loader=_UniqueKeys))
                lines: dict[Location, int] = {}
                _number(node, (), lines)
                return value, lines
        problem = "too many or too deeply nested settings"
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem, mark = getattr(error, "problem", None) or "malformed", getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark is not None else ""
    raise ConfigError(f"{name}{where}: not valid YAML ({problem}).", "Correct it.")


def _size(node: Any, sizes: dict[int, int], depth: int) -> int:
    """Return the number of settings at and below a node, with aliases expanded; above the limit if nested too deeply.

    Sizes are cached, so that a document of nested aliases costs no more than its text.
    """
    if depth < 0:
        return NODES + 1
    if id(node) not in sizes:
        sizes[id(node)] = NODES + 1  # until the size is known: a node inside itself is endless
        below = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        sizes[id(node)] = 1 + sum(_size(part, sizes, depth - 1) for part in below)
    return sizes[id(node)]


def _number(node: Any, at: Location, lines: dict[Location, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            place = (*at, key.value)
            lines[place] = key.start_mark.line + 1
            _number(item, place, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*at, index)] = item.start_mark.line + 1
            _number(item, (*at, index), lines)


def _own(value: Any) -> Any:
    """Return a value in which no two places share an object, so that an override changes one place."""
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    return [_own(item) for item in value] if isinstance(value, list) else value
