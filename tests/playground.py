"""Starts the playground as `dev.py run` does, and reads what it prints."""

import re
import subprocess
import sys
import threading
from pathlib import Path

from tests.processes import REPOSITORY, environment


class Playground:
    """A running playground, started by `dev.py run`, with its output."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.sandbox.playground", "--port", "0", "--folder", str(folder)],
            cwd=REPOSITORY,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        self.printed = ""
        watch = threading.Timer(600, self._process.kill)
        watch.start()
        for line in self._process.stdout:
            self.printed += line
            if "Ctrl-C stops it" in line:
                break
        watch.cancel()

    def named(self, pattern: str) -> str:
        """Returns the value in the printed lines that matches a pattern."""
        match = re.search(pattern, self.printed)
        assert match is not None, self.printed[-3000:]
        return match[1]

    def end(self, number: int) -> int:
        """Sends a signal to the playground, and returns its exit code."""
        self._process.send_signal(number)
        assert self._process.stdout is not None
        with self._process.stdout as rest:
            rest.read()
        return self._process.wait(60)
