"""Owns problem details (RFC 9457): how what went wrong reaches a REST caller. Never shows a submitted value."""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from app.core.errors import (
    MOST_VIOLATIONS,
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
    StorageFull,
    Throttled,
    Unauthenticated,
    Unavailable,
    Violation,
    with_more,
)
from app.core.fault_report import describe_fault
from app.core.metrics import REFUSALS

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[AimlineError], tuple[int, str]] = {
    NotFound: (404, "Not found"),
    Forbidden: (403, "Not allowed"),
    Unauthenticated: (401, "Who is asking?"),
    Conflict: (409, "The present state does not allow this"),
    Gone: (410, "Kept no longer"),
    Busy: (429, "Too much at once"),
    StorageFull: (507, "No room"),
    Malformed: (400, "Bad request"),
    Invalid: (422, "Values that cannot be taken"),
    Throttled: (429, "Too many requests"),
    Overloaded: (503, "Too much to do"),
    Unavailable: (503, "Not to be had at the moment"),
    OutcomeUnknown: (503, "It is not known whether this was done"),
}
OVERFLOWS = ("22003", "22008")
"""SQLSTATEs of a number or a date beyond its range."""
log = structlog.get_logger()


class ViolationShape(BaseModel):
    """One thing wrong with the request."""

    pointer: str = Field(description="Where: a JSON Pointer (RFC 6901) into the body, or /name of a parameter.")
    code: str = Field(description="A stable code.")
    detail: str = Field(description="A sentence.")


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="urn:aimline:problem:<code>; stable.")
    title: str
    status: int
    detail: str
    trace_id: str = Field(description="Name it when you ask for help.")
    violations: list[ViolationShape] = Field(
        default=[],
        max_length=MOST_VIOLATIONS,
        description="Everything that is wrong, at once; beyond 100, `detail` says how many more there are.",
    )


def problem(
    request: Request,
    status: int,
    code: str,
    title: str,
    detail: str,
    violations: Sequence[Violation] = (),
    more: int = 0,
) -> JSONResponse:
    """A problem as an answer. It lists the first violations; `more` counts those that are left out already."""
    REFUSALS.labels(code).inc()
    shown = violations[:MOST_VIOLATIONS]
    shape = Problem(
        type=f"urn:aimline:problem:{code}",
        title=title,
        status=status,
        detail=with_more(detail, more + len(violations) - len(shown)),
        trace_id=getattr(request.state, "trace_id", ""),
        violations=[ViolationShape(pointer=one.pointer, code=one.code, detail=one.detail) for one in shown],
    )
    headers = {"WWW-Authenticate": 'Bearer realm="aimline"'} if status == 401 else None
    return JSONResponse(shape.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Lays the handlers; every error leaves as a problem, and the contract says so."""
    described = app.openapi

    def contract() -> dict[str, Any]:
        if app.openapi_schema is None:
            _as_problems(described())
        return described()

    app.openapi = contract  # type: ignore[method-assign]  # how FastAPI says that a contract is extended
    app.add_exception_handler(AimlineError, _ours)
    app.add_exception_handler(RequestValidationError, _shape)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(OverflowError, _overflow)


def _as_problems(contract: dict[str, Any]) -> None:
    # FastAPI files every model under application/json; these leave as problems only.
    for operation in (one for methods in contract["paths"].values() for one in methods.values()):
        for answer in operation.get("responses", {}).values():
            content = answer.get("content", {})
            if MEDIA_TYPE in content and "application/json" in content:
                content[MEDIA_TYPE] = content.pop("application/json")


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AimlineError)  # noqa: S101  # the handler is laid for this class
    return from_error(request, error)


def from_error(request: Request, error: AimlineError) -> JSONResponse:
    """Returns one of our own errors as a problem."""
    status, title = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), (400, "Bad request"))
    violations = error.violations if isinstance(error, Invalid) else ()
    answer = problem(request, status, error.code, title, error.detail, violations)
    if isinstance(error, Throttled | Unavailable | Busy):
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


async def _shape(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # as above
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(request, 400, "body.not_json", "Bad request", "The body is not JSON.")
    violations = [_violation(one) for one in found[:MOST_VIOLATIONS]]
    detail = "The request does not have the shape that it should."
    # Parameters make a bad request; a body that is JSON and says the wrong thing cannot be processed.
    status = 422 if any(one["loc"][:1] == ("body",) for one in found) else 400
    more = len(found) - len(violations)
    return problem(request, status, "shape", "Not of the right shape", detail, violations, more)


def _violation(error: dict[str, Any]) -> Violation:
    # The messages of the shapes name types and limits; the submitted value is in another field, left behind here.
    place = error["loc"][1:] if error["loc"][:1] and error["loc"][0] in ("body", "query", "path", "header") else ()
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)
    return Violation(pointer, f"shape.{error['type']}", f"{error['msg']}.")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # as above
    told = {
        404: ("route.unknown", "There is nothing here."),
        405: ("method", "This verb is not taken here."),
        415: ("body.media_type", str(error.detail)),
    }
    code, detail = told.get(error.status_code, ("http", str(error.detail)))
    answer = problem(request, error.status_code, code, detail, detail)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _overflow(request: Request, _: Exception) -> JSONResponse:
    """What is reckoned from a date or a number that was sent leaves its range."""
    return problem(request, 422, OUT_OF_RANGE.code, STATUS[Invalid][1], OUT_OF_RANGE.detail, [OUT_OF_RANGE])


async def _database(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DBAPIError)  # noqa: S101  # as above
    if getattr(error.orig, "sqlstate", "") in OVERFLOWS:
        return await _overflow(request, error)
    raise error  # for whoever may run the request once more


def fault(request: Request, error: Exception) -> JSONResponse:
    """Our own fault, as an answer and a line in the log that say nothing of what was submitted."""
    log.error("fault", **describe_fault(error))
    detail = "Something broke on our side. Nothing was changed."
    return problem(request, 500, "internal", "Our fault", detail)
