"""Generation engines behind one protocol."""

from __future__ import annotations

from thinksafe.engines.base import Engine, Generation, open_engine

__all__ = ["Engine", "Generation", "open_engine"]
