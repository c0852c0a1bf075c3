"""The plan_evaluation component."""
