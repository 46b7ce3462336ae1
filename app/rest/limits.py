"""Describes the limits in the contract: the RateLimit fields of each response, and the responses 429 and 503."""

from typing import Any

from fastapi import FastAPI

from app.rest.admission import ALWAYS_ADMITTED
from app.rest.problem import MEDIA_TYPE

HEADERS = {
    "RateLimit-Policy": (
        "The quotas that count this request: a name, and `q` requests in `w` seconds "
        "(draft-ietf-httpapi-ratelimit-headers). Each process of the service announces its own share."
    ),
    "RateLimit": "What remains of each quota: `r` requests, and the whole quota again in `t` seconds.",
    "Retry-After": "The seconds after which to try again.",
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "RateLimit-Policy": {"type": "string", "example": '"client";q=30000;w=60, "district";q=60000;w=60'},
    "RateLimit": {"type": "string", "example": '"client";r=29999;t=60, "district";r=59999;t=60'},
    "Retry-After": {"type": "integer", "minimum": 1},
}
ANSWERS = {
    "429": "Too many requests: a quota is used up, or too many requests of the district are waiting. Try again later.",
    "503": "The service has more requests than it can answer. Try again later.",
}
OAUTH = "/oauth/"


def describe_limits(app: FastAPI) -> None:
    """Adds the rate limits to the contract of the app."""
    described = app.openapi

    def contract() -> dict[str, Any]:
        is_fresh = app.openapi_schema is None
        schema = described()
        if is_fresh:
            _describe(schema)
        return schema

    app.openapi = contract  # type: ignore[method-assign]  # how FastAPI says that a contract is extended


def _describe(schema: dict[str, Any]) -> None:
    components = schema.setdefault("components", {}).setdefault("headers", {})
    for name, description in HEADERS.items():
        components[name] = {"description": description, "schema": SCHEMAS[name]}
    for path, methods in schema["paths"].items():
        if path.startswith(ALWAYS_ADMITTED):
            continue
        for operation in methods.values():
            answers = operation.setdefault("responses", {})
            for status, description in ANSWERS.items():
                answers.setdefault(status, {"description": description, "content": _content(path)})
            for status, answer in answers.items():
                # Every response has the fields; the contract lists them for successful responses and for temporary
                # refusals.
                if status >= "3" and status not in ANSWERS:
                    continue
                names = ["RateLimit-Policy", "RateLimit", *(["Retry-After"] if status in ANSWERS else [])]
                headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
                answer["headers"] = headers | answer.get("headers", {})


def _content(path: str) -> dict[str, Any]:
    if path.startswith(OAUTH):
        text = {"type": "string"}
        error = {"type": "object", "required": ["error"], "properties": {"error": text, "error_description": text}}
        return {"application/json": {"schema": error}}
    return {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
