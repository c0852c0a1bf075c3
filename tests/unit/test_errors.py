"""A full disk is recognised in what libraries make of it, and nothing else is."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from thinksafe.errors import full_disk


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "whatever"),
        OSError(errno.EDQUOT, "whatever"),
        RuntimeError('I/O error: No space left on device (os error 28)'),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_a_full_disk(error: Exception) -> None:
    outer = RuntimeError("something failed")
    outer.__context__ = error
    for met in (error, outer):
        known = full_disk(met)
        assert known is not None
        assert "No space left" in known.problem
        assert "start the same command again" in known.action


def test_other_errors_are_not_explained() -> None:
    loop = ValueError("no")
    loop.__context__ = RuntimeError("no")
    loop.__context__.__context__ = loop
    assert full_disk(loop) is None
    assert full_disk(PermissionError(errno.EACCES, "no")) is None
