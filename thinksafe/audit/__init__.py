"""The audit of the guard: a sample of its verdicts for people to label, and what their labels say about it."""
