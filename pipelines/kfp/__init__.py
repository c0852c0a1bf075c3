"""Kubeflow: compiling for a cluster, publishing, schedules, snapshots."""
