"""The due component."""
