"""Runs a process that has loaded the product, and forks it for each command, so that commands start at once.

`python -m tests.warm` reads requests from its standard input, which is a socket. Each request is one line of JSON. With
a request to start a command come the descriptors of the command's input, output and errors. The process answers each
request with a line, and ends when the socket is closed.

`tests/commands.py` forks such a process from pytest, which has already loaded the product.
"""

import faulthandler
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any

from app.cli import command_line
from app.cli import main as aimline
from app.serving.start import uncollected

CHUNK = 1 << 16  # bytes read at a time
ROOT = Path(__file__).parents[1]
PATIENCE = 120.0  # seconds that a command may take


class Warm:
    """A process that has loaded the product, and that starts, awaits and kills other processes on request."""

    def __init__(self, *, forked: bool = False) -> None:
        """Starts a new interpreter. If `forked` is true, forks this process instead.

        Fork only while the product's modules are unchanged, because the forked process gets the modules of this
        process.
        """
        self._orders, theirs = socket.socketpair()
        self._one_at_a_time = Lock()
        with theirs:
            self._end = _forked(theirs) if forked else _started(theirs)

    def start(self, command: Sequence[str], env: Mapping[str, str], streams: Sequence[int]) -> int:
        """Starts `app` or `app.worker` with these arguments, and returns its process id.

        `streams` has the descriptors of its input, output and errors.
        """
        return int(self._ask({"command": command, "env": dict(env)}, streams))

    def wait(self, pid: int, within: float) -> int:
        """Returns the exit code of a process. After `within` seconds, kills the process and raises TimeoutError."""
        code: int | None = self._ask({"wait": pid, "within": within})
        if code is None:
            raise TimeoutError(f"It did not end within {within:.0f} seconds.")
        return code

    def run(self, command: Sequence[str], env: Mapping[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command with this `stdin`, and returns its output and exit code."""
        with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            given.write(stdin)
            given.seek(0)
            streams = [file.fileno() for file in (given, out, err)]
            code = self.wait(self.start(command, env, streams), PATIENCE)
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())

    def kill(self, pid: int) -> None:
        """Kills a process with SIGKILL; returns when the process is gone."""
        self._ask({"kill": pid})

    def close(self) -> None:
        """Ends the process. Processes that it started must have been killed before."""
        self._orders.close()
        self._end()

    def _ask(self, order: dict[str, Any], streams: Sequence[int] = ()) -> Any:
        line = json.dumps(order).encode() + b"\n"
        with self._one_at_a_time:
            sent = socket.send_fds(self._orders, [line], streams) if streams else 0
            self._orders.sendall(line[sent:])
            return json.loads(_line_of(self._orders)[0])


def _line_of(orders: socket.socket) -> tuple[bytes, list[int]]:
    """Returns the next line from a socket, and the file descriptors that were sent with the line.

    The line is empty if the other end has closed the socket.
    """
    line = b""
    streams: list[int] = []
    while not line.endswith(b"\n"):
        more, came, _, _ = socket.recv_fds(orders, CHUNK, 3)
        if not more:
            return b"", streams
        line, streams = line + more, streams + came
    return line, streams


def load() -> None:
    """Imports what the commands of the product use."""
    with uncollected():
        command_line()
        for module in ("app.main", "app.worker"):
            import_module(module)


def main() -> None:
    """Loads the product's modules. Then carries out requests to start, await or kill processes."""
    load()
    gc.collect()
    gc.freeze()  # a forked process does not copy the pages of what was loaded in order to collect it
    _obey(socket.socket(fileno=os.dup(0)))


def _started(orders: socket.socket) -> Callable[[], object]:
    """Starts another interpreter that carries out the requests from a socket; returns a function that waits for its
    end.
    """
    return subprocess.Popen([sys.executable, "-m", "tests.warm"], cwd=ROOT, stdin=orders.fileno()).wait


def _forked(orders: socket.socket) -> Callable[[], object]:
    """Forks a process that carries out the requests from the socket `orders`; returns a function that waits for its
    end.
    """
    pid = os.fork()
    if pid:
        return lambda: os.waitpid(pid, 0)
    try:
        _begin_anew(orders)
        _obey(orders)
    finally:
        os._exit(0)


def _begin_anew(orders: socket.socket) -> None:
    """Gives a fork of pytest the streams, modules, warnings and garbage collection of a new interpreter.

    Closes all other descriptors except the socket, so that this process does not keep pytest's streams open.
    """
    faulthandler.disable()
    with open(os.devnull, "r+") as nothing:
        for standard in (0, 1, 2):
            os.dup2(nothing.fileno(), standard)
    kept = orders.fileno()
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    os.chdir(ROOT)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # until the process ends
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # as above
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115  # as above
    sys.modules["__main__"] = sys.modules[__name__]
    warnings.resetwarnings()
    for quiet in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", quiet)
    gc.freeze()
    gc.enable()


def _obey(orders: socket.socket) -> None:
    """Reads requests from a socket and carries them out, until the other end closes the socket."""
    while True:
        line, given = _line_of(orders)
        if not line:
            return
        order: dict[str, Any] = json.loads(line)
        if "kill" in order:
            _kill(order["kill"])
            orders.sendall(b"0\n")
            continue
        if "wait" in order:
            orders.sendall(json.dumps(_end_of(order["wait"], order["within"])).encode() + b"\n")
            continue
        pid = os.fork()
        if pid == 0:
            orders.close()
            _become(order["command"], order["env"], given)
        for descriptor in given:
            os.close(descriptor)
        orders.sendall(b"%d\n" % pid)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _end_of(pid: int, within: float) -> int | None:
    """Returns the exit code of a process. Kills the process if it does not end within the given seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    _kill(pid)
    return None


def _become(command: Sequence[str], env: Mapping[str, str], streams: Sequence[int]) -> None:
    """Runs a command of the product in this process, and then ends the process."""
    from app.worker import main as worker

    for standard, ours in enumerate(streams):
        os.dup2(ours, standard)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = list(command)
    code = 1
    try:
        worker() if command[0] == "app.worker" else aimline()
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        else:
            code = ended.code or 0
    except BaseException:
        # What nobody caught is seen, as it would be of a process of its own.
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
