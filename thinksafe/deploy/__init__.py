"""Rollout: the ledger's champion, served on a Kubernetes cluster, verified there, and taken back where it fails."""
