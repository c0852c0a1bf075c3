"""Ranks of adapters as vLLM takes them: its ``max_lora_rank`` is one of a few numbers."""

from __future__ import annotations

from thinksafe.errors import StoreError

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values of ``max_lora_rank`` that all versions from 0.11 on take; the newer ones also take 1."""


def max_lora_rank(rank: object) -> int:
    """Return the smallest ``max_lora_rank`` that holds an adapter of a rank.

    Args:
        rank: What the adapter's configuration says.

    Raises:
        StoreError: vLLM serves no such adapter.
    """
    for allowed in RANKS:
        if type(rank) is int and 0 < rank <= allowed:
            return allowed
    raise StoreError(f"vLLM serves no adapter of rank {rank!r}.", f"Train with training.lora_rank <= {RANKS[-1]}.")
