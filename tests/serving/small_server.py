"""Runs a server like the product's over a small app, in a thread, and opens raw connections to it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from app.serving.protocol import BoundedProtocol
from app.serving.websocket import BoundedWebSocket

LARGE = b"x" * (32 << 20)
gone: list[str] = []
"""The paths of the requests whose callers went before they were answered, as the app was notified."""
faults: list[Exception] = []
"""The exceptions that the server raised while the app sent an answer."""


async def small_app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body of a request and answers with its length. Four paths behave in other ways.

    /large answers with many bytes, /wait waits, /stream begins an answer and waits, and /early answers without reading
    the body. A WebSocket is accepted and read until its caller is gone; on /large it gets many bytes and is closed.
    """
    if scope["type"] == "websocket":
        await talk(scope, receive, send)
        return
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            gone.append(scope["path"])
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    if scope["path"] in ("/wait", "/stream"):
        await receive()  # until the caller is gone
        gone.append(scope["path"])
        return
    body = LARGE if scope["path"] == "/large" else str(size).encode()
    if scope["path"] == "/headers":
        body = b" ".join(name for name, _ in scope["headers"])
    headers = [(b"content-length", str(len(body)).encode())]
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except Exception as error:
        faults.append(error)
        raise


async def talk(scope: Any, receive: Any, send: Any) -> None:
    """Serves a WebSocket.

    On the path /large, sends many bytes and closes. On other paths, reads until the caller is gone.
    """
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/large":
        await send({"type": "websocket.send", "bytes": LARGE})
        await send({"type": "websocket.close"})
        return
    while (await receive())["type"] != "websocket.disconnect":
        pass


@contextmanager
def serving(most_connections: int | None = None) -> Iterator[int]:
    """Runs a server during the block, and yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        small_app,
        http=BoundedProtocol,
        lifespan="off",
        ws=BoundedWebSocket,
        ws_per_message_deflate=False,
        log_level="critical",
        limit_concurrency=most_connections,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(120)


class Connection:
    """A TCP connection to the server, without an HTTP library."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._kept = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Sends the data, and returns False if the connection has ended."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def answer(self) -> tuple[int, bytes]:
        """Returns the status and the body of the next answer. The status is 0 if the connection was closed without an
        answer.
        """
        while b"\r\n\r\n" not in self._kept:
            if not self._more():
                return 0, self._kept
        head, _, rest = self._kept.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        while len(rest) < length and self._more():
            rest = self._kept.partition(b"\r\n\r\n")[2]
        self._kept = rest[length:]
        return int(head.split(b" ")[1]), head + b"\r\n\r\n" + rest[:length]

    def read(self, size: int) -> bytes:
        """Returns the next `size` bytes, or fewer if the connection has ended."""
        while len(self._kept) < size and self._more():
            pass
        data, self._kept = self._kept[:size], self._kept[size:]
        return data

    def is_closed(self) -> bool:
        """Returns whether the server closes the connection before the timeout. Ignores what the server sends."""
        while True:
            try:
                if not self.socket.recv(65536):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except OSError:
            return False
        self._kept += data
        return bool(data)
