"""The alarm component."""
