"""Judging: guards give verdicts on samples, graders check answers."""
