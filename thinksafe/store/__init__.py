"""Artifact stores: a small object protocol behind local folders and S3."""

from __future__ import annotations

from thinksafe.store.base import Store, check_reachable, open_store

__all__ = ["Store", "check_reachable", "open_store"]
