"""Sampling: prompts become samples, through one small protocol of engines."""
