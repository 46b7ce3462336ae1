"""Builds the responses to GraphQL requests over HTTP. It contains no rules."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from graphql import GraphQLError
from strawberry.types import ExecutionResult

from app.core.errors import (
    AimlineError,
    Busy,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    OutcomeUnknown,
    Overloaded,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from app.graphql.json_text import dump
from app.graphql.limits import Limits
from app.graphql.problems import cause_of, is_fault, log_fault, refusal, render_error
from app.graphql.request import MODERN

STATUS: tuple[tuple[type[AimlineError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (Invalid, 400),
    (Conflict, 409),
    (Gone, 410),
    (Overloaded, 503),
    (Busy, 429),
    (Throttled, 429),
    (Unavailable, 503),
    (OutcomeUnknown, 503),
)
RETRY_SECONDS = 5


@dataclass
class Answer:
    """Builds the responses to one GraphQL request.

    If the document of the request was valid, each response states the document's cost.
    """

    trace_id: str
    limits: Limits
    media: str = "application/json"
    cost: int | None = None
    is_prepared: bool = False

    def give(self, body: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
        """Returns a response with this body, status and headers."""
        if self.is_prepared:
            body["extensions"] = {"cost": self.cost, "costLimit": self.limits.cost, **(body.get("extensions") or {})}
        content = f"{self.media}; charset=utf-8"
        return Response(dump(body), status, headers=headers, media_type=content)

    def ran(self, result: ExecutionResult) -> Response:
        """Returns the response with the result of an operation.

        If the operation could not begin, for example because of its variables, the response has no `data`.
        """
        errors = result.errors or []
        if result.data is None and not any(error.path for error in errors):
            return self.not_run(errors)
        body: dict[str, Any] = {"data": result.data, "extensions": result.extensions}
        if errors:
            body["errors"] = self._listed(errors)
        return self.give(body, 200)

    def not_run(self, errors: list[GraphQLError]) -> Response:
        """Returns the response to a malformed request, whose operation was not run.

        The status is 400, or 200 for a client that accepts only `application/json`.
        """
        return self.give({"errors": self._listed(errors)}, 400 if self.media == MODERN else 200)

    def refused(self, request: Request, error: AimlineError) -> Response:
        """Returns the response that refuses a request with this error, with the headers that its status requires."""
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 400)
        headers = {"WWW-Authenticate": _challenge(request)} if status == 401 else {}
        if (retry_after := getattr(error, "retry_after", None)) is not None:
            headers["Retry-After"] = str(retry_after)
        return self.give({"errors": [refusal(error, self.trace_id)]}, status, headers)

    def faulted(self, result: ExecutionResult) -> Response:
        """Returns the response to an operation that failed by an internal fault."""
        faults = [error for error in result.errors or [] if is_fault(error)]
        for error in faults[: self.limits.errors]:
            log_fault(cause_of(error))
        return self.give({"data": None, "errors": self._listed(faults)}, 500 if self.media == MODERN else 200)

    def stopped(self) -> Response:
        """Returns the response to an operation that took too long and was stopped."""
        detail = f"The operation ran for {self.limits.seconds:g} s and was stopped. Nothing was changed."
        error = refusal(AimlineError(detail, code="operation.timeout"), self.trace_id)
        return self.give({"errors": [error]}, 503, {"Retry-After": str(RETRY_SECONDS)})

    def _listed(self, errors: list[GraphQLError]) -> list[dict[str, Any]]:
        """Returns the errors as the response lists them.

        Errors beyond the first `limits.errors` are counted, not listed.
        """
        most_errors = self.limits.errors
        listed = [render_error(error, self.trace_id) for error in errors[:most_errors]]
        if len(errors) > most_errors:
            extensions = {"code": "errors.more", "traceId": self.trace_id}
            listed.append({"message": f"And {len(errors) - most_errors} more.", "extensions": extensions})
        return listed


def _challenge(request: Request) -> str:
    challenge = 'Bearer realm="aimline"'
    return f'{challenge}, error="invalid_token"' if "Authorization" in request.headers else challenge
