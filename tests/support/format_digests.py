"""What is behind each format of stored rows: a digest of the code that can change them.

    python tests/support/format_digests.py          record the digests of the code as it is
    python tests/support/format_digests.py --check  say which formats have changed since

The digest covers the module that makes the rows and all that it imports from the package, wherever in the file the
import stands, and the modules that it starts by name. It leaves out what changes no row: comments, docstrings, blank
lines, annotations of arguments, results and variables, the words of errors, names and places of files.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import thinksafe
from thinksafe import records
from thinksafe.digests import digest_json
from thinksafe.run.formats import FORMATS, RowFormat

ROOT = Path(thinksafe.__file__).parent
RECORDED = Path(__file__).resolve().parents[1] / "unit" / "run" / "format_digests.txt"

LEFT_OUT = {
    "config": "settings are in the keys by value",
    "settings": "the same",
    "records": "the schema of the row's type is in the digest",
    "errors": "the words of an error are in no row",
    "credentials": "the same",
    "store": "where rows are kept",
    "jsonl": "how rows are written and read",
    "files": "the same",
    "run": "how chunks, records and progress are kept",
    "work": "who makes a chunk",
    "kube": "how pods are started",
    "registry": "what becomes of a model afterwards",
    "training.trainjob": "how the nodes of a training are started",
    "models.hub": "where files come from; the digests of their contents are in the keys",
    "models.fetch": "the same",
    "models.pins": "the same",
    "judging.guards": "the choice of a guard; each guard has a format of its own",
}
"""Rooms and modules that no digest covers, each with the reason."""

BOTH = """The code behind {names} has changed. Either the rows change: raise the number in thinksafe/run/formats.py, and
they are all made again. Or they stay what they were: leave it. Then run: python tests/support/format_digests.py"""


def left_out(module: str) -> bool:
    """Return whether a module changes no row. A package that is listed without its modules is its ``__init__`` only."""
    parts = module.split(".")
    return module in LEFT_OUT or parts[0] in LEFT_OUT or module.startswith("training.trainjob.")


def path_of(module: str) -> Path | None:
    """Return the file of a module below ``thinksafe``, None where there is none."""
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules below ``thinksafe`` that a file imports when it runs, or names as a whole string."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "thinksafe":
            below = node.module.split(".")[1:]
            for name in node.names:
                inner = ".".join([*below, name.name])
                yield inner if path_of(inner) else ".".join(below)
        elif isinstance(node, ast.Import):
            yield from (name.name.partition(".")[2] for name in node.names if name.name.startswith("thinksafe."))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("thinksafe."):
            named = node.value.partition(".")[2]
            if all(part.isidentifier() for part in named.split(".")) and path_of(named):
                yield named


def closure(module: str) -> dict[str, ast.Module]:
    """Return a module and all that it needs of those that can change rows, parsed, by name."""
    found: dict[str, ast.Module] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = path_of(name) if name else None
        if path is None or name in found or left_out(name):
            continue
        found[name] = ast.parse(path.read_text("utf-8"))
        waiting += imported(found[name])
    return found


def shape(node: Any, *, field: bool = False, words: bool = True) -> Any:
    """Return what a syntax tree does, as JSON.

    Args:
        node: Tree, list or value.
        field: The node stands in the body of a class, where an annotation may declare a field.
        words: Keep the text of strings.
    """
    if isinstance(node, list):
        kept = (each for each in node if not _silent(each))
        return [shape(each, field=field, words=words) for each in kept]
    if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "thinksafe":
        return ["import", *sorted(f"{name.name} {name.asname or ''}" for name in node.names)]
    if isinstance(node, ast.AnnAssign) and not field:
        if node.value is None:
            return []
        node = ast.Assign(targets=[node.target], value=node.value)
    if isinstance(node, ast.Constant):
        return ["str"] if isinstance(node.value, str) and not words else [type(node.value).__name__, repr(node.value)]
    if not isinstance(node, ast.AST):
        return repr(node)
    skipped = {"annotation", "returns", "type_comment"} if not isinstance(node, ast.AnnAssign) else {"type_comment"}
    parts = {
        name: shape(value, field=isinstance(node, ast.ClassDef), words=words and not isinstance(node, ast.Raise))
        for name, value in ast.iter_fields(node) if name not in skipped
    }
    # an absent part is left out, because newer versions of Python have more of them
    return [type(node).__name__, {name: value for name, value in parts.items() if value not in ([], "None")}]


def _silent(node: Any) -> bool:
    """Return whether a statement does nothing: a docstring, or the import of annotations."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def code_digest(sources: dict[str, ast.Module], row: str = "") -> str:
    """Return the digest of modules, whatever their names, and of the type of the rows."""
    schema = _schema(getattr(records, row).model_json_schema()) if row else {}
    return digest_json([sorted(digest_json(shape(tree)) for tree in sources.values()), schema])


def _schema(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _schema(each) for key, each in value.items() if key not in ("description", "title")}
    return [_schema(each) for each in value] if isinstance(value, list) else value


def line(name: str, row_format: RowFormat) -> str:
    """Return the line of a format: name, number, digest."""
    return f"{name} {row_format.number} {code_digest(closure(row_format.module), row_format.row)}"


def changed(recorded: str, now: Callable[[str, RowFormat], str] = line) -> list[str]:
    """Return the formats whose line is not among the recorded ones."""
    lines = set(recorded.splitlines())
    return [name for name, row_format in FORMATS.items() if now(name, row_format) not in lines]


def main() -> None:
    """Record the digests, or with ``--check`` end with the formats that differ."""
    if "--check" in sys.argv[1:]:
        if names := changed(RECORDED.read_text("utf-8")):
            sys.exit(BOTH.format(names=", ".join(names)))
        return
    RECORDED.write_text("".join(f"{line(name, one)}\n" for name, one in FORMATS.items()), "utf-8")


if __name__ == "__main__":
    main()
