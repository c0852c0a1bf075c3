"""Makes an installation smaller: `python slim.py all|imported`, with the Python of the virtual environment.

What no stage of any image reads is removed. Bytecode is written here, as an image cannot write it: without it a stage
spends seconds on compiling what it imports. `imported` writes that of the modules that the package's own code imports
anywhere, little more than half of what there is.
"""

from __future__ import annotations

import ast
import compileall
import shutil
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

OWN = ("thinksafe", "thinksafe_components", "thinksafe_pipelines")
BY_NAME = (  # what MLflow's client and server load late
    "mlflow.server.fastapi_app", "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
)
UNUSED = (
    "**/tests",
    "pyarrow/include",  # nothing is compiled against it
    "pyarrow/*flight*",  # a protocol between servers
    "numpy/_core/include",
    "botocore/data/*/", "boto3/data/*/",  # descriptions of AWS services
)
USED = {"s3", "sts", "sso", "sso-oidc", "signin"}
"""S3, and where its credentials come from."""


def remove_unused(site: Path) -> None:
    """Remove what UNUSED names and USED does not."""
    for pattern in UNUSED:
        for path in list(site.glob(pattern)):
            if path.is_dir() and path.name not in USED:
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a source file imports, at its top or later; names from a module may be modules, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def write_bytecode(site: Path, which: str) -> None:
    """Compile all modules, or import those that the package's own code imports, which compiles them."""
    if which == "all":
        compileall.compile_dir(site, quiet=2, workers=0)
        return
    warnings.simplefilter("ignore")
    sources = [path for name in OWN for path in (site / name).rglob("*.py")]
    for path in sources:
        compileall.compile_file(path, quiet=2)
    for module in sorted({*BY_NAME, *(found for path in sources for found in imports(path))}):
        with suppress(Exception):  # not of this image, or a name that is no module
            import_module(module)


if __name__ == "__main__":
    folder = Path(sysconfig.get_path("purelib"))
    remove_unused(folder)
    write_bytecode(folder, sys.argv[1])
