from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.errors import StoreError
from thinksafe.models.ranks import RANKS, max_lora_rank


@given(st.integers(1, 512))
def test_the_smallest_that_holds_the_adapter(rank: int) -> None:
    found = max_lora_rank(rank)
    assert found in RANKS
    assert rank <= found
    assert not any(rank <= allowed < found for allowed in RANKS)


@pytest.mark.parametrize(("rank", "allowed"), [(1, 8), (8, 8), (24, 32), (48, 64), (300, 320)])
def test_ranks_between_those_of_vllm(rank: int, allowed: int) -> None:
    assert max_lora_rank(rank) == allowed


@pytest.mark.parametrize("rank", [0, -1, 513, "8", 8.0, True, None])
def test_what_vllm_does_not_serve(rank: object) -> None:
    with pytest.raises(StoreError, match="cannot serve the adapter rank"):
        max_lora_rank(rank)
