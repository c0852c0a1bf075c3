"""Prompts: where they come from, and what training and evaluation must not share."""
