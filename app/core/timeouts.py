"""Defines the timeouts of database connections, and the TCP keep-alives that reveal lost connections to both sides."""

import socket
from dataclasses import dataclass
from typing import Any

IDLE = 30  # seconds without traffic before TCP sends the first probe
INTERVAL = 10  # seconds between two probes
PROBES = 3  # unanswered probes after which the connection counts as lost
UNACKNOWLEDGED = IDLE + INTERVAL * PROBES  # seconds that sent bytes may go without an acknowledgement
ANSWER_MARGIN = 10  # seconds after its own limit in which a server that works has ended a statement
NAMES = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The time limits of a database connection, in seconds.

    * `lock` limits the wait for a lock.
    * `statement` limits the run of a statement.
    * `idle` limits how long a transaction may stay open while its client sends nothing.
    * `connect` limits the wait for a connection, whether it comes from the pool or is newly opened.
    """

    lock: float = 5
    statement: float = 30
    idle: float = 30
    connect: float = 5

    @property
    def answer(self) -> float:
        """Returns how many seconds a server may take to answer a message. After that, the connection is given up."""
        return self.statement + ANSWER_MARGIN

    def of_sessions(self) -> dict[str, str]:
        """Returns the timeouts of a database session as PostgreSQL settings, by name."""
        seconds = (self.lock, self.statement, self.idle)
        return {name: f"{int(value * 1000)}ms" for name, value in zip(NAMES, seconds, strict=True)}

    def server_settings(self) -> dict[str, str]:
        """Returns the PostgreSQL settings of a new database session: these limits and the server's keep-alives.

        The server ignores the keep-alives on a Unix socket.
        """
        return {
            **self.of_sessions(),
            "tcp_keepalives_idle": str(IDLE),
            "tcp_keepalives_interval": str(INTERVAL),
            "tcp_keepalives_count": str(PROBES),
            "tcp_user_timeout": str(UNACKNOWLEDGED * 1000),
        }


def keep_alive(transport: Any) -> None:
    """Turns on TCP keep-alives for our end of a connection, if it uses TCP and the platform supports them."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for names, value in (
        (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), IDLE),
        (("TCP_KEEPINTVL",), INTERVAL),
        (("TCP_KEEPCNT",), PROBES),
        (("TCP_USER_TIMEOUT",), UNACKNOWLEDGED * 1000),
    ):
        option = next((getattr(socket, name) for name in names if hasattr(socket, name)), None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
