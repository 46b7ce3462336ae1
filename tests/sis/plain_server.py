"""A plain HTTP server for tests, which answers with the result of a function and records its requests."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

LOOKS = 0.005
"""The seconds between two looks whether a server shall end; the standard library's half second is paid by each test."""


@dataclass(frozen=True)
class SisRequest:
    """A request to the server: method, path, query, body, and headers keyed by lower-case name."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str

    @property
    def name(self) -> str:
        """Returns the last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Reply:
    """A response of a test server. A body that is neither text nor bytes is sent as JSON."""

    status: int = 200
    body: object = ""
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def answering(answer: Callable[[SisRequest], Reply]) -> Iterator[tuple[str, list[SisRequest]]]:
    """Runs a server, and yields its address and the list of received requests."""
    requests: list[SisRequest] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            one = SisRequest(self.command, parts.path, dict(parse_qsl(parts.query)), headers, text)
            requests.append(one)
            response = answer(one)
            body = response.body if isinstance(response.body, str | bytes) else json.dumps(response.body)
            sent = body.encode() if isinstance(body, str) else body
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = handle_any

        def log_message(self, *_: object) -> None:
            """Writes no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(LOOKS,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
