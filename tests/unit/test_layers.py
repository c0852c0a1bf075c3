"""The order of the rooms: nothing imports upward, and no two rooms import one another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import thinksafe

ROOMS = (
    "store", "benchmarks", "micro", "methods", "config", "kube", "models", "signing", "run", "work", "prompts",
    "sampling", "judging", "training", "measuring", "deciding", "registry", "estimating", "deploy", "audit", "report",
    "fleet", "doctor", "stages", "cli",
)
"""From the bottom up. A module at the top level of the package is below all rooms."""

TOP_LEVEL = 14
"""Modules that may stand at the top level of the package."""

ROOT = Path(thinksafe.__file__).parent


def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever in it, as dotted names below the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "thinksafe":
            below = node.module.split(".")[1:]
            found |= {".".join([*below, name.name]) for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name.partition(".")[2] for name in node.names if name.name.startswith("thinksafe.")}
    return found


def room(dotted: str) -> str:
    """Return the room of a module, "" for one at the top level."""
    first = dotted.partition(".")[0]
    return first if (ROOT / first).is_dir() else ""


def arrows() -> dict[tuple[str, str], list[str]]:
    """Return the imports between different rooms, each with the files that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        source = room(".".join(parts))
        for target in {room(name) for name in imports(path)} - {source, ""}:
            found.setdefault((source, target), []).append("/".join(parts))
    return found


def test_every_room_has_its_place() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms == set(ROOMS)


def test_nothing_imports_upward() -> None:
    order = {"": -1, **{name: place for place, name in enumerate(ROOMS)}}
    upward = {
        f"{source or 'top level'} -> {target}": files
        for (source, target), files in arrows().items()
        if order[target] >= order[source] and not (source == "" and files == ["__main__"])
    }
    assert not upward


def test_few_modules_at_the_top_level() -> None:
    assert len(list(ROOT.glob("*.py"))) <= TOP_LEVEL


@pytest.mark.parametrize("module", sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "__main__"))
def test_modules_at_the_top_level_have_no_circle(module: str) -> None:
    graph = {path.stem: {name.partition(".")[0] for name in imports(path)} for path in ROOT.glob("*.py")}
    seen: set[str] = set()
    waiting = [name for name in graph[module] if name in graph]
    while waiting:
        name = waiting.pop()
        assert name != module
        if name not in seen:
            seen.add(name)
            waiting += [found for found in graph[name] if found in graph]
