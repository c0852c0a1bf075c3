"""Speed and cost against a reference, as ratios measured in one run: ``python -m benchmarks.performance``."""
