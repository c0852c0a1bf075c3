"""The choice of the samples that a second guard reads, and the memory that two guards share."""

from __future__ import annotations

import gc
import hashlib
import sys


def is_chosen(sample_id: str, every_n: int, seed: int) -> bool:
    """Return whether the second guard reads a sample: about one in ``every_n``, whatever chunk or shard it is in."""
    digest = hashlib.sha256(f"{seed}\n{sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % every_n == 0


def release_memory() -> None:
    """Give back what a guard took that nobody holds any longer: two guards need not fit on a GPU together."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
