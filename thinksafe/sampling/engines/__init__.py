"""Generation engines behind one protocol."""

from __future__ import annotations

from thinksafe.sampling.engines.base import Batch, Engine, Generation, Turn, open_engine, stream

__all__ = ["Batch", "Engine", "Generation", "Turn", "open_engine", "stream"]
