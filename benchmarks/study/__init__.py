"""The micro world as evidence: all methods on several students and seeds, with intervals (docs/study.md)."""
