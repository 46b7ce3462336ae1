"""Runs a webhook receiver that answers 204 to every POST and records its arrival, as fast as asyncio allows.

It verifies no signatures. `python -m bench.webhooks.receiver` prints its port. `GET /` returns the arrivals since the
last `GET /`: their number, and for each the instant (seconds since 1970) and the webhook-id.
"""

import asyncio
import json
import time

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Connection(asyncio.Protocol):
    """One open connection, on which requests arrive one after another."""

    came: list[tuple[float, str]] = []  # noqa: RUF012  # all connections share one list

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport of a new connection."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answers every complete request in the data."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = int(_header(head, b"content-length") or 0)
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        if head.startswith(b"GET"):
            body = json.dumps(self.came).encode()
            self.came.clear()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        self.came.append((time.time(), _header(head, b"webhook-id").decode()))
        self.transport.write(NO_CONTENT)


def _header(head: bytes, name: bytes) -> bytes:
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    begin = at + len(name) + 3
    end = head.find(b"\r\n", begin)
    return head[begin : end if end >= 0 else len(head)].strip()


async def main() -> None:
    """Runs the receiver until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
