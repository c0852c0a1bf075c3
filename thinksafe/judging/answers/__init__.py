"""Answers: find what a text states, read it whole or not at all, and compare it with the reference."""
