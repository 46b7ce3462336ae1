"""Describes the headers of the responses in the contract."""

from typing import Any

from app.rest.contract.statuses import UNLIMITED, operations

HEADERS: dict[str, dict[str, Any]] = {
    "Trace-Id": {
        "description": "The id of this request in the service's logs: name it when you ask for help.",
        "schema": {"type": "string", "example": "0f8fad5bd9cb469fa16570867728950e"},
    },
    "RateLimit-Policy": {
        "description": "The quotas that count this request: a name, and `q` requests in `w` seconds "
        "(draft-ietf-httpapi-ratelimit-headers). Each process of the service announces its own share.",
        "schema": {"type": "string", "example": '"client";q=30000;w=60, "district";q=60000;w=60'},
    },
    "RateLimit": {
        "description": "What remains of each quota: `r` requests, and the whole quota again in `t` seconds.",
        "schema": {"type": "string", "example": '"client";r=29999;t=60, "district";r=59999;t=60'},
    },
    "Retry-After": {
        "description": "The seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1, "example": 2},
    },
    "Link": {
        "description": 'The address of the next page, as `</v1/…?after=…>; rel="next"` (RFC 8288); absent on the last '
        "page.",
        "schema": {"type": "string", "example": '</v1/students?after=e30>; rel="next"'},
    },
    "Location": {
        "description": "The path of the row that shows the progress.",
        "schema": {"type": "string", "example": "/v1/sync-runs/run_01kb3z5a7hf8v9m2q4r6s8t0w1"},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate (RFC 9110 §11.6.1).",
        "schema": {"type": "string", "example": 'Bearer realm="aimline"'},
    },
}


def describe_headers(document: dict[str, Any]) -> None:
    """Adds to the document the headers of every response. A header that a route declares itself is kept."""
    document["components"].setdefault("headers", {}).update(HEADERS)
    for path, _, operation in operations(document):
        for status, answer in operation["responses"].items():
            names = _names(path, status, answer)
            headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
            answer["headers"] = headers | answer.get("headers", {})


def _names(path: str, status: str, answer: dict[str, Any]) -> list[str]:
    """Returns the names of the headers that a response with this status has."""
    names = ["Trace-Id"]
    if not path.startswith(UNLIMITED):
        names += ["RateLimit-Policy", "RateLimit"]
        if status in ("429", "503"):
            names.append("Retry-After")
    if status == "401":
        names.append("WWW-Authenticate")
    if status == "202":
        names.append("Location")
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    if status == "200" and str(schema.get("$ref", "")).endswith("Page"):
        names.append("Link")
    return names
