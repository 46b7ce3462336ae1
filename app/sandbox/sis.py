"""Runs the sandbox SIS as a process, from opening its socket to its shutdown.

It prints its address on the first line, then the settings that a client needs, one `name: value` per line, and an empty
line.
"""

import os
import socket
import threading

import uvicorn

from app.sandbox.sis_operations import GRADEBOOK, ROSTERING, V11, bases
from app.sandbox.sis_server import Sis


def run(sis: Sis, host: str, port: int, until_stdin_closes: bool = False) -> None:
    """Serves the sandbox SIS until the process is stopped. Raises `OSError` if the port cannot be used.

    If `port` is 0, any free port is used. If `until_stdin_closes` is true, the server also stops when standard input is
    closed.
    """
    listening = socket.create_server((host, port))
    address = f"http://{host}:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(sis.app(), log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
    if until_stdin_closes:
        threading.Thread(target=_stop_when_stdin_closes, args=(server,), daemon=True).start()
    facts = {
        "token": f"{address}/oauth/token",
        "client id": sis.gate.client_id,
        "client secret": sis.gate.client_secret,
        "OneRoster 1.1": address + V11,
        "OneRoster 1.2": address + ROSTERING,
        "gradebook 1.2": address + GRADEBOOK,
        "CSV": f"{address}/csv/oneroster.zip",
    }
    if moved := sis.quirks.text("base"):
        for name in ("OneRoster 1.1", "OneRoster 1.2", "gradebook 1.2"):
            facts.pop(name)
        facts["OneRoster 1.2"] = address + next(iter(bases(moved)))
    print(f"{address}/", *(f"{name}: {value}" for name, value in facts.items()), "", sep="\n", flush=True)
    server.run(sockets=[listening])


def _stop_when_stdin_closes(server: uvicorn.Server) -> None:
    while os.read(0, 4096):
        pass
    server.should_exit = True
