"""merge: the manifests of all shards -> one manifest that is known to be whole."""

from __future__ import annotations

from pathlib import Path

from thinksafe.run.manifests import merge_manifests, read_manifest, write_manifest


def run(manifests: list[Path], *, manifest_out: Path) -> None:
    """Merge shard manifests. It writes no stage record: its work is of no interest to a reader of the run.

    Raises:
        StageError: a shard is missing or two overlap.
    """
    write_manifest(manifest_out, merge_manifests([read_manifest(path) for path in manifests]))
