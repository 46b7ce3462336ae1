"""A process that has loaded the product and is forked whenever it is to run: each begins at once, on its own.

`python -m tests.warm` reads orders from its standard input, a socket: one line of JSON each, with the descriptors of
its input, output and errors beside an order to start, and a line answers each. It ends when the socket is closed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any

from app.cli import command_line
from app.cli import main as aimline

CHUNK = 1 << 16  # bytes read at a time
ROOT = Path(__file__).parents[1]
PATIENCE = 120  # seconds after which a command that is run is ended


class Warm:
    """The process, as the tests order it about."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._one_at_a_time = Lock()
        with theirs:
            self._popen = subprocess.Popen([sys.executable, "-m", "tests.warm"], cwd=ROOT, stdin=theirs)

    def start(self, command: Sequence[str], env: Mapping[str, str], streams: Sequence[int], patience: int = 0) -> int:
        """Starts `app` or `app.worker` with these arguments. Its process id.

        streams: descriptors of its input, output and errors. patience: seconds after which it is ended; 0 for never.
        """
        return self._ask({"command": command, "env": dict(env), "patience": patience}, streams)

    def wait(self, pid: int) -> int:
        """How it ends; the others wait that long."""
        return self._ask({"wait": pid})

    def run(self, command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """What it says and how it ends."""
        with open(os.devnull) as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            streams = [file.fileno() for file in (nothing, out, err)]
            code = self.wait(self.start(command, env, streams, PATIENCE))
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())

    def kill(self, pid: int) -> None:
        """SIGKILL; returns when the process is gone."""
        self._ask({"kill": pid})

    def close(self) -> None:
        """Ends it; what it started must have been killed."""
        self._orders.close()
        self._popen.wait()

    def _ask(self, order: dict[str, Any], streams: Sequence[int] = ()) -> int:
        line = json.dumps(order).encode() + b"\n"
        with self._one_at_a_time:
            sent = socket.send_fds(self._orders, [line], streams) if streams else 0
            self._orders.sendall(line[sent:])
            return int(_line_of(self._orders)[0])


def _line_of(orders: socket.socket) -> tuple[bytes, list[int]]:
    """The next line, and the descriptors that came with it; nothing once the other end is closed."""
    line, streams = b"", []
    while not line.endswith(b"\n"):
        more, came, _, _ = socket.recv_fds(orders, CHUNK, 3)
        if not more:
            return b"", streams
        line, streams = line + more, streams + came
    return line, streams


def main() -> None:
    """Loads the product; then waits for orders, forks, kills."""
    command_line()
    for module in ("app.main", "app.worker"):
        import_module(module)
    orders = socket.socket(fileno=os.dup(0))
    while True:
        line, given = _line_of(orders)
        if not line:
            return
        order: dict[str, Any] = json.loads(line)
        if "kill" in order:
            os.kill(order["kill"], signal.SIGKILL)
            os.waitpid(order["kill"], 0)
            orders.sendall(b"0\n")
            continue
        if "wait" in order:
            orders.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]))
            continue
        pid = os.fork()
        if pid == 0:
            orders.close()
            signal.alarm(order["patience"])
            _become(order["command"], order["env"], given)
        for descriptor in given:
            os.close(descriptor)
        orders.sendall(b"%d\n" % pid)


def _become(command: Sequence[str], env: Mapping[str, str], streams: Sequence[int]) -> None:
    """Runs the product in this process, which ends with it."""
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
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
