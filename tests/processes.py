"""Starts the product's processes for tests, with given settings and without the caller's environment."""

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from app.settings import Settings
from tests.warm import Warm

REPOSITORY = Path(__file__).parents[1]
TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""An SSL context without certificates, for clients of plain HTTP, because loading all certificates takes long."""


def environment(settings: Settings | None = None, **more: str) -> dict[str, str]:
    """Returns this process's environment without Aimline's variables, with the given settings."""
    given = {}
    if settings is not None:
        given = {
            "AIMLINE_DATABASE_URL": settings.database_url,
            "AIMLINE_KEY": settings.key,
            "AIMLINE_BASE_URL": settings.base_url,
            "AIMLINE_SANDBOX": "1",
        }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIMLINE_")}
    return kept | given | more


def aimline(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `aimline` with these arguments, and returns its output and exit code."""
    return warm().run(["aimline", *arguments], environment(settings))


def free_port() -> int:
    """Returns a port of loopback that no other program gets until this test run has ended.

    On Linux, a bound socket that does not listen reserves the port. Only a program that names the port and uses
    SO_REUSEADDR, as servers do, can still listen on it. Without the socket, another test could get the port before the
    process has started.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    port = int(kept.getsockname()[1])
    if sys.platform == "linux":
        _kept_ports.append(kept)
    else:
        kept.close()
    return port


_kept_ports: list[socket.socket] = []


def warm() -> Warm:
    """Returns a process that has imported the product once and runs all commands of the tests.

    Importing the product takes longer than most commands.
    """
    from tests.commands import COMMANDS

    return COMMANDS
