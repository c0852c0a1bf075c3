"""Chunks are whole or made again; manifests are whole or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import InputError, StoreError
from thinksafe.records import Grade, Prompt
from thinksafe.run.manifests import (
    Chunk,
    Manifest,
    ensure_chunk,
    find_chunk,
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


def chunks_of(total: int) -> tuple[Chunk, ...]:
    return tuple(Chunk(index=index, key=f"k{index}", digest=f"d{index}", rows=index) for index in range(total))


@given(total=st.integers(1, 8), data=st.data())
def test_gaps_overlaps_and_another_order_are_refused(total: int, data: st.DataObject) -> None:
    chunks = list(chunks_of(total))
    assert Manifest(kind="samples", total=total, model="m", chunks=tuple(chunks)).rows == sum(range(total))
    lost = data.draw(st.sampled_from(chunks))
    gap = [chunk for chunk in chunks if chunk != lost]
    twice = sorted([*gap, *[data.draw(st.sampled_from(chunks))] * 2], key=lambda chunk: chunk.index)
    foreign = [*chunks, lost.model_copy(update={"index": total})]
    negative = [lost.model_copy(update={"index": -1}), *chunks]
    mixed = data.draw(st.permutations(chunks))
    for wrong in (gap, twice, foreign, negative, *([mixed] if mixed != chunks else [])):
        with pytest.raises(ValueError, match=f"are not those from 0 to {total - 1}"):
            Manifest(kind="samples", total=total, model="m", chunks=tuple(wrong))


def test_a_manifest_with_a_gap_is_not_read(tmp_path: Path) -> None:
    whole = Manifest(kind="samples", total=3, model="m", chunks=chunks_of(3))
    write_manifest(tmp_path / "m.json", whole)
    document = json.loads((tmp_path / "m.json").read_text())
    del document["chunks"][1]
    (tmp_path / "m.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"m\.json"):
        read_manifest(tmp_path / "m.json")


def test_an_absent_model_has_no_rows() -> None:
    with pytest.raises(ValueError, match="cannot have chunks"):
        Manifest(kind="samples", total=1, model="m", absent=True)
    with pytest.raises(ValueError, match="cannot have chunks"):
        Manifest(kind="samples", total=0, model="m", absent=True, chunks=chunks_of(1))


def test_digest_is_of_the_rows() -> None:
    one = Manifest(kind="samples", total=3, model="m", chunks=chunks_of(3))
    assert one.digest != one.model_copy(update={"kind": "verdicts"}).digest
    assert one.digest == one.model_copy(update={"total": 9}).digest
    assert one.digest != one.model_copy(update={"chunks": one.chunks[:2]}).digest
