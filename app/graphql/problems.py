"""Converts errors into the two forms that GraphQL callers see: problems in a payload, and errors of a response.

Problems have the same codes as in REST, and pointers with GraphQL's names. The errors at the top level of a response
are refusals of access, faults and malformed requests. Neither form contains a submitted value. The text of an exception
appears neither in the response nor in the log.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import strawberry
import structlog
from graphql import GraphQLError
from sqlalchemy.exc import IntegrityError
from strawberry.exceptions import StrawberryInputCoercionError

from app.access.work import Work
from app.core.errors import (
    MAX_VIOLATIONS,
    OUT_OF_RANGE,
    AimlineError,
    Forbidden,
    Invalid,
    Violation,
    with_more,
)
from app.core.fault_report import describe_fault
from app.core.metrics import REFUSALS
from app.graphql.door import OperationContext
from app.requests.malformed import all_violations

P = ParamSpec("P")
R = TypeVar("R")
UNIQUE_VIOLATION = "23505"
MAX_MESSAGE_LENGTH = 500
MISSING_PERMISSION = "permission.missing"
FAULT = "An internal error occurred. Nothing was changed."
NULL_IN_INPUT = "A field of the input is null. It may be left out, and has a value otherwise."
log = structlog.get_logger()

_VARIABLE = re.compile(r"^Variable '(\$\w+)' has invalid (?:default )?value( at [\w.\[\]]+)?: ")
_TOKEN = re.compile(r"(String|BlockString|Int|Float)\b.*", re.DOTALL)
_ABOUT_VALUE = re.compile(r"\bvalue\b|represent", re.IGNORECASE)
_ABOUT_NAMES = ("Cannot query ", "Unknown ", "Field '", "Fragment ", "Variable '$")
_MISSING = re.compile(r"^Expected value of type '\w+' to include required field '(\w+)'")
_UNKNOWN = re.compile(r"^Expected value of type '(\w+)' not to include unknown field")
_TYPES = (
    re.compile(r"^Expected (?:a )?value of (?:non-null )?type '([\w!\[\]]+)'"),
    re.compile(r"^Value '\w+' does not exist in '(\w+)' enum"),
    re.compile(r"^Enum '(\w+)' cannot represent"),
    re.compile(r"^Value cannot represent an? (\w+)"),
    re.compile(r"^(\w+) cannot represent"),
)


@strawberry.type(description="A named number of a problem.")
class ProblemFigure:
    """A named number that a program needs to correct an input, such as a proposed goal."""

    name: str
    value: float


@strawberry.type(description="One violation in an input, with the same codes as in REST.")
class Problem:
    """A violation in a mutation's input, or an error about the whole input."""

    code: str = strawberry.field(description="A stable code.")
    pointer: str = strawberry.field(
        description=(
            "The place: a JSON Pointer (RFC 6901) into `input`, with its fields' names; empty for the input as a whole."
        )
    )
    detail: str = strawberry.field(description="A sentence.")
    figures: list[ProblemFigure] = strawberry.field(
        description="Numbers by name for a program that corrects the input, such as `proposed_goal`.",
        default_factory=list,
    )


def problem_of(violation: Violation) -> Problem:
    """Converts a violation to a `Problem`, as a mutation's payload lists it."""
    figures = [ProblemFigure(name=name, value=value) for name, value in violation.figures]
    return Problem(code=violation.code, pointer=violation.pointer, detail=violation.detail, figures=figures)


def to_problems(violations: Sequence[Violation]) -> list[Problem]:
    """Returns violations as problems, at most a hundred of them.

    If there are more, a further problem states how many.
    """
    problems = [problem_of(violation) for violation in violations[:MAX_VIOLATIONS]]
    if omitted := len(violations) - len(problems):
        problems.append(Problem(code="violations.more", pointer="", detail=f"And {omitted} more."))
    return problems


async def find_problems(
    context: OperationContext,
    shape: Sequence[Violation],
    command: Callable[Concatenate[Work, P], Awaitable[Any]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> list[Problem]:
    """Returns all problems of a command's input.

    `shape` has the violations that were found when the input was parsed, such as a text that is not a date. They are
    followed by the violations that the command finds in the other values.
    """
    async with context.session():
        return to_problems(await all_violations(context.work, shape, lambda: command(context.work, *args, **kwargs)))


async def run_command(
    context: OperationContext, command: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
) -> tuple[R | None, list[Problem]]:
    """Runs a command in a savepoint, and returns its result or its problems.

    An error about a missing permission, or an internal fault, is raised instead.
    """
    try:
        return await context.write(command, *args, **kwargs), []
    except Invalid as error:
        return None, to_problems(error.violations)
    except AimlineError as error:
        if isinstance(error, Forbidden) and error.code == MISSING_PERMISSION:
            raise
        return None, [Problem(code=error.code, pointer="", detail=error.detail)]
    except OverflowError:
        return None, to_problems([OUT_OF_RANGE])
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", "") != UNIQUE_VIOLATION:
            raise
        detail = "Another request wrote the same thing at this moment. Read, then try again."
        return None, [Problem(code="conflict.concurrent", pointer="", detail=detail)]


def is_fault(error: GraphQLError) -> bool:
    """Returns whether an error is an internal fault: neither caused by the request nor a refusal."""
    cause = _cause(error)
    if isinstance(cause, AimlineError):
        return False
    if error.path is None:
        # Before execution, an error that the request has caused refers to a place in the document.
        return cause is not None and not error.nodes
    return cause is not None or not (error.message.startswith("Argument ") or _is_null_in_input(error))


class KeptError(GraphQLError):
    """An error of a field that was stored with the field's response and is shown again when the request is repeated."""

    def __init__(self, shown: dict[str, Any]) -> None:
        super().__init__(shown["message"], path=shown.get("path"))
        self.shown = shown


def render_error(error: GraphQLError, trace_id: str) -> dict[str, Any]:
    """Returns an error in the form in which a GraphQL response lists it."""
    if isinstance(error, KeptError):
        return error.shown | {"extensions": error.shown.get("extensions", {}) | {"traceId": trace_id}}
    if is_fault(error):
        return fault(trace_id) | _where(error)
    cause = _cause(error)
    if isinstance(cause, AimlineError):
        return refusal(cause, trace_id) | _where(error)
    message = NULL_IN_INPUT if _is_null_in_input(error) else _without_values(error)
    extensions = {"code": "request.malformed", "traceId": trace_id}
    # A message quotes names in the document, which can be long, and there can be many messages.
    return {"message": message[:MAX_MESSAGE_LENGTH], **_where(error), "extensions": extensions}


def refusal(error: AimlineError, trace_id: str) -> dict[str, Any]:
    """Returns an `AimlineError` in the form in which a GraphQL response lists it, and counts it in the metrics."""
    REFUSALS.labels(error.code).inc()
    extensions: dict[str, Any] = {"code": error.code, "traceId": trace_id}
    message = error.detail
    if isinstance(error, Invalid):
        listed = error.violations[:MAX_VIOLATIONS]
        message = with_more(message, len(error.violations) - len(listed))
        extensions["problems"] = [
            {"code": violation.code, "pointer": violation.pointer, "detail": violation.detail}
            | ({"figures": dict(violation.figures)} if violation.figures else {})
            for violation in listed
        ]
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        extensions["retryAfter"] = retry_after
    return {"message": message, "extensions": extensions}


def fault(trace_id: str) -> dict[str, Any]:
    """Returns the error that a caller sees for an internal fault."""
    return {"message": FAULT, "extensions": {"code": "internal", "traceId": trace_id}}


def log_fault(error: BaseException) -> None:
    """Logs the types and code locations of a fault, but no message, because a message may contain submitted values."""
    log.error("fault", **describe_fault(error))


def cause_of(error: GraphQLError) -> BaseException:
    """Returns the exception that a field's resolver raised."""
    return _cause(error) or error


def _cause(error: GraphQLError) -> BaseException | None:
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _is_null_in_input(error: GraphQLError) -> bool:
    """Returns whether the error is about a null for an input field that may be left out but must not be null.

    The library notices this only while the operation runs.
    """
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError) and not isinstance(cause, StrawberryInputCoercionError):
        cause = cause.original_error
    return error.path is not None and isinstance(cause, StrawberryInputCoercionError)


def _where(error: GraphQLError) -> dict[str, Any]:
    where: dict[str, Any] = {}
    if error.locations:
        where["locations"] = [{"line": location.line, "column": location.column} for location in error.locations]
    if error.path:
        where["path"] = error.path
    return where


def _without_values(error: GraphQLError) -> str:
    """Returns the library's message without the submitted values that the library quotes in it."""
    message = error.message
    variable = _VARIABLE.match(message)
    if variable is not None:
        return f"In the variable {variable[1]}{variable[2] or ''}: {_describe_mismatch(message[variable.end() :])}"
    if message.startswith("Syntax Error"):
        return _TOKEN.sub(r"\1.", message)
    if message.startswith(_ABOUT_NAMES) or not _ABOUT_VALUE.search(message):
        return message
    return f"In the document: {_describe_mismatch(message)}"


def _describe_mismatch(message: str) -> str:
    if missing := _MISSING.match(message):
        return f"the field {missing[1]} is missing."
    if unknown := _UNKNOWN.match(message):
        return f"there is a field that {unknown[1]} does not have."
    matches = (pattern.match(message) for pattern in _TYPES)
    type_name = next((f" {match[1]}" for match in matches if match), "")
    return f"a value does not fit the type{type_name} that is expected."
