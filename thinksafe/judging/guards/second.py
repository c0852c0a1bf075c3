"""The choice of samples for a second guard, and the memory that two guards share."""

from __future__ import annotations

import gc
import hashlib
import sys


def is_chosen(sample_id: str, every_n: int, seed: int) -> bool:
    """Return whether the second guard judges a sample: about one in ``every_n``, whatever the chunks."""
    digest = hashlib.sha256(f"{seed}\n{sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % every_n == 0


def release_memory() -> None:
    """Free the memory of a guard that is no longer in use: two guards may not fit on a GPU together."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
