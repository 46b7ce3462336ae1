"""Ties a child process to its parent and keeps it from being root. Knows nothing of what the child does."""

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
NOBODY = 65534  # inside the namespace; outside it is still the user who started us


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """For `preexec_fn`: the child gets this signal when the thread that started it ends (on Linux only)."""
    if sys.platform != "linux":
        return lambda: None
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)

    return tie


def unprivileged(number: signal.Signals) -> dict[str, Any]:
    """Arguments for Popen that start a program tied to us and never as root (PostgreSQL refuses root).

    Root's child runs in a user namespace where it is nobody and still opens what root owns; where the kernel
    allows no namespaces it runs as the machine's `nobody`, to whom its files are given (see `user_outside`).
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
    """The user id that such a child has in the eyes of the file system."""
    if os.geteuid() != 0 or _namespaces():
        return os.geteuid()
    return pwd.getpwnam("nobody").pw_uid


def _entrance() -> Callable[[], None]:
    """For `preexec_fn`: go into a new user namespace in which this user is nobody."""
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
    """Whether this kernel lets us make user namespaces: asked once, by trying."""
    if sys.platform != "linux":
        return False
    try:
        return subprocess.run(["true"], preexec_fn=_entrance()).returncode == 0
    except (subprocess.SubprocessError, OSError):
        return False


def processes_in(folder: Path, pid: int) -> list[int]:
    """The live processes of ours whose working directory it is; where the system cannot say, `pid` if it names it."""
    if sys.platform == "linux":
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # gone, a zombie, or someone else's
                if (entry / "cwd").samefile(folder):
                    found.append(int(entry.name))
        return found
    listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return [pid] if pid and str(folder) in listed.stdout else []
