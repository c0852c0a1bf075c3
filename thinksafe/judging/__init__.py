"""Judging: guards give samples verdicts, graders read answers."""
