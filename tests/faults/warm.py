"""A process that has loaded the product and is forked whenever it is to run: what is killed begins at once.

`python -m tests.faults.warm` reads orders from its standard input, a socket: one line of JSON each, with the file
descriptor of the log beside an order to start. It ends when the socket is closed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

LONGEST = 1 << 16  # bytes of an order


class Warm:
    """The process, as the tests order it about."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._popen = subprocess.Popen([sys.executable, "-m", "tests.faults.warm"], stdin=theirs)

    def start(self, command: Sequence[str], env: Mapping[str, str], log: int) -> int:
        """Starts `app` or `app.worker` with these arguments; its output goes to a file descriptor. Its process id."""
        socket.send_fds(self._orders, [json.dumps({"command": command, "env": dict(env)}).encode()], [log])
        return int(self._orders.recv(LONGEST))

    def kill(self, pid: int) -> None:
        """SIGKILL; returns when the process is gone."""
        self._orders.send(json.dumps({"kill": pid}).encode())
        self._orders.recv(LONGEST)

    def close(self) -> None:
        """Ends it; what it started must have been killed."""
        self._orders.close()
        self._popen.wait()


def main() -> None:
    """Loads the product; then waits for orders, forks, kills."""
    for module in ("app.cli.process", "app.main", "app.worker"):
        import_module(module)
    orders = socket.socket(fileno=os.dup(0))
    while True:
        said, given, _, _ = socket.recv_fds(orders, LONGEST, 1)
        if not said:
            return
        order: dict[str, Any] = json.loads(said)
        if "kill" in order:
            os.kill(order["kill"], signal.SIGKILL)
            os.waitpid(order["kill"], 0)
            orders.send(b"0")
            continue
        pid = os.fork()
        if pid == 0:
            orders.close()
            _become(order["command"], order["env"], given[0])
        os.close(given[0])
        orders.send(str(pid).encode())


def _become(command: Sequence[str], env: Mapping[str, str], log: int) -> None:
    """Runs the product in this process, which ends with it."""
    from app.cli import main as command_line
    from app.worker import main as worker

    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(ours, standard)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = list(command)
    code = 1
    try:
        worker() if command[0] == "app.worker" else command_line()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
