"""Chunks are whole or made again; merged manifests are whole or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import InputError, StageError, StoreError
from thinksafe.records import Grade, Prompt
from thinksafe.run.manifests import (
    Chunk,
    Manifest,
    ensure_chunk,
    find_chunk,
    merge_manifests,
    read_chunk,
    read_manifest,
    read_rows,
    write_chunk,
    write_manifest,
)
from thinksafe.store.local import LocalStore


@pytest.fixture
def rows(make_prompt: Callable[..., Prompt]) -> list[Prompt]:
    return [make_prompt("p-1", prompt="one\u2028line"), make_prompt("p-2", prompt="two\nlines")]


def rows_path(store: LocalStore, chunk: Chunk) -> Path:
    return Path(store.uri(f"chunks/{chunk.key}/{chunk.digest}.jsonl"))


def test_chunk_survives(store: LocalStore, rows: list[Prompt]) -> None:
    chunk = write_chunk(store, "k", 4, rows)
    assert (chunk.index, chunk.key, chunk.rows) == (4, "k", 2)
    assert read_chunk(store, chunk, Prompt) == rows
    assert find_chunk(store, "k", 4) == chunk


def test_the_same_rows_serve_another_place(store: LocalStore, rows: list[Prompt]) -> None:
    write_chunk(store, "k", 0, rows)
    found = find_chunk(store, "k", 7)
    assert found is not None
    assert found.index == 7


def test_empty_chunk_is_a_chunk(store: LocalStore) -> None:
    chunk = write_chunk(store, "k", 0, [])
    assert find_chunk(store, "k", 0) == chunk
    assert read_chunk(store, chunk, Grade) == []


@pytest.mark.parametrize(
    "damage",
    [
        "no marker", "no rows", "truncated", "altered", "marker of another", "marker torn", "marker counts wrong",
        "marker names a path",
    ],
)
def test_damaged_chunk_is_made_again(store: LocalStore, rows: list[Prompt], damage: str) -> None:
    whole = write_chunk(store, "k", 0, rows)
    data, marker = rows_path(store, whole), Path(store.uri("chunks/k/done.json"))
    if damage == "no marker":
        marker.unlink()
    elif damage == "no rows":
        data.unlink()
    elif damage == "truncated":
        data.write_bytes(data.read_bytes().splitlines(keepends=True)[0])
    elif damage == "altered":
        data.write_bytes(data.read_bytes().replace(b"lines", b"words"))
    elif damage == "marker of another":
        write_chunk(store, "other", 0, rows[:1])
        marker.write_bytes(Path(store.uri("chunks/other/done.json")).read_bytes())
    elif damage == "marker torn":
        marker.write_bytes(marker.read_bytes()[:-5])
    elif damage == "marker names a path":
        marker.write_text(whole.model_copy(update={"digest": "../../k"}).model_dump_json())
    else:
        marker.write_text(whole.model_copy(update={"rows": 3}).model_dump_json())
    assert find_chunk(store, "k", 0) is None
    made = []

    def make() -> list[Prompt]:
        made.append(1)
        return rows

    assert ensure_chunk(store, "k", 0, make) == (whole, False)
    assert ensure_chunk(store, "k", 0, make) == (whole, True)
    assert len(made) == 1
    assert read_chunk(store, whole, Prompt) == rows


def test_rows_come_before_their_marker(
    store: LocalStore, rows: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two, the chunk counts as missing; the other way round it would count as there."""

    def killed(key: str, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "create", killed)
    with pytest.raises(KeyboardInterrupt):
        write_chunk(store, "k", 0, rows)
    monkeypatch.undo()
    assert len(store.keys("chunks/k/")) == 1
    assert find_chunk(store, "k", 0) is None


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\n", lambda data: b""])
def test_changed_chunk_is_noticed_when_read(
    store: LocalStore, rows: list[Prompt], change: Callable[[bytes], bytes]
) -> None:
    manifest = Manifest(kind="samples", total=1, model="m", chunks=(write_chunk(store, "k", 0, rows),))
    path = rows_path(store, manifest.chunks[0])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(StoreError, match=r"jsonl was changed after it was written"):
        list(read_rows(store, manifest, Prompt))


def test_rows_of_another_kind_name_the_line(store: LocalStore, rows: list[Prompt]) -> None:
    chunk = write_chunk(store, "k", 0, rows)
    with pytest.raises(InputError, match=r"jsonl, line 1: not a Grade"):
        read_chunk(store, chunk, Grade)


def test_manifest_file(tmp_path: Path) -> None:
    manifest = Manifest(kind="grades", total=1, model="m", chunks=(Chunk(index=0, key="k", digest="d", rows=3),))
    write_manifest(tmp_path / "m.json", manifest)
    assert read_manifest(tmp_path / "m.json") == manifest
    assert manifest.rows == 3


def parts_of(total: int, shards: int) -> list[Manifest]:
    chunks = [Chunk(index=index, key=f"k{index}", digest=f"d{index}", rows=index) for index in range(total)]
    return [
        Manifest(kind="samples", total=total, model="m", chunks=tuple(chunks[shard::shards])) for shard in range(shards)
    ]


@given(total=st.integers(0, 12), shards=st.integers(1, 5), data=st.data())
def test_merging_does_not_depend_on_shards_or_their_order(total: int, shards: int, data: st.DataObject) -> None:
    parts = data.draw(st.permutations(parts_of(total, shards)))
    merged = merge_manifests(parts)
    assert [chunk.index for chunk in merged.chunks] == list(range(total))
    assert merged == merge_manifests(parts_of(total, 1))
    assert merged.digest == merge_manifests(parts_of(total, 1)).digest


@given(total=st.integers(1, 8), shards=st.integers(1, 4), data=st.data())
def test_gaps_and_overlaps_are_refused(total: int, shards: int, data: st.DataObject) -> None:
    parts = parts_of(total, shards)
    chunks = [chunk for part in parts for chunk in part.chunks]
    lost = data.draw(st.sampled_from(chunks))
    gap = [part.model_copy(update={"chunks": tuple(c for c in part.chunks if c != lost)}) for part in parts]
    overlap = [*parts, parts[0].model_copy(update={"chunks": (lost,)})]
    both = [*gap, parts[0].model_copy(update={"chunks": (data.draw(st.sampled_from(chunks)),) * 2})]
    foreign = [*parts, parts[0].model_copy(update={"chunks": (lost.model_copy(update={"index": total}),)})]
    for wrong in (gap, overlap, both, foreign):
        with pytest.raises(StageError, match="do not make the whole set"):
            merge_manifests(wrong)


@pytest.mark.parametrize("change", [{"kind": "grades"}, {"total": 7}, {"model": "other"}])
def test_manifests_of_other_sets_are_refused(change: dict[str, object]) -> None:
    parts = parts_of(4, 2)
    with pytest.raises(StageError, match="different sets"):
        merge_manifests([parts[0], parts[1].model_copy(update=change)])


def test_nothing_to_merge() -> None:
    with pytest.raises(StageError, match="no manifests"):
        merge_manifests([])


def test_absent_manifests_merge_to_an_absent_one() -> None:
    absent = Manifest(kind="samples", total=0, model="m", absent=True)
    assert merge_manifests([absent, absent]) == absent
    with pytest.raises(StageError, match="different sets"):
        merge_manifests([absent, parts_of(0, 1)[0]])


def test_an_absent_model_has_no_rows() -> None:
    with pytest.raises(ValueError, match="cannot have chunks"):
        Manifest(kind="samples", total=1, model="m", absent=True)
    with pytest.raises(ValueError, match="cannot have chunks"):
        Manifest(kind="samples", total=0, model="m", absent=True, chunks=parts_of(1, 1)[0].chunks)


def test_digest_is_of_the_rows() -> None:
    (one,) = parts_of(3, 1)
    assert one.digest != one.model_copy(update={"kind": "verdicts"}).digest
    assert one.digest == one.model_copy(update={"total": 9}).digest
    assert one.digest != one.model_copy(update={"chunks": one.chunks[:2]}).digest
