"""Finds all violations of a request in one stage: in its path, parameters, headers and body."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
from fastapi import Request
from fastapi._compat import field_annotation_is_sequence
from fastapi.dependencies.utils import get_flat_params, request_body_to_args, request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from app.core.errors import Malformed, Violation
from app.rest.malformed import MalformedBody
from app.rest.pages import NUL

Check = Callable[[], Awaitable[None] | None]


async def run_checks(route: APIRoute, request: Request, *checks: Check) -> None:
    """Runs checks that raise `Malformed`. If one does, or a parameter is wrong, raises all violations of the request.

    The violations of the values are then found as well: those that FastAPI would report at a later stage.
    """
    violations = list(_parameter_violations(route, request))
    for check in checks:
        try:
            if (waiting := check()) is not None:
                await waiting
        except Malformed as error:
            violations += error.violations
    if not violations:
        return
    errors = await _value_errors(route, request)
    if not errors:
        raise Malformed(violations)
    request.state.violations = violations
    raise RequestValidationError(errors)


def _parameter_violations(route: APIRoute, request: Request) -> Iterator[Violation]:
    """Yields a violation for each unknown query parameter, because a list would otherwise ignore a misspelt filter.

    Repeated parameters are violations too, because all but one of their values would be ignored, and so are NUL
    characters, because PostgreSQL cannot store them, so that no row could match.
    """
    fields = [field for field in get_flat_params(route.dependant) if _place(field) == "query"]
    accepted = {field.alias for field in fields}
    names = ", ".join(sorted(accepted)) or "none"
    for name in sorted(set(request.query_params) - accepted):
        yield Violation(f"/{name}", "parameter.unknown", f"This takes the parameters: {names}.")
    lists = {field.alias for field in fields if field_annotation_is_sequence(field.field_info.annotation)}
    counts = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in counts.items():
        if count > 1 and name in accepted and name not in lists:
            yield Violation(f"/{name}", "parameter.repeated", "Name this once.")
    for name in dict.fromkeys(name for name, value in request.query_params.multi_items() if NUL in value):
        if name in accepted:
            yield Violation(f"/{name}", "parameter.nul", "A text has no NUL character.")


async def _value_errors(route: APIRoute, request: Request) -> list[Any]:
    """Returns the errors of the values in the path, the query, the headers and the body, as FastAPI finds them."""
    received: dict[str, Any] = {
        "path": request.path_params,
        "query": request.query_params,
        "header": request.headers,
    }
    errors: list[Any] = []
    for place, values in received.items():
        fields = [field for field in get_flat_params(route.dependant) if _place(field) == place]
        errors += request_params_to_args(fields, values)[1]
    body_fields = route.dependant.body_params
    if not body_fields:
        return errors
    try:
        body = orjson.loads(await request.body() or b"null")
    except orjson.JSONDecodeError:
        return [*errors, {"type": "json_invalid", "loc": ("body", 0), "msg": "JSON decode error"}]
    values, body_errors = await request_body_to_args(body_fields, body, embed_body_fields=False)
    malformed = [value for value in values.values() if isinstance(value, MalformedBody)]
    return [
        *errors,
        *body_errors,
        *({**error, "loc": ("body", *error["loc"])} for value in malformed for error in value.errors),
    ]


def _place(field: Any) -> str:
    place: str = field.field_info.in_.value
    return place
