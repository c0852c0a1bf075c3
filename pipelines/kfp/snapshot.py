"""Keep the compiled pipelines in the repository, so that a review shows what a change does to them.

``python -m thinksafe_pipelines.kfp.snapshot`` writes them, with ``--check`` it only says which ones are out of date and
exits 1. They are compiled with fixed images, and for three clusters (``clusters/``); they carry neither a
configuration nor a version of ours.
"""

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from thinksafe.config.cluster import ClusterSettings
from thinksafe_components.images import Images
from thinksafe_pipelines.commands import PIPELINES, compile_pipeline

SNAPSHOT_IMAGES = Images(*(f"thinksafe/{kind}:snapshot" for kind in Images._fields))
FOLDER = Path(str(resources.files("thinksafe_pipelines.kfp")))
CLUSTERS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted((FOLDER / "clusters").glob("*.yaml"))
}
"""``cluster`` sections of three clusters, as examples."""


def main(arguments: list[str] | None = None) -> int:
    """Write or check the snapshots; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m thinksafe_pipelines.kfp.snapshot", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when one is out of date")
    check = parser.parse_args(arguments).check
    folder = FOLDER / "snapshots"
    stale = []
    wanted: list[tuple[str, str, ClusterSettings | None]] = [(name, name, None) for name in PIPELINES]
    wanted += [
        (f"{pipeline}-{name}", pipeline, ClusterSettings.model_validate(section))
        for pipeline in PIPELINES for name, section in CLUSTERS.items()
    ]
    with tempfile.TemporaryDirectory() as temporary:
        for name, pipeline, cluster in wanted:
            path = Path(temporary) / f"{name}.yaml"
            compiled = compile_pipeline(pipeline, None, [], path, SNAPSHOT_IMAGES, cluster)
            text, kept = compiled.read_text("utf-8"), folder / f"{name}.yaml"
            if kept.is_file() and kept.read_text("utf-8") == text:
                continue
            stale.append(kept)
            if not check:
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(text, "utf-8")
    for path in stale:
        sys.stdout.write(f"{'out of date' if check else 'written'}: {path.parent.name}/{path.name}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
