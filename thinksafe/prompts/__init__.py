"""Prompts: load them, and keep training and evaluation apart."""
