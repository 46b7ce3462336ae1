"""Starts child processes that end together with their parent and never run as root."""

import contextlib
import ctypes
import functools
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWUSER = 0x10000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
NOBODY = 65534  # the user id inside the namespace; outside it the child is still the user who started it


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """Returns a `preexec_fn` with which a child gets this signal when the thread that started the child ends.

    The kernel sends the signal. This works only on Linux; elsewhere the function does nothing.
    """
    if sys.platform != "linux":
        return lambda: None
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # the parent ended before prctl took effect
            os._exit(1)

    return tie


def unprivileged(number: signal.Signals) -> dict[str, Any]:
    """Returns the `Popen` arguments for a program that ends with this process and never runs as root.

    PostgreSQL refuses to run as root. When this process is root, the child runs in a user namespace in which it is the
    user `nobody`, but it can still open root's files. Where the kernel allows no namespaces, the child runs as the
    machine's user `nobody`, which must then own the program's files (see `user_outside`).
    """
    tie = end_with_parent(number)
    if os.geteuid() != 0:
        return {"preexec_fn": tie}
    if _namespaces():
        enter = _entrance()

        def enter_and_tie() -> None:
            enter()
            tie()

        return {"preexec_fn": enter_and_tie}
    nobody = pwd.getpwnam("nobody")
    return {"preexec_fn": tie, "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def user_outside() -> int:
    """Returns the id of the user who owns the files that an `unprivileged` child creates.

    A child in a user namespace sees itself as `nobody`, but its files belong to the user of this process.
    """
    if os.geteuid() != 0 or _namespaces():
        return os.geteuid()
    return pwd.getpwnam("nobody").pw_uid


def _entrance() -> Callable[[], None]:
    """Returns a `preexec_fn` that moves the child into a new user namespace, in which the current user is `nobody`."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.geteuid(), os.getegid()
    maps = {"setgroups": "deny", "uid_map": f"{NOBODY} {user} 1", "gid_map": f"{NOBODY} {group} 1"}

    def enter() -> None:
        if libc.unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        for name, value in maps.items():
            Path("/proc/self", name).write_text(value)

    return enter


@functools.cache
def _namespaces() -> bool:
    """Returns whether this kernel allows user namespaces; tries it once and remembers the result."""
    if sys.platform != "linux":
        return False
    try:
        return subprocess.run(["true"], preexec_fn=_entrance()).returncode == 0
    except (subprocess.SubprocessError, OSError):
        return False


def processes_in(folder: Path, pid: int) -> list[int]:
    """Returns the ids of this user's live processes whose working directory is `folder`.

    This can be found out only on Linux. Elsewhere, returns `pid` alone if that process is alive and its command line
    contains the path of the folder, and otherwise no id.
    """
    if sys.platform == "linux":
        pids = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # the process has ended, is a zombie, or belongs to another user
                if (entry / "cwd").samefile(folder):
                    pids.append(int(entry.name))
        return pids
    ps = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return [pid] if pid and str(folder) in ps.stdout else []
