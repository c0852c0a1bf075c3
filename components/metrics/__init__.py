"""The metrics component."""
