"""Formats of stored rows: version numbers in keys, so that changed code makes its rows again.

A chunk or an adapter is found again by its key. The key holds the inputs, the settings, the versions of the libraries,
and, for our own code, a format number. Raise the number when a change of the code changes the rows: all of them are
then made again. Leave it if the rows stay the same, for example after a new comment or a moved function.
``tests/unit/run/test_formats.py`` notices every change of the code behind a format and asks which of the two it is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowFormat:
    """The version of one kind of row."""

    number: int
    module: str
    """Module that makes the rows, below ``thinksafe``; what it imports may change them, too."""
    row: str = ""
    """Type of a row in :mod:`thinksafe.records`; empty for an adapter."""


FORMATS: dict[str, RowFormat] = {
    "sample": RowFormat(3, "stages.sample", "Sample"),
    "judge": RowFormat(2, "stages.judge", "Verdict"),
    "guard micro-exact": RowFormat(1, "judging.guards.exact"),
    "guard refusal-match": RowFormat(2, "judging.guards.refusal"),
    "guard llama-guard-3": RowFormat(2, "judging.guards.llama_guard"),
    "guard wildguard": RowFormat(2, "judging.guards.wildguard"),
    "guard qwen3guard": RowFormat(2, "judging.guards.qwen3guard"),
    "guard granite-guardian-3.3": RowFormat(1, "judging.guards.granite_guardian"),
    "guard granite-guardian-4.1": RowFormat(1, "judging.guards.granite_guardian"),
    "guard nemotron-safety-guard-3": RowFormat(1, "judging.guards.nemotron"),
    "guard gpt-oss-safeguard": RowFormat(1, "judging.guards.gpt_oss_safeguard"),
    "guard polyguard": RowFormat(1, "judging.guards.polyguard"),
    "guard panel": RowFormat(2, "judging.guards.panel", "Verdict"),
    "grade": RowFormat(2, "stages.grade", "Grade"),
    "train": RowFormat(2, "stages.train"),
}


def format_of(name: str) -> str:
    """Return a format as keys hold it, such as ``sample 1``. Raises KeyError for an unknown name."""
    return f"{name} {FORMATS[name].number}"
