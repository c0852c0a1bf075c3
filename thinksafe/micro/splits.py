"""Assignment of pairs and problems to the three splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

__all__ = ["Split", "deal"]

Split = Literal["train", "validation", "test"]

_TRAIN_SHARE = 0.6
_VALIDATION_SHARE = 0.2


def deal(keys: Iterable[str]) -> dict[str, Split]:
    """Deal `keys` out to the splits in the order of their hashes: 60 % train, 20 % validation, the rest test."""
    ordered = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    train = round(len(ordered) * _TRAIN_SHARE)
    validation = train + round(len(ordered) * _VALIDATION_SHARE)
    return {
        key: "train" if place < train else "validation" if place < validation else "test"
        for place, key in enumerate(ordered)
    }
