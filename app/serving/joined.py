"""Sends the head (status line and headers) of a response together with the first part of its body.

The server writes the head first and the body afterwards, and uvloop would send each of them immediately. This would
take two system calls, and two packets would each wake the caller's process.
"""

import asyncio
from typing import Any


class JoinedWrites:
    """A wrapper of a connection's transport, which keeps the head of a response until the body follows.

    If no body follows at once, the head is sent in the next turn of the event loop.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Sends these bytes at once, unless they are the head of a response (status line and headers).

        A head is kept until the next bytes are written, or until the next turn of the event loop.
        """
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Sends the head of a response now, if a head is waiting for its body."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Closes the connection after all written bytes were sent."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Returns whether the connection is closed or is being closed."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        """Returns the attribute of the wrapped transport with this name."""
        return getattr(self._transport, name)
