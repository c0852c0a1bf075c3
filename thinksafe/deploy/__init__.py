"""Rollout: the ledger's champion, served on a Kubernetes cluster, verified there, and rolled back if it fails."""
