"""Orders: what workers read is what the stage wrote, and workers with other libraries are noticed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from thinksafe.digests import digest_file
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.run.manifests import Chunk
from thinksafe.run.record import Advance
from thinksafe.store.local import LocalStore
from thinksafe.work.order import Order, announce, announced, clear, place, read_order
from thinksafe.work.worker import work_on


class Keys:
    """A set of chunks that is only announced."""

    facts = {"guard": "g"}

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def make(self, wanted: Iterator[int], advance: Advance) -> Iterator[Chunk]:
        raise AssertionError("nothing is made here")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    return tmp_path / "rows.jsonl"


@pytest.fixture
def order(prompts: Path) -> Order:
    return Order(
        stage="grade", run_id="run-1", task="grade-base", section={"reasoning": "think"},
        inputs={"prompts.jsonl": digest_file(prompts)}, maker="image@sha256:1", workers=2,
    )


def test_workers_read_what_the_stage_placed(
    store: LocalStore, order: Order, prompts: Path, tmp_path: Path
) -> None:
    address = place(store, order, {"prompts.jsonl": prompts})
    (tmp_path / "there").mkdir()
    where, read = read_order(address, tmp_path / "there")
    assert (where.root, read) == (store.root, order)
    assert (tmp_path / "there" / "prompts.jsonl").read_text() == "{}\n"
    clear(store, order)
    assert store.keys("work/") == []


@pytest.mark.parametrize(
    "change", [{"section": {"reasoning": "none"}}, {"maker": "image@sha256:2"}, {"inputs": {"prompts.jsonl": "0"}},
               {"stage": "judge"}],
)
def test_the_key_holds_what_determines_the_chunks(order: Order, change: dict[str, object]) -> None:
    assert order.model_copy(update=change).key != order.key


@pytest.mark.parametrize("change", [{"run_id": "run-2"}, {"task": "grade-candidate"}, {"workers": 7}])
def test_the_key_holds_nothing_else(order: Order, change: dict[str, object]) -> None:
    assert order.model_copy(update=change).key == order.key


def test_runs_do_not_share_claims(order: Order) -> None:
    other = order.model_copy(update={"run_id": "run-2"})
    assert len({order.scope(0), order.scope(1), other.scope(0), other.scope(1)}) == 4


def test_a_changed_input_is_refused(store: LocalStore, order: Order, prompts: Path, tmp_path: Path) -> None:
    address = place(store, order, {"prompts.jsonl": prompts})
    key = f"work/{order.key}/run-1/prompts.jsonl.gz"
    for changed in (gzip.compress(b"{}\n{}\n"), store.get(key)[:-3], b"?", b""):
        store.put(key, changed)
        with pytest.raises(InputError, match="was changed"):
            read_order(address, tmp_path)


def test_runs_with_one_order_do_not_take_its_files_from_each_other(
    store: LocalStore, order: Order, prompts: Path, tmp_path: Path
) -> None:
    other = order.model_copy(update={"run_id": "run-2"})
    address = place(store, order, {"prompts.jsonl": prompts})
    place(store, other, {"prompts.jsonl": prompts})
    clear(store, other)
    assert read_order(address, tmp_path)[1] == order


@pytest.mark.parametrize("address", ["", "nowhere", "/tmp/store/work/abc", "/work/abc/order.json", "/tmp/work/a/b/x"])
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="not the address of an order"):
        read_order(address, tmp_path)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"schema_version": 2}'])
def test_what_is_no_order_is_refused(store: LocalStore, tmp_path: Path, text: bytes) -> None:
    store.put("work/abc/run-1/order.json", text)
    with pytest.raises(InputError, match="not an order"):
        read_order(store.uri("work/abc/run-1/order.json"), tmp_path)


def test_an_input_cannot_name_a_file_elsewhere(order: Order) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Order.model_validate(order.model_dump() | {"inputs": {"../x.json": "0"}})


@pytest.mark.parametrize("worker", [2, 99])
def test_a_worker_that_the_order_does_not_have(
    store: LocalStore, order: Order, prompts: Path, worker: int
) -> None:
    address = place(store, order, {"prompts.jsonl": prompts})
    with pytest.raises(ConfigError, match="is not one of the 2"):
        work_on(address, worker, {})


def test_the_first_worker_says_the_keys_and_the_others_agree(store: LocalStore, order: Order) -> None:
    assert announced(store, order, 0) is None
    announce(store, order, 0, Keys("a", "b"))
    announce(store, order, 0, Keys("a", "b"))
    said = announced(store, order, 0)
    assert said is not None
    assert (said.keys, said.facts) == (("a", "b"), {"guard": "g"})
    with pytest.raises(StageError, match="do not agree"):
        announce(store, order, 0, Keys("a", "c"))
    announce(store, order, 1, Keys("a", "c"))


def test_keys_that_cannot_be_read_are_written_again(store: LocalStore, order: Order) -> None:
    store.put(f"work/{order.key}/keys-0.json", b"?")
    assert announced(store, order, 0) is None
    announce(store, order, 0, Keys("a"))
    assert announced(store, order, 0) is not None
