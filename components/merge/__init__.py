"""The merge component."""
