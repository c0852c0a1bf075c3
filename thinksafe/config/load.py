"""Read a configuration: recipe name, file or document text, plus ``key=value`` overrides.

Every error names the key by its dotted path and its line in the file, and for an unknown key the nearest known one.
"""

from __future__ import annotations

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from thinksafe.config.cluster_services import PlaceSettings
from thinksafe.config.document import LONGEST, Location, read_yaml
from thinksafe.config.guard import GuardSettings
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.moved import became_of, moved_keys
from thinksafe.config.overrides import apply_overrides, inherited
from thinksafe.config.suite import SuiteConfig
from thinksafe.credentials import scrubbed
from thinksafe.errors import ConfigError
from thinksafe.settings import Section

C = TypeVar("C", bound=BaseModel)

RECIPES = "thinksafe_configs"
"""Package that contains the shipped recipes."""

EXTENDS = "extends"
"""Key of a document that names the recipe that it extends."""


class Document(NamedTuple):
    """The text of a configuration and its name in messages."""

    name: str
    text: str


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(
        item.name.removesuffix(".yaml")
        for item in resources.files(RECIPES).iterdir()
        if item.name.endswith(".yaml")
    )


def find_document(config: str) -> Document:
    """Return the document for ``config``: a shipped recipe, a path, or the YAML text itself.

    Raises:
        ConfigError: there is no such recipe or file; the action names the nearest recipe.
    """
    # a document may be one line of JSON or YAML without a line break; no name or sensible path contains these
    if any(sign in config for sign in ("\n", ": ", "{")):
        return Document("the config document", config)
    path = Path(config)
    try:
        if path.is_file():
            with path.open(encoding="utf-8-sig") as stream:
                return Document(str(path), stream.read(LONGEST + 1))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"Cannot read {config[:200]!r}: {reason}.", "Save it as a UTF-8 text file.") from error
    names = recipe_names()
    if config in names:
        return _recipe(config)
    near = difflib.get_close_matches(config, names, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ConfigError(
        f"{config[:200]!r} is neither a file nor a shipped recipe.", f"{hint}Shipped recipes: {', '.join(names)}."
    )


def _recipe(name: str) -> Document:
    return Document(f"recipe {name}", (resources.files(RECIPES) / f"{name}.yaml").read_text("utf-8"))


def load_config(config: str, overrides: list[str] | None = None) -> RealignmentConfig:
    """Read and validate the configuration of a realignment.

    Args:
        config: Recipe name, path, or YAML text.
        overrides: ``dotted.key=YAML value``, applied to the document in order.

    Raises:
        ConfigError: not YAML, unknown keys, values out of range, malformed overrides.
    """
    document = find_document(config)
    return validated(RealignmentConfig, document, *read_value(document, overrides or []))


def load_suite(suite: str, overrides: list[str] | None = None) -> SuiteConfig:
    """Read and validate the configuration of an evaluation: a suite, or a realignment whose evaluation is used.

    A document with training data (``data``) is read as a realignment. Arguments and errors as :func:`load_config`.
    """
    loaded = load_either(suite, overrides)
    return SuiteConfig.of(loaded) if isinstance(loaded, RealignmentConfig) else loaded


def load_either(config: str, overrides: list[str] | None = None) -> RealignmentConfig | SuiteConfig:
    """Read and validate a configuration of either kind. Arguments and errors as :func:`load_config`."""
    document = find_document(config)
    value, lines = read_value(document, overrides or [])
    if "data" in value:
        return validated(RealignmentConfig, document, value, lines)
    return validated(SuiteConfig, document, value, lines)


class _NamesAlone(Section):
    """A configuration that only says where a cluster's pipelines are."""

    cluster: PlaceSettings = PlaceSettings()


def load_place(overrides: list[str]) -> PlaceSettings:
    """Return where the pipelines of a cluster are, from ``cluster.namespace=`` and ``cluster.kfp...=`` alone.

    Raises:
        ConfigError: another key, or a malformed override.
    """
    document = Document("--set", "")
    value: dict[str, Any] = {}
    apply_overrides(value, overrides)
    return validated(_NamesAlone, document, value, {}).cluster


def load_guard(kind: str, overrides: list[str]) -> GuardSettings:
    """Return the settings of a guard by its kind; overrides set the other fields. Raises ConfigError."""
    document = Document("--guard with --set", "")
    value: dict[str, Any] = {"kind": kind}
    apply_overrides(value, overrides)
    return validated(GuardSettings, document, value, {})


def read_value(document: Document, overrides: list[str]) -> tuple[dict[str, Any], dict[Location, int]]:
    """Return a document's value with overrides applied, and the line numbers of its keys."""
    value, lines = _parse(document)
    value = _inherit(value, document)
    for changed in apply_overrides(value, overrides):
        lines = {place: line for place, line in lines.items() if place[: len(changed)] != changed}
    return value, lines


def validated(model: type[C], document: Document, value: Any, lines: dict[Location, int]) -> C:
    """Return a document's value as a configuration; errors name keys and lines. Raises ConfigError."""
    if model is RealignmentConfig:
        moved, instead = moved_keys(value)
        said = [f"  {'.'.join(map(str, place))}{_line(lines, place)}: {what}" for place, what in moved]
        if moved:
            raise ConfigError(
                f"{document.name} has keys of an earlier version:\n" + "\n".join(said),
                f"Write instead: `{instead}` (as an override e.g. method.kind=rejection).",
            )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ConfigError(
            f"{document.name} is not a valid configuration:\n{_explain(model, error, value, lines)}",
            "Run `thinksafe config schema` for all keys, ranges and defaults.",
        ) from error


def _parse(document: Document) -> tuple[dict[str, Any], dict[Location, int]]:
    value, lines = read_yaml(document.name, document.text)
    if not isinstance(value, dict):
        raise ConfigError(f"{document.name} is not a mapping of settings.", "Start from a shipped recipe.")
    return value, lines


def _inherit(value: dict[str, Any], document: Document) -> dict[str, Any]:
    """Merge a document into the shipped recipe that it ``extends``; lists are replaced, not joined.

    Only shipped recipes can be extended, so that a document means the same in a container as where it was written. They
    may extend one another.
    """
    if EXTENDS not in value:
        return value
    name = value.pop(EXTENDS)
    if name not in recipe_names():
        raise ConfigError(
            f"{document.name} extends {name!r}, which is not a shipped recipe.",
            f"Shipped recipes: {', '.join(recipe_names())}.",
        )
    base = _recipe(name)
    below = _inherit(_parse(base)[0], base)
    return merged(inherited(below, value), value)


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return a document with another one laid over it; lists are replaced, not joined."""
    both = dict(below)
    for key, item in above.items():
        under = both.get(key)
        both[key] = merged(under, item) if isinstance(under, dict) and isinstance(item, dict) else item
    return both


def _explain(model: type[BaseModel], error: ValidationError, value: Any, lines: dict[Location, int]) -> str:
    found = []
    items = error.errors(include_url=False, include_context=False)
    places = [item["loc"] for item in items]
    for item in items:
        if any(len(place) > len(item["loc"]) and place[: len(item["loc"])] == item["loc"] for place in places):
            continue  # pydantic repeats an error from further inside
        location = _written(item["loc"], value)
        name = ".".join(map(str, location)) or "the document"
        line = _line(lines, location)
        if item["type"] == "extra_forbidden":
            known = _known_keys(model, item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
            became = became_of(name)
            what = f"there is no such key any more; {became}" if became else f"unknown key; {hint}"
            found.append(f"  {name}{line}: {what}")
        elif item["type"] == "missing":
            found.append(f"  {name}{line}: required key is missing")
        else:
            plain = isinstance(item["input"], str | int | float | bool)
            given = f", not {scrubbed(repr(item['input'])):.80}" if plain else ""
            found.append(f"  {name}{line}: {_words(item['msg'])}{given}")
    return "\n".join(found)


def _line(lines: dict[Location, int], place: Location) -> str:
    return f" (line {lines[place]})" if place in lines else ""


def _words(message: str) -> str:
    """Return an error of pydantic in the terms of YAML."""
    message = re.sub(r"valid dictionary( or (an )?instance of \w+)?", "mapping", message.removeprefix("Value error, "))
    return message.replace("valid tuple", "list").replace("Tuple", "List").replace(" after validation", "")


def _written(location: Location, value: Any) -> Location:
    """Drop the tags of discriminated unions from pydantic's location: they are not in the document."""
    kept: list[str | int] = []
    for place, part in enumerate(location):
        inside = (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if inside:
            kept.append(part)
            value = value[part]
        elif place == len(location) - 1:
            kept.append(part)
    return tuple(kept)


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys allowed at a location of the configuration, by walking its JSON Schema."""
    schema = TypeAdapter(model).json_schema()
    at: dict[str, Any] = schema
    for part in location:
        at = _resolve(at, schema)
        if isinstance(part, int):
            at = at.get("items") or at.get("prefixItems", [{}])[0]
        elif part in at.get("properties", {}):
            at = at["properties"][part]
        elif isinstance(at.get("additionalProperties"), dict):
            at = at["additionalProperties"]
        elif "discriminator" in at and part in at["discriminator"]["mapping"]:
            at = {"$ref": at["discriminator"]["mapping"][part]}
    return list(_resolve(at, schema).get("properties", {}))


def _resolve(at: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in at or "anyOf" in at:
        if "$ref" in at:
            at = schema["$defs"][at["$ref"].rsplit("/", 1)[-1]]
            continue
        given = [option for option in at["anyOf"] if option.get("type") != "null"]
        if len(given) != 1:
            break
        at = given[0]  # an optional section
    return at


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration (draft 2020-12)."""
    schema = RealignmentConfig.model_json_schema()
    schema["properties"][EXTENDS] = {
        "type": "string",
        "description": "Shipped recipe that this document extends; keys of the recipe need not be repeated.",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def canonical(config: BaseModel) -> dict[str, Any]:
    """Return a configuration with every default written out, as JSON values."""
    return config.model_dump(mode="json")
