"""Documents for each operation exactly the statuses of its possible responses.

Most statuses follow from the operation: whether it needs a token, has an id in its path, changes something, or takes a
body. The tests of the APIs compare every response with the contract.
"""

from collections.abc import Iterator
from typing import Any

from app.rest.problem import MEDIA_TYPE, Problem

PREFIX = "#/components/schemas/"
BAD_REQUEST = "A parameter or a header is not acceptable, or the body is not JSON."
UNAUTHENTICATED = "No token, or one that is not valid."
FORBIDDEN = "The caller lacks the permission for this operation."
NOT_FOUND = "There is no such row, or the caller may not see it."
CONFLICT = "The present state does not allow the operation, or another request wrote the same data at this moment."
NOT_SHOWN_AGAIN = "The first request with this key was carried out, but its answer cannot be shown again."
TOO_LARGE = "The body is too large."
UNACCEPTABLE = "The values cannot be accepted; every violation is listed."
TOO_MANY = "Too many requests: a quota is used up, or too many requests of the district are waiting. Try again later."
FAULT = "An internal fault. Nothing was changed."
UNAVAILABLE = (
    "The service has more requests than it can answer, or the database, or a lock in it, is not available. With "
    "Retry-After, nothing was changed; without it, the outcome is unknown (outcome.unknown)."
)
OAUTH = "/oauth/token"
OPEN = ("/oauth/", "/.well-known/")
UNLIMITED = "/health/"
READS = ("get", "head")
PAGING = {"after", "limit", "fields", "expand", "sort", "include_total"}
OAUTH_ANSWERS = {
    "400": "The request is malformed, the grant type is not supported, or a scope was not granted (RFC 6749 §5.2).",
    "401": "The client is unknown, or its secret is not valid (invalid_client).",
    "413": "The body is too large.",
    "429": "Too many requests, or too many wrong secrets (slow_down). Try again later.",
    "500": "An internal fault.",
    "503": "The service or its database is not available (temporarily_unavailable). Try again later.",
}
OAUTH_ERROR = {
    "type": "object",
    "title": "OAuthError",
    "description": "An error of the token endpoint (RFC 6749 §5.2).",
    "required": ["error", "error_description"],
    "properties": {
        "error": {
            "type": "string",
            "description": "The code of the error; clients must accept codes that are added later.",
        },
        "error_description": {"type": "string", "description": "A sentence."},
    },
}


CLIENT = {
    "type": "http",
    "scheme": "basic",
    "description": "A client's id and secret; they may be sent in the body of the token request instead.",
}


def describe_statuses(document: dict[str, Any]) -> None:
    """Adds the problem responses of every operation, and removes those that FastAPI adds by default."""
    schemas = document["components"]["schemas"]
    for name, schema in _problem_schemas().items():
        schemas[name] = schema
    document["components"]["securitySchemes"]["client"] = CLIENT
    document["paths"][OAUTH]["post"]["security"] = [{"client": []}, {}]
    for methods in document.get("webhooks", {}).values():
        for operation in methods.values():
            operation.setdefault("security", [])
    schemas["OAuthError"] = {name: value for name, value in OAUTH_ERROR.items() if name != "title"}
    for path, method, operation in operations(document):
        answers = operation["responses"]
        for status in [status for status, answer in answers.items() if _is_assumed(answer)]:
            del answers[status]
        for status, description in _statuses(path, method, operation):
            declared = answers.get(status, {})
            if "application/json" in declared.get("content", {}):
                continue  # A response that only this operation has, such as that of a health check.
            answers[status] = {
                "description": declared.get("description", description),
                "content": _content(path, status),
            }
        for answer in answers.values():
            if answer.get("description") == "Successful Response":
                answer["description"] = _success(document, answer)
        operation["responses"] = dict(sorted(answers.items()))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields every operation of the document with its path and method."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _statuses(path: str, method: str, operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the error statuses that an operation can return, with their descriptions."""
    if path == OAUTH:
        yield from OAUTH_ANSWERS.items()
        return
    has_body = "requestBody" in operation
    if operation.setdefault("security", []):
        yield "400", BAD_REQUEST
        yield "401", UNAUTHENTICATED
        yield "403", FORBIDDEN
        if "{" in path:
            yield "404", NOT_FOUND
        if method not in READS:
            yield "409", CONFLICT
    if _takes_key(operation):
        yield "410", NOT_SHOWN_AGAIN
    if has_body:
        yield "413", TOO_LARGE
    if has_body or _filters(operation) or _takes_key(operation):
        yield "422", UNACCEPTABLE
    if path.startswith(UNLIMITED):
        yield "413", TOO_LARGE
        return
    yield "429", TOO_MANY
    yield "500", FAULT
    yield "503", UNAVAILABLE


def _takes_key(operation: dict[str, Any]) -> bool:
    """Returns whether an operation takes an idempotency key.

    Such an operation can refuse a key that was used for a different request.
    """
    return any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))


def _filters(operation: dict[str, Any]) -> bool:
    """Returns whether an operation has a filter whose value can be refused even if it has the right type.

    For example, the value can be the id of a row that does not exist.
    """
    parameters = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    return any(parameter["name"] not in PAGING and _is_free(parameter["schema"]) for parameter in parameters)


def _is_free(schema: dict[str, Any]) -> bool:
    """Returns whether a type has neither choices nor bounds.

    A value of this type always passes the validation of the request. Only the command itself can refuse it.
    """
    types = [type_ for type_ in schema.get("anyOf", [schema]) if type_.get("type") != "null"]
    return any(type_.get("type") != "boolean" and "enum" not in type_ and "maximum" not in type_ for type_ in types)


def _is_assumed(answer: dict[str, Any]) -> bool:
    """Returns whether a response is the default response for invalid values that FastAPI adds to every route."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return bool(schema.get("$ref") == PREFIX + "HTTPValidationError")


def _content(path: str, status: str) -> dict[str, Any]:
    if path == OAUTH and status not in ("413", "500"):
        return {"application/json": {"schema": {"$ref": PREFIX + "OAuthError"}}}
    return {MEDIA_TYPE: {"schema": {"$ref": PREFIX + "Problem"}}}


def _success(document: dict[str, Any], answer: dict[str, Any]) -> str:
    """Returns the description of a successful response, which is the first sentence of its schema's description."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    named_schema = document["components"]["schemas"].get(str(schema.get("$ref", "")).removeprefix(PREFIX), {})
    sentence, _, _ = str(named_schema.get("description", "")).partition(".")
    return f"{sentence}." if sentence else "Done."


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template=PREFIX + "{model}", mode="serialization")
    inner = schema.pop("$defs")
    every = {"Problem": schema, "Violation": inner["ViolationShape"]}
    for entry in every.values():
        entry.pop("title")
        for field in entry["properties"].values():
            field.pop("title", None)
    schema["properties"]["violations"]["items"] = {"$ref": PREFIX + "Violation"}
    return every
