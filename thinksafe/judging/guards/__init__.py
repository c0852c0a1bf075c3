"""Safety guards behind one protocol."""

from __future__ import annotations

from thinksafe.judging.guards.base import Guard, Opinion, open_guard

__all__ = ["Guard", "Opinion", "open_guard"]
