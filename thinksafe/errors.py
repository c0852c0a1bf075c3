"""Errors for people to read: the problem, where it is, and the corrective action.

Exit codes are the contract of every command: 0 done (a verdict included), 1 a stage could not do its work, 2 bad
configuration, arguments or input, 3 (people's commands only) a verdict stopped the run.
"""

from __future__ import annotations

import errno
import os
import traceback

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 3


class ThinkSafeError(Exception):
    """A problem with a known corrective action. Its text never holds model or prompt text.

    Args:
        problem: What is wrong, naming the file, line, key or id.
        action: What the reader can do about it.
    """

    exit_code = EXIT_FAILED

    def __init__(self, problem: str, action: str) -> None:
        super().__init__(f"{problem} {action}")
        self.problem = problem
        self.action = action


class ConfigError(ThinkSafeError):
    """The configuration or a command-line argument is wrong."""

    exit_code = EXIT_BAD_INPUT


class InputError(ThinkSafeError):
    """An input file, prompt set or model folder is missing or malformed."""

    exit_code = EXIT_BAD_INPUT


class StageError(ThinkSafeError):
    """A stage could not do its work."""


class StoreError(StageError):
    """The artifact store failed, or its content is not what was written."""


class MissingError(StoreError):
    """There is no such object. An outage or a denied access never raises this."""


class DamagedError(StoreError):
    """An object exists, but its content is not what was written."""


class SignatureError(StageError):
    """What was read is not signed by a trusted signer, or is not what was signed."""


class ConflictError(StoreError):
    """Another writer created the object first (a conditional create failed)."""


_FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")


def full_disk(error: BaseException) -> StageError | None:
    """Return a StageError if the cause of an error is a full disk, None for any other error.

    Libraries wrap the system's error in other types (safetensors, SQLite); some keep only its text.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        number = cause.errno if isinstance(cause, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or any(text in str(cause) for text in _FULL):
            return StageError(
                "No space left on the disk.",
                "Free disk space where the command writes, in the folder for temporary files (TMPDIR) too, and start "
                "the same command again; finished work is kept.",
            )
        cause = cause.__cause__ or cause.__context__
    return None


def known_error(error: BaseException, action: str = "Report it.") -> ThinkSafeError:
    """Return an error itself, a full disk as such, and any other with its type and place alone.

    The message of an unexpected exception may quote model text.
    """
    if isinstance(error, ThinkSafeError):
        return error
    if full := full_disk(error):
        return full
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return StageError(f"unexpected {type(error).__name__} at {place}.", action)
