"""Deciding: checks on metrics become a decision, by the gate or by the monitor of a served model."""
