"""Speed and cost relative to a reference, as ratios measured in one run: ``python -m benchmarks.performance``."""
