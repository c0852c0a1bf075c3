"""Are two mathematical expressions equal? Decided by math-verify in a process of its own.

A model's answer is hostile text: ``9^{9^{9^9}}`` keeps computer algebra busy for ever, and no signal handler runs
within a single big-integer operation. So the comparison has a limit of processor time (not of wall-clock time, which
would make grades depend on the load of the machine) and of memory; an answer that exceeds them equals nothing.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading

from thinksafe.errors import StageError

SECONDS = 3
"""Processor seconds a comparison may take."""
MEMORY = 4 << 30
"""Bytes of address space that the process may take."""
LONGEST = 1000
"""Characters of an expression; no reference answer comes near it."""
READY = "ready\n"

_lock = threading.Lock()
_worker: subprocess.Popen[str] | None = None


def equal_expressions(reference: str, extracted: str) -> bool:
    """Return whether math-verify finds two LaTeX expressions equal; False when it cannot tell within the limits.

    Raises:
        StageError: math-verify is not there.
    """
    if max(len(reference), len(extracted)) > LONGEST:
        return False
    with _lock:
        try:
            return _ask(json.dumps([reference, extracted]))
        except BaseException:
            _stop()  # an answer that nobody waited for must not be taken for the next one
            raise


def _ask(question: str) -> bool:
    global _worker
    if _worker is None or _worker.poll() is not None:
        _worker = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL,
        )
        atexit.unregister(_stop)
        atexit.register(_stop)
        if _read(_worker) != READY:
            _stop()
            raise StageError(
                "Expressions cannot be compared: math-verify does not start with limits of time and memory.",
                "Install thinksafe again; on Windows run it in WSL.",
            )
    assert _worker.stdin is not None
    try:
        _worker.stdin.write(question + "\n")
        _worker.stdin.flush()
    except BrokenPipeError:
        pass
    answer = _read(_worker)
    if not answer:  # killed by a limit: the next question gets a new process
        _stop()
    return answer == "true\n"


def _stop() -> None:
    global _worker
    if _worker is not None:
        _worker.kill()
        _worker.communicate()
        _worker = None


def _read(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline()


def _serve() -> None:
    """Answer ``true`` or ``false`` to each JSON pair on stdin, within the limits."""
    import logging
    import resource  # Windows has none: there the process ends here, and the question is refused

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "darwin":  # macOS maps more than this before Python starts, and refuses the limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # nothing that a library prints is taken for an answer
    answers.write(READY)
    for line in sys.stdin:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime) + 1 + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        reference, extracted = json.loads(line)
        try:
            # without time limits of its own: math-verify implements them with SIGALRM, which cannot stop one operation
            gold = parse(f"${reference}$", parsing_timeout=None)
            answer = parse(f"${extracted}$", parsing_timeout=None)
            equal = verify(gold, answer, timeout_seconds=None)
        except Exception:
            equal = False
        answers.write("true\n" if equal else "false\n")


if __name__ == "__main__":
    _serve()
