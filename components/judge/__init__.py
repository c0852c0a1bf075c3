"""The judge component."""
