"""Makes an installation smaller: `python slim.py IMAGE`, with the Python of the virtual environment.

What no stage of the image reads is removed. Bytecode is written here, as an image cannot write it: without it a stage
spends seconds on compiling what it imports. `cpu` gets that of the modules that the package's own code imports
anywhere, little more than half of what there is.
"""

from __future__ import annotations

import ast
import compileall
import shutil
import struct
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
    "pyarrow/libarrow_*.so", "pyarrow/libarrow_*.so.*.*.*",  # second and third copies, for linkers
    "numpy/_core/include", "numpy/_core/_simd.*",  # the latter for its tests
    "botocore/data/*/", "boto3/data/*/",  # descriptions of AWS services
)
UNUSED_BY_CPU = (
    "**/*.pxd", "**/*.pyi", "**/*.pyx",  # for compilers and type checkers
    "databricks/sdk",  # MLflow looks for databricks when it starts, for the rest only where it talks to Databricks
    # scipy.optimize and scipy.special are imported
    "scipy/cluster", "scipy/datasets", "scipy/differentiate", "scipy/fftpack", "scipy/integrate", "scipy/interpolate",
    "scipy/io", "scipy/misc", "scipy/ndimage", "scipy/odr", "scipy/signal", "scipy/stats",
    # the charts are SVG in DejaVu Sans that embeds no font, and Pillow reads no image
    "fontTools/*/", "fontTools/misc/bezierTools.*", "matplotlib/mpl-data/sample_data",
    "matplotlib/mpl-data/fonts/afm", "matplotlib/mpl-data/fonts/pdfcorefonts",
    "matplotlib/mpl-data/fonts/ttf/DejaVuSansMono*", "matplotlib/mpl-data/fonts/ttf/DejaVuSerif*",
    "matplotlib/mpl-data/fonts/ttf/STIX*",
    "PIL/_avif.*", "PIL/_imagingcms.*", "PIL/_imagingft.*", "PIL/_webp.*",
    "pillow.libs/libavif*", "pillow.libs/libbrotli*", "pillow.libs/libfreetype*", "pillow.libs/libharfbuzz*",
    "pillow.libs/liblcms2*", "pillow.libs/libpng16*", "pillow.libs/libsharpyuv*", "pillow.libs/libwebp*",
)
USED = {
    "s3", "sts", "sso", "sso-oidc", "signin",  # S3, and where its credentials come from
    "misc",  # what fontTools itself imports
}
ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"


def remove_unused(site: Path, patterns: tuple[str, ...]) -> None:
    """Remove what the patterns name and USED does not."""
    for pattern in patterns:
        for path in list(site.glob(pattern)):
            if path.is_dir() and path.name not in USED:
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()


def drop_symbols(site: Path) -> None:
    """Cut off shared libraries what stands behind their segments: symbols for linkers and debuggers, section headers.

    Loading needs none of it, so this is for images that neither link nor debug.
    """
    for path in site.glob("**/*.so*"):
        if not path.is_file() or path.is_symlink():
            continue
        with path.open("r+b") as file:
            header = file.read(64)
            if header[:6] != ELF64_LITTLE_ENDIAN:
                continue
            (table,) = struct.unpack_from("<Q", header, 32)
            entry, count = struct.unpack_from("<HH", header, 54)
            file.seek(table)
            segments = file.read(entry * count)
            end = table + len(segments)
            for start in range(0, len(segments), entry):
                offset, _, _, length = struct.unpack_from("<4Q", segments, start + 8)
                end = max(end, offset + length)
            file.seek(40)
            file.write(bytes(8))  # where the section headers are
            file.seek(58)
            file.write(bytes(6))  # their size, their number, and which one has their names
            file.truncate(min(end, path.stat().st_size))


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a source file imports, at its top or later; names from a module may be modules, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def write_bytecode(site: Path, image: str) -> None:
    """Compile all modules; for `cpu` import those that the package's own code imports, which compiles them."""
    if image != "cpu":
        compileall.compile_dir(site, quiet=2, workers=0)
        return
    warnings.simplefilter("ignore")
    sources = [path for name in OWN for path in (site / name).rglob("*.py")]
    for path in sources:
        compileall.compile_file(path, quiet=2)
    for module in sorted({*BY_NAME, *(found for path in sources for found in imports(path))}):
        with suppress(Exception):  # not of this image, or a name that is no module
            import_module(module)


def main() -> None:
    """The command."""
    (image,) = sys.argv[1:]
    site = Path(sysconfig.get_path("purelib"))
    remove_unused(site, UNUSED)
    if image == "cpu":
        remove_unused(site, UNUSED_BY_CPU)
        drop_symbols(site)
    write_bytecode(site, image)


if __name__ == "__main__":
    main()
