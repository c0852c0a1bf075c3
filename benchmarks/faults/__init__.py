"""Faults on purpose, with figures: ``python -m benchmarks.faults`` writes the table of docs/reliability.md.

The stages run as processes, through their own command line, against real servers over HTTP; nothing inside them is
replaced. A scenario that fails is shown as failed.
"""
