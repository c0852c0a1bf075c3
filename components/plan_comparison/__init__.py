"""The plan_comparison component."""
