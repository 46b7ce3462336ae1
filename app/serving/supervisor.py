"""Supervises the processes of one `aimline serve`, and replaces a process that ends or stops answering."""

import os
import signal
import time
from contextlib import suppress
from math import inf
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from socket import socket
from types import FrameType
from typing import Final

import structlog
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.server import Server
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

PATIENCE: Final = 26.0
"""The seconds that the processes have to end after the supervisor was asked to stop."""
STARTING: Final = 300.0
"""The seconds for which a new process need not answer while it starts.

The start takes long on a busy machine. If the limit is too short, each new process is ended before it can serve, and
the next start makes the machine still busier.
"""
PAUSE: Final = 2.0
"""The seconds before a process that failed to start is started again."""
log = structlog.get_logger()


class ReportingServer(Server):
    """A server that sets an event when it has started."""

    def __init__(self, config: Config, has_started: Event) -> None:
        super().__init__(config)
        self._has_started = has_started

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Starts the server, and sets the event."""
        await super().startup(sockets)
        self._has_started.set()


class ReportingProcess(Process):
    """A server process that sets an event when it has started.

    A process that is suspended right after its start could not answer the supervisor's question whether it has started.
    """

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        self.has_started = get_context("spawn").Event()
        super().__init__(config, sockets)

    @property
    def server(self) -> Server:
        """Returns the server of this process, which is created on its first use."""
        if self._server is None:
            self._server = ReportingServer(self.config, self.has_started)
        return self._server


class Supervisor(Multiprocess):
    """uvicorn's supervisor of server processes, with three changes.

    * If a new process cannot start, for example because the database is down, the supervisor starts another one. It
      gives up only if no process has served requests yet.
    * The supervisor stops within a fixed time, because it kills the processes that do not end.
    * A signal to stop is passed on at once, even while the supervisor waits for the answer of a suspended process.
    """

    has_failed = False
    _has_served = False
    _asked_at: float | None = None

    def init_processes(self) -> None:
        """Starts the configured number of processes."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        self._starting: dict[int | None, tuple[float, Event]] = {}
        for _ in range(self.processes_num):
            self.processes.append(self._start())

    def keep_subprocess_alive(self) -> None:
        """Replaces each process that has ended or that does not answer the supervisor's check.

        If a process fails to start and none has served requests yet, stops the supervisor instead, because a
        replacement would fail in the same way.
        """
        for place, process in enumerate(self.processes):
            if self._is_stopping:
                return
            answers = process.is_alive(timeout=self.config.timeout_worker_healthcheck)
            # A process answers pings before it has loaded the app, which may then keep it from answering for long.
            began_at, has_started = self._starting.get(process.pid, (-inf, None))
            if has_started is not None and has_started.is_set():
                began_at = -inf
                self._starting.pop(process.pid)
                self._has_served = True
            if answers:
                continue
            if self._is_stopping:
                return
            if process.process.is_alive() and time.monotonic() - began_at < STARTING:
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE and not self._has_served:
                self.has_failed = True  # the process has reported the reason; another one would fail in the same way
                self.should_exit.set()
                return
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.wait(PAUSE)
            log.warning("process.replaced", pid=process.pid, exit_code=process.exitcode)
            self._starting.pop(process.pid, None)
            self.processes[place] = self._start()

    @property
    def _is_stopping(self) -> bool:
        return self._asked_at is not None or self.should_exit.is_set()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Passes a signal on to the processes, and has the supervisor stop after its present step."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
        self.signal_queue.append(number)

    def _start(self) -> ReportingProcess:
        process = ReportingProcess(self.config, self.sockets)
        process.start()
        self._starting[process.pid] = (time.monotonic(), process.has_started)
        return process

    def join_all(self) -> None:
        """Waits for the processes, and kills those that do not end in time."""
        deadline = (self._asked_at or time.monotonic()) + PATIENCE
        for process in self.processes:
            process.process.join(max(deadline - time.monotonic(), 0.1))
            if process.process.is_alive():
                log.warning("process.killed", pid=process.pid)
                process.process.kill()
                process.join()
