"""The diagnose component."""
