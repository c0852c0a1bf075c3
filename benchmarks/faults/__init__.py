"""Deliberate faults, with figures: ``python -m benchmarks.faults`` writes the table of docs/reliability.md.

The stages run as processes, through their own command line, against real servers over HTTP; nothing inside them is
mocked. A scenario that fails is shown as failed.
"""
