"""Implements a small webhook receiver in a separate process, as an integrator would write one.

It is never used in production.

`python -m app.sandbox.receiver --port 0 --secret-file F [--log FILE]` prints its address on the first line. Every POST
is verified with the `standardwebhooks` library and answered 204, or 401 if it cannot be verified. `GET /received`
returns the deliveries so far as JSON: `?after=N` leaves out the first N, and `&wait=SECONDS` waits until another
delivery arrives.
"""

import argparse
import asyncio
import json
import os
import socket
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

MAX_WAIT = 60.0


class Receiver:
    """A webhook receiver, with the deliveries that it has received.

    By default it answers 204, or 401 to a delivery that it cannot verify. Two options make it fail instead:

    * `status` is the status of each failure, by default 500. With `status` alone, every delivery fails.
    * `fail_first` is the number of deliveries that fail. Later deliveries are answered 204 or 401, as by default.
    """

    def __init__(
        self,
        secret_file: Path,
        log: Path | None,
        fail_first: int | None = None,
        status: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        self.secret_file, self.log, self.retry_after = secret_file, log, retry_after
        self.failures = float(fail_first if fail_first is not None else "inf" if status else 0)
        self.status = status or 500
        self.received: list[dict[str, Any]] = []
        self.news = asyncio.Condition()

    async def post(self, request: Request) -> Response:
        """Verifies a delivery, records it, and only then answers.

        A receiver needs this order so that it loses no delivery.
        """
        body = await request.body()
        verified = verify(self.secret_file, body, request.headers)
        code = 204 if verified else 401
        if len(self.received) < self.failures:
            code = self.status
        headers = {"retry-after": self.retry_after} if self.retry_after and code >= 400 else None
        parsed = _parsed(body)
        entry = {
            "received_at": datetime.now(UTC).isoformat(timespec="microseconds"),
            "webhook-id": request.headers.get("webhook-id"),
            "verified": verified,
            "type": parsed.get("type") if isinstance(parsed, dict) else None,
            "size": len(body),
            "answered": code,
            "path": request.url.path,
            "body": parsed,
        }
        if self.log:
            with self.log.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
        async with self.news:
            self.received.append(entry)
            self.news.notify_all()
        return Response(None if code == 204 else f"Answered {code}.", status_code=code, headers=headers)

    async def get(self, request: Request) -> Response:
        """Returns the received deliveries as JSON. The query may have the parameters `after` and `wait`.

        `after` skips this number of the oldest deliveries. If no delivery remains, `wait` makes the response wait for
        one, up to this number of seconds. Without `after`, all deliveries are returned, and `wait` waits for a delivery
        that arrives after this request.
        """
        try:
            after = int(request.query_params["after"]) if "after" in request.query_params else None
            wait = min(float(request.query_params.get("wait", 0)), MAX_WAIT)
        except ValueError:
            return PlainTextResponse("`after` is a count and `wait` a number of seconds.", 400)
        received = len(self.received) if after is None else after
        if wait > 0:
            async with self.news:
                try:
                    async with asyncio.timeout(wait):
                        await self.news.wait_for(lambda: len(self.received) > received)
                except TimeoutError:
                    pass  # no new delivery is a valid answer
        return JSONResponse(self.received[after or 0 :])


def verify(secret_file: Path, body: bytes, headers: Mapping[str, str]) -> bool:
    """Returns whether the body has a valid and recent signature by one of the secrets in the file.

    The file has one secret per line, because during a rotation two secrets are valid. The file is read each time,
    because it may be written after the endpoint was registered, and changes when the secret changes.
    """
    try:
        secrets = secret_file.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return False
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except Exception:  # noqa: S112  # the library raises any error for malformed headers
            continue
        return True
    return False


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def app(receiver: Receiver) -> Starlette:
    """Returns the receiver as an ASGI application that accepts a POST on every path."""
    return Starlette(
        routes=[
            Route("/received", receiver.get, methods=["GET"]),
            Route("/{path:path}", receiver.post, methods=["POST"]),
        ]
    )


def _stop_when_stdin_closes(server: uvicorn.Server) -> None:
    while os.read(0, 4096):
        pass
    server.should_exit = True


def main() -> None:
    """Runs the receiver's command line."""
    parser = argparse.ArgumentParser(prog="app.sandbox.receiver", description="Receive and verify webhooks.")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--secret-file", type=Path, required=True, help="whsec_…, one a line, read at each request")
    parser.add_argument("--log", type=Path, help="append a JSON line for each request")
    parser.add_argument("--fail-first", type=int, help="answer this many requests with --status (500)")
    parser.add_argument("--status", type=int, help="the failing status; without --fail-first, for every request")
    parser.add_argument("--retry-after", help="the header Retry-After, with every failing answer")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the parent process does")
    options = parser.parse_args()
    try:
        listening = socket.create_server(("127.0.0.1", options.port))
    except OSError as error:
        parser.exit(1, f"Port {options.port} cannot be used ({error.strerror}): pass another --port, or 0.\n")
    receiver = Receiver(options.secret_file, options.log, options.fail_first, options.status, options.retry_after)
    config = uvicorn.Config(app(receiver), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    if options.until_stdin_closes:
        threading.Thread(target=_stop_when_stdin_closes, args=(server,), daemon=True).start()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
