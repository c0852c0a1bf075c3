"""The grade component."""
