"""ThinkSafe: repair the safety of a reasoning model from its own samples, and gate what reaches users."""

__version__ = "0.1.0"
