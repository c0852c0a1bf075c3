"""Runs: stage records, manifests of chunks, and progress."""
