"""merge: the manifests of all shards, from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from thinksafe.errors import InputError, StageError
from thinksafe.records import Sample
from thinksafe.run.manifests import read_manifest, write_manifest
from thinksafe.stages import merge


def test_shards_make_the_whole(
    write_rows: Callable[..., Path], make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    whole = read_manifest(write_rows("samples", *[[make_sample(index=n)] for n in range(4)]))
    parts = []
    for shard in (1, 0):
        parts.append(tmp_path / f"part-{shard}.json")
        write_manifest(parts[-1], whole.model_copy(update={"chunks": whole.chunks[shard::2]}))
    merge.run(parts, manifest_out=tmp_path / "whole.json")
    assert read_manifest(tmp_path / "whole.json") == whole
    with pytest.raises(StageError, match="do not make the whole set of 4"):
        merge.run(parts[:1], manifest_out=tmp_path / "half.json")
    assert not (tmp_path / "half.json").exists()
    with pytest.raises(InputError, match="Cannot read"):
        merge.run([tmp_path / "missing"], manifest_out=tmp_path / "half.json")
