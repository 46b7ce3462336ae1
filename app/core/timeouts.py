"""Owns how long a connection to the database may wait, and how both sides notice that the other one is gone."""

import socket
from dataclasses import dataclass
from typing import Any

IDLE = 30  # seconds without a byte before TCP asks whether the other side is there
INTERVAL = 10  # seconds between two such questions
PROBES = 3  # questions without an answer, after which the connection is lost
UNACKNOWLEDGED = IDLE + INTERVAL * PROBES  # seconds that sent bytes may go without an acknowledgement
NAMES = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that PostgreSQL waits for a lock, for a statement, and for a transaction whose client does nothing.

    `connect` is the wait for a connection: from the pool, or to be opened.
    """

    lock: float = 5
    statement: float = 30
    idle: float = 30
    connect: float = 5

    def of_sessions(self) -> dict[str, str]:
        """Returns the limits as PostgreSQL's own settings."""
        seconds = (self.lock, self.statement, self.idle)
        return {name: f"{int(value * 1000)}ms" for name, value in zip(NAMES, seconds, strict=True)}

    def server_settings(self) -> dict[str, str]:
        """Returns what a session is started with: the limits, and the server's side of the keep-alives.

        Over a Unix socket the server ignores the keep-alives.
        """
        return {
            **self.of_sessions(),
            "tcp_keepalives_idle": str(IDLE),
            "tcp_keepalives_interval": str(INTERVAL),
            "tcp_keepalives_count": str(PROBES),
            "tcp_user_timeout": str(UNACKNOWLEDGED * 1000),
        }


def keep_alive(transport: Any) -> None:
    """Turns on our side of the keep-alives, where the transport is TCP and the platform has the option."""
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
