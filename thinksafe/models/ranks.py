"""Ranks of adapters that vLLM supports: its ``max_lora_rank`` is one of a few numbers."""

from __future__ import annotations

from thinksafe.errors import StoreError

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values of ``max_lora_rank`` that all versions from 0.11 on accept; newer ones also accept 1."""


def max_lora_rank(rank: object) -> int:
    """Return the smallest ``max_lora_rank`` that covers a rank.

    Args:
        rank: Rank in the adapter's configuration.

    Raises:
        StoreError: vLLM cannot serve such an adapter.
    """
    for allowed in RANKS:
        if type(rank) is int and 0 < rank <= allowed:
            return allowed
    raise StoreError(f"vLLM cannot serve the adapter rank {rank!r}.", f"Train with training.lora_rank <= {RANKS[-1]}.")
