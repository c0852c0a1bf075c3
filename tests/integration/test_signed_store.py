"""Signatures over S3, as over a folder: no changed bit of what is signed passes, whoever writes to the bucket how."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_servers import bucket, moto_s3
from signed_worlds import SignedWorld

from thinksafe.errors import SignatureError, StoreError
from thinksafe.registry.ledger import entry_key


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedWorld]:
    with moto_s3() as server, pytest.MonkeyPatch.context() as patch, bucket(server, patch) as root:
        made = SignedWorld(tmp_path_factory.mktemp("world"), root=f"{root}/runs")
        made.signed("a")
        made.signed("b", full=True)
        yield made


def signed_keys(world: SignedWorld) -> list[str]:
    return [*world.store.keys("weights/b/made/"), entry_key("m", 1), entry_key("m", 2)]


def changed(world: SignedWorld, key: str, data: st.DataObject) -> tuple[bytes, bytes]:
    before = world.store.get(key)
    after = bytearray(before)
    after[data.draw(st.integers(0, len(before) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    return before, bytes(after)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_passes(world: SignedWorld, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(signed_keys(world)))
    before, after = changed(world, key, data)
    world.store.put(key, after)
    try:
        with pytest.raises((SignatureError, StoreError), match=key.rpartition("/")[2]):
            world.seal.require_servable()
    finally:
        world.store.put(key, before)
    assert world.seal.require_servable().generation == 2


def test_an_object_that_another_tool_wrote_does_not_pass(world: SignedWorld, tmp_path: Path) -> None:
    client: Any = boto3.client("s3")
    name, _, prefix = world.store.root.removeprefix("s3://").partition("/")
    for key in signed_keys(world):
        before = world.store.get(key)
        client.put_object(Bucket=name, Key=f"{prefix}/{key}", Body=before + b" ")
        with pytest.raises((SignatureError, StoreError)):
            world.seal.require_servable()
        world.store.put(key, before)
    assert world.seal.require_servable().generation == 2
