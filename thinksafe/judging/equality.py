"""Are two mathematical expressions equal? math-verify decides, in a separate process.

A model's answer is untrusted: ``9^{9^{9^9}}`` keeps computer algebra busy for ever, and no signal handler runs during
a single big-integer operation. So the comparison has limits of memory and of processor time (not wall-clock time, which
would make grades depend on the load of the machine). An answer that exceeds them equals nothing.
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
"""Limit of a comparison, in processor seconds."""
MEMORY = 4 << 30
"""Limit of the process, in bytes of address space."""
LONGEST = 1000
"""Longest expression, in characters; no reference answer comes near it."""
READY = "ready\n"

_lock = threading.Lock()
_worker: subprocess.Popen[str] | None = None


def equal_expressions(reference: str, extracted: str) -> bool:
    """Return whether math-verify finds two LaTeX expressions equal; False if it cannot decide within the limits.

    Raises:
        StageError: math-verify does not start.
    """
    if max(len(reference), len(extracted)) > LONGEST:
        return False
    with _lock:
        try:
            return _ask(json.dumps([reference, extracted]))
        except BaseException:
            _stop()  # a late answer must not be read as the next one
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
    if not answer:  # killed by a limit: the next comparison gets a new process
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
    import resource  # missing on Windows: there the process ends here, and the caller gets an error

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "darwin":  # macOS maps more than this before Python starts, and refuses the limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of a library must not be read as an answer
    answers.write(READY)
    for line in sys.stdin:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime) + 1 + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        reference, extracted = json.loads(line)
        try:
            # without math-verify's own time limits: they use SIGALRM, which cannot interrupt a single operation
            gold = parse(f"${reference}$", parsing_timeout=None)
            answer = parse(f"${extracted}$", parsing_timeout=None)
            equal = verify(gold, answer, timeout_seconds=None)
        except Exception:
            equal = False
        answers.write("true\n" if equal else "false\n")


if __name__ == "__main__":
    _serve()
