"""Converts errors into problem details (RFC 9457) for REST callers, without any submitted value."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from app.core.errors import (
    MAX_VIOLATIONS,
    OUT_OF_RANGE,
    AimlineError,
    Busy,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    PreconditionFailed,
    PreconditionRequired,
    StorageFull,
    Throttled,
    Unauthenticated,
    Unavailable,
    Violation,
    with_more,
)
from app.core.fault_report import describe_fault
from app.core.metrics import REFUSALS
from app.requests.malformed import merged
from app.rest.problem_types import PROBLEM_TYPES, address_of
from app.rest.violation_words import words_of

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[AimlineError], int] = {
    NotFound: 404,
    Forbidden: 403,
    Unauthenticated: 401,
    Conflict: 409,
    Gone: 410,
    PreconditionFailed: 412,
    PreconditionRequired: 428,
    Busy: 429,
    StorageFull: 507,
    Malformed: 400,
    Invalid: 422,
    Throttled: 429,
    Overloaded: 503,
    Unavailable: 503,
    OutcomeUnknown: 503,
}
OVERFLOWS = ("22003", "22008")
"""The SQLSTATEs for a number or a date that is out of range."""
log = structlog.get_logger()


class ViolationShape(BaseModel):
    """One violation in a request."""

    pointer: str = Field(
        description="The place of the violation: a JSON Pointer (RFC 6901) into the body, or /name of a parameter."
    )
    code: str = Field(description="A stable code.")
    detail: str = Field(description="A sentence.")
    figures: dict[str, float] = Field(
        default={}, description="Numbers by name for a program that corrects the input, such as `proposed_goal`."
    )

    @classmethod
    def of(cls, violation: Violation) -> "ViolationShape":
        """Returns a violation as it is shown in a response."""
        return cls(
            pointer=violation.pointer,
            code=violation.code,
            detail=violation.detail,
            figures=dict(violation.figures),
        )


class Problem(BaseModel):
    """A problem (RFC 9457)."""

    type: str = Field(description="The address of this problem's page, /docs/problems/<code>.")
    code: str = Field(description="The stable code of the problem, the same as in GraphQL.")
    title: str = Field(description="The problem in a few words, the same for every problem with this code.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong with this request. It never repeats a submitted value.")
    trace_id: str = Field(description="The id of this request in the logs: name it when you ask for help.")
    violations: list[ViolationShape] = Field(
        default=[],
        max_length=MAX_VIOLATIONS,
        description="All violations at once; beyond 100, `detail` says how many more there are.",
    )


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    violations: Sequence[Violation] = (),
    more: int = 0,
) -> JSONResponse:
    """Returns a problem response with the first violations.

    `more` is the number of violations that the calling function has already left out.
    """
    REFUSALS.labels(code).inc()
    listed = violations[:MAX_VIOLATIONS]
    shape = Problem(
        type=address_of(code, _base_url(request)),
        code=code,
        title=PROBLEM_TYPES[code].title,
        status=status,
        detail=with_more(detail, more + len(violations) - len(listed)),
        trace_id=getattr(request.state, "trace_id", ""),
        violations=[ViolationShape.of(violation) for violation in listed],
    )
    headers = {"WWW-Authenticate": 'Bearer realm="aimline"'} if status == 401 else None
    return JSONResponse(shape.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


def _base_url(request: Request) -> str:
    services = getattr(getattr(request.scope.get("app"), "state", None), "services", None)
    return getattr(services, "base_url", "")


def install_problem_handlers(app: FastAPI) -> None:
    """Installs the exception handlers that return every error as a problem, and describes problems in the contract."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def answer_of(request: Request, error: Exception) -> Response:
    """Returns the response of the exception handler that FastAPI would choose for this error.

    If there is no handler for an error of this class, raises the error again.
    """
    handler = next((HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS), None)
    if handler is None:
        raise error
    return await handler(request, error)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AimlineError)  # noqa: S101  # the handler is installed for this class
    return from_error(request, error)


def from_error(request: Request, error: AimlineError) -> JSONResponse:
    """Converts an error of the application into a problem response."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 400)
    violations = error.violations if isinstance(error, Invalid) else ()
    answer = problem(request, status, error.code, error.detail, violations)
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


async def _shape(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # the handler is installed for this class
    errors = error.errors()
    if any(item["type"] == "json_invalid" for item in errors):
        return problem(request, 400, "body.not_json", "The body is not JSON.")
    earlier: list[Violation] = getattr(request.state, "violations", [])
    of_shape = [violation_of(item, item["loc"][1:]) for item in errors[:MAX_VIOLATIONS]]
    violations = [*merged([*earlier, *of_shape], getattr(request.state, "further", ()))]
    detail = "The request does not have the expected shape."
    # A wrong parameter is a bad request (400); a JSON body with invalid content cannot be processed (422).
    status = 422 if any(item["loc"][:1] == ("body",) for item in errors) else 400
    more = len(errors) - len(of_shape)
    return problem(request, status, "shape", detail, violations, more)


def violation_of(error: Mapping[str, Any], place: Sequence[int | str]) -> Violation:
    """Converts an error of pydantic into a violation at this place in the request."""
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)
    return Violation(pointer, f"shape.{error['type']}", words_of(error))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # the handler is installed for this class
    texts = {
        404: ("route.unknown", "There is no such path."),
        405: ("method", "This path does not support the method."),
        415: ("body.media_type", str(error.detail)),
    }
    code, detail = texts.get(error.status_code, ("http", str(error.detail)))
    answer = problem(request, error.status_code, code, detail)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    if error.status_code == 405:
        answer.headers["Allow"] = ", ".join(sorted(_methods_of(request))) or answer.headers.get("Allow", "")
    return answer


def _methods_of(request: Request) -> set[str]:
    """Returns the methods of all routes with the path of a request. The framework lists only one route's methods.

    The routes are read, and not the contract, because building the contract takes seconds of processor time.
    """
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    of_path = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    exact = [route for route in of_path if not route.param_convertors] or of_path
    return {method for route in exact for method in route.methods or ()}


async def _overflow(request: Request, _: Exception) -> JSONResponse:
    """Returns the error response for a request that led to a number or a date outside of the possible range."""
    return problem(request, 422, Invalid.code, OUT_OF_RANGE.detail, [OUT_OF_RANGE])


async def _database(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DBAPIError)  # noqa: S101  # the handler is installed for this class
    if getattr(error.orig, "sqlstate", "") in OVERFLOWS:
        return await _overflow(request, error)
    raise error  # the retry wrapper around the app may run the request again


HANDLERS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]] = {
    AimlineError: _ours,
    RequestValidationError: _shape,
    HTTPException: _http,
    DBAPIError: _database,
    OverflowError: _overflow,
}
"""The functions that return the problem responses of errors, keyed by the class of the error."""


def fault(request: Request, error: Exception) -> JSONResponse:
    """Logs an internal fault and returns its problem response; neither contains submitted values."""
    log.error("fault", **describe_fault(error))
    detail = "An internal error occurred. Nothing was changed."
    return problem(request, 500, "internal", detail)
