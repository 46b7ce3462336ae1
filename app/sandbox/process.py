"""Starts, checks and stops one process of the playground.

The process writes to a log of its own, and ends if its parent ends.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

from app.core.child import end_with_parent

REPOSITORY = Path(__file__).parents[2]
STOP_LIMIT = 10.0  # seconds that a process may take to stop by itself


class PlaygroundError(Exception):
    """Raised when the playground cannot continue; the message gives the reason and the remedy."""


class Process:
    """A child process that writes to a log of its own."""

    def __init__(self, name: str, folder: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self.log = folder / "log" / f"{name}.log"
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only the parent, which stops its children one by one
                preexec_fn=end_with_parent(),
            )

    def check(self) -> None:
        """Raises `PlaygroundError` with the end of the log if the process has ended."""
        code = self.process.poll()
        if code is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise PlaygroundError(f"The {self.name} ended with code {code}; {self.log} ends with:\n{last}")

    def stop(self) -> None:
        """Sends SIGTERM to the process, waits, then sends SIGKILL to the remaining processes of its group."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_LIMIT)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def is_ready(port: int) -> bool:
    """Returns whether the api on this port of this machine is ready."""
    # The request goes directly, never through a proxy.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
