"""Sampling: turn prompts into samples, through one small interface of engines."""
