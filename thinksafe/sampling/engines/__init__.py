"""Generation engines behind one protocol."""

from __future__ import annotations

from thinksafe.sampling.engines.base import (
    Batch,
    Engine,
    Generation,
    LikelihoodEngine,
    StreamingEngine,
    Turn,
    open_engine,
    stream,
)

__all__ = ["Batch", "Engine", "Generation", "LikelihoodEngine", "StreamingEngine", "Turn", "open_engine", "stream"]
