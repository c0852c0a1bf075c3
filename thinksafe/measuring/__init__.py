"""Measuring: verdicts and grades become estimates with intervals, paired where two models are compared."""
