"""Parses a GraphQL operation from an HTTP request (the GraphQL-over-HTTP draft)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from app.core.errors import Invalid, Malformed, Violation
from app.core.json_limits import NotText, check_json

MODERN = "application/graphql-response+json"
LEGACY = "application/json"
EVENTS = "text/event-stream"
MAX_RANGES = 32
"""The largest number of media types that are read from an Accept header. They are read before the caller is known."""
MAX_PARAMETERS = 20
"""The largest number of `&` in the query string of a GET request; the protocol has four parameters."""
_ESCAPED_NUL = re.compile(r"\\u(?:0000|\{0+\})")
_ESCAPED_NUL_IN_BYTES = re.compile(_ESCAPED_NUL.pattern.encode())


class BadRequest(Exception):
    """Raised for an HTTP request that is not a GraphQL request, with the HTTP status of the answer."""

    def __init__(self, code: str, detail: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.code, self.detail, self.status, self.headers = code, detail, status, headers or {}


@dataclass(frozen=True, slots=True)
class Operation:
    """The document, operation name and variables of a request."""

    query: str
    variables: dict[str, Any] | None
    name: str | None


def takes_events(request: Request) -> bool:
    """Returns whether the client wants the answer as server-sent events."""
    return dict(_ranges(request.headers.get("Accept", ""))).get(EVENTS, 0.0) > 0


def media_type(request: Request) -> str:
    """Returns the media type of the response.

    Raises `BadRequest` (406) if the client accepts none of the possible types.
    """
    accepts = request.headers.get("Accept", LEGACY)
    weights = dict(_ranges(accepts))
    modern = weights.get(MODERN, 0.0)
    legacy = max(weights.get(accepted, 0.0) for accepted in (LEGACY, "application/*", "*/*"))
    if modern > 0 and modern >= legacy:
        return MODERN
    if legacy > 0:
        return LEGACY
    raise BadRequest("not_acceptable", f"Take {MODERN} or {LEGACY}.", 406)


async def operation_of(request: Request) -> Operation:
    """Returns the operation that a request contains; raises `BadRequest`."""
    return operation_from(_from_query(request) if request.method == "GET" else await _from_body(request))


def operation_from(parameters: Mapping[str, Any]) -> Operation:
    """Returns the operation in the parameters of a request; raises `BadRequest`."""
    query, variables, name = (parameters.get(parameter) for parameter in ("query", "variables", "operationName"))
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("query.missing", "Send the GraphQL document in `query`.")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest("variables.malformed", "`variables` must be an object.")
    if name is not None and not isinstance(name, str):
        raise BadRequest("operation_name.malformed", "`operationName` must be a string.")
    extensions = parameters.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest("extensions.malformed", "`extensions` must be an object.")
    return Operation(query, variables, name or None)


def _from_query(request: Request) -> dict[str, Any]:
    if request.scope["query_string"].count(b"&") > MAX_PARAMETERS:
        raise BadRequest("query.malformed", f"A request has at most {MAX_PARAMETERS} parameters in its address.")
    values: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if values.get(name):
            values[name] = _json(values[name].encode())
        else:
            values.pop(name, None)
    return values


async def _from_body(request: Request) -> dict[str, Any]:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != LEGACY:
        raise BadRequest("media_type", f"Send the request as {LEGACY}.", 415)
    try:
        body = await request.body()
    except ClientDisconnect:
        raise Malformed([Violation("", "body.cut_off", "The body broke off before its end.")]) from None
    values = _json(body)
    if not isinstance(values, dict):
        raise BadRequest("body.malformed", "The body must be an object with `query`.")
    return values


def _json(raw: bytes) -> Any:
    if b"\0" in raw or _ESCAPED_NUL_IN_BYTES.search(raw):
        raise _contains_nul()
    try:
        check_json(raw)
        return orjson.loads(raw)
    except Invalid as error:
        violation = error.violations[0]
        raise BadRequest(violation.code, violation.detail) from None
    except (NotText, orjson.JSONDecodeError):
        raise BadRequest("body.not_json", "The body is not JSON.") from None


def check_nul(query: str) -> None:
    """Raises `BadRequest` if a document contains the character U+0000, also if it is written as an escape."""
    if "\0" in query or _ESCAPED_NUL.search(query):
        raise _contains_nul()


def _contains_nul() -> BadRequest:
    # PostgreSQL cannot store a NUL in a text. Refused here, it is an error of the request; later it would be a fault.
    return BadRequest("text.nul", "A text must not contain the character U+0000.")


def _ranges(accepts: str) -> list[tuple[str, float]]:
    values = []
    for part in accepts.split(",", MAX_RANGES)[:MAX_RANGES]:
        name, *parameters = (item.strip().lower() for item in part.split(";"))
        weight = next((item[2:] for item in parameters if item.startswith("q=")), "1")
        try:
            values.append((name, float(weight)))
        except ValueError:
            values.append((name, 0.0))
    return values
