"""What only Linux, or only Unix, has is imported where it is used: the modules load where it is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# Our modules see an interpreter like that of Windows; libraries, which have their own code for it, see this one's.
LOAD_ALL = '''
import builtins, multiprocessing, os, pkgutil, signal, sys, types
from importlib import import_module

OURS = ("thinksafe", "thinksafe_components", "thinksafe_configs", "thinksafe_pipelines")
BLOCKED = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "posix", "curses", "readline"}
MISSING = {
    "signal": {"SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGCHLD", "alarm", "setitimer", "pthread_kill"},
    "os": {"fork", "getuid", "geteuid", "getgid", "getpgid", "killpg", "setsid", "chown", "uname", "register_at_fork",
           "sched_getaffinity", "WNOHANG", "O_DIRECTORY", "statvfs", "mkfifo"},
}

def like_windows(module):
    copy = types.ModuleType(module.__name__)
    copy.__dict__.update((k, v) for k, v in vars(module).items() if k not in MISSING[module.__name__])
    return copy

copies = {name: like_windows(sys.modules[name]) for name in MISSING}
real, real_context = builtins.__import__, multiprocessing.get_context

def load(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and globals and str(globals.get("__name__")).split(".")[0] in OURS:
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}")
        if name in copies:
            return copies[name]
    return real(name, globals, locals, fromlist, level)

def context(method=None):
    caller = sys._getframe(1).f_globals["__name__"]
    if method in ("fork", "forkserver") and caller.split(".")[0] in OURS:
        raise ValueError(f"cannot find context for {method!r}")
    return real_context(method)

builtins.__import__, multiprocessing.get_context = load, context
if len(sys.argv) > 1:
    exec(sys.argv[1], {"__name__": "thinksafe.tried"})
count = 0
for root in OURS:
    for found in pkgutil.walk_packages(import_module(root).__path__, f"{root}."):
        # the fork server's own imports: it is for Linux only (thinksafe.run.parents.forks)
        if found.name.endswith(".__main__") or found.name == "thinksafe_pipelines.local.preload":
            continue
        try:
            import_module(found.name)
        except ModuleNotFoundError as error:
            if error.name not in ("vllm", "openai"):
                raise
        count += 1
print(count)
'''


def test_every_module_loads_without_unix() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD_ALL], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 150


@pytest.mark.parametrize("line", [
    "import fcntl", "from resource import getrusage", "from signal import SIGKILL", "import os; os.getuid()",
    "import multiprocessing; multiprocessing.get_context('forkserver')",
])
def test_what_unix_alone_has_would_be_found(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, line], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode != 0
    kinds = ("ModuleNotFoundError", "ImportError", "AttributeError", "ValueError")
    assert done.stderr.splitlines()[-1].startswith(kinds)
