"""Measuring: turn verdicts and grades into estimates with intervals, paired when two models are compared."""
