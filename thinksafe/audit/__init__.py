"""The audit of the guard: a sample of its verdicts for people, and what their labels say of it."""
