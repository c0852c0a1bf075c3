"""Runs of a pipeline on this machine: as host processes, or in containers."""
