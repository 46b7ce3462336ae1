"""Formats the response to a request that is refused before the app sees it."""

from uuid import uuid4

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.rest.problem_types import PROBLEM_TYPES, address_of


def answer(status: int, code: str, detail: str, headers: list[tuple[bytes, bytes]], base_url: str = "") -> bytes:
    """Returns the bytes of a complete problem response (RFC 9457), formatted like the app's problems."""
    trace_id = uuid4().hex
    problem = {"type": address_of(code, base_url), "code": code, "title": PROBLEM_TYPES[code].title, "status": status}
    body = orjson.dumps(problem | {"detail": detail, "trace_id": trace_id, "violations": []})
    lines = [
        *headers,
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"trace-id", trace_id.encode()),
        (b"connection", b"close"),
    ]
    if status == 503:
        lines.append((b"retry-after", b"1"))
    return b"".join([STATUS_LINE[status], *(name + b": " + value + b"\r\n" for name, value in lines), b"\r\n", body])
