"""Registry: the promotion ledger, and the MLflow registry that follows it."""
