"""Kubernetes: one client, its error messages in plain words, and KFP's executor files."""
