"""Kubernetes: one client, its refusals in plain words, and KFP's executor files."""
