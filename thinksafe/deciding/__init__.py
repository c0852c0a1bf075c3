"""Deciding: the gate, or the monitor of a served model, turns checks on metrics into a decision."""
