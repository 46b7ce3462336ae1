"""Owns the order in which a request is checked: its token, its scopes, the size of its JSON, and only then its values.

What every operation has by its declaration is added here as well: an idempotency key.

FastAPI parses and validates a body before any dependency runs, so a caller without the scope could make the service
do all of that work. Every router names this class; a test refuses a route that takes a body without it.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.access.permission import MEANING, Can
from app.core.errors import Forbidden, Malformed, Violation
from app.core.json_limits import MAX_VALUES, NotText, check_json
from app.rest.door import open_work, principal_of
from app.rest.repetition import PARAMETER, Replayed, keep, note_key

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """A route that checks the scopes stated in its contract before it reads a body."""

    most_values = MAX_VALUES
    """The maximum number of values in a body."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        extra = self.openapi_extra or {}
        parameters = list(extra.get("parameters", ()))
        if self.takes_key and PARAMETER not in parameters:
            parameters.append(PARAMETER)
        self.openapi_extra = {**extra, "parameters": parameters} if parameters else self.openapi_extra

    @property
    def takes_key(self) -> bool:
        """Tells whether the route takes an idempotency key: a POST does, unless it opens its transactions itself."""
        return "POST" in (self.methods or ()) and _depends_on(self.dependant, open_work)

    @property
    def stated_scopes(self) -> tuple[Can, ...]:
        """Returns the scopes that `requires` stated for this route; none for a route without a token."""
        (security,) = (self.openapi_extra or {}).get("security", ({},))
        return tuple(Can(scope) for scope in security.get("oauth2", ()))

    def get_route_handler(self) -> Handler:
        """Returns FastAPI's handler, preceded by the checks."""
        handle, scopes = super().get_route_handler(), self.stated_scopes
        reads_json, most_values, takes_key = self.body_field is not None, self.most_values, self.takes_key

        async def checked(request: Request) -> Response:
            if scopes or takes_key:
                await _authorize(request, scopes)
            if reads_json:
                await _check_body(request, most_values)
            if not takes_key:
                return await handle(request)
            await note_key(request, request.state.principal)
            try:
                response = await handle(request)
            except Replayed as replay:
                return replay.response()
            await keep(request, response)
            return response

        return checked


def _depends_on(dependant: Dependant, function: Callable[..., Any]) -> bool:
    return dependant.call is function or any(_depends_on(inner, function) for inner in dependant.dependencies)


async def _authorize(request: Request, scopes: tuple[Can, ...]) -> None:
    """Stores the principal for `principal_of`; raises `Unauthenticated` or `Forbidden`."""
    principal = await principal_of(
        request, request.headers.get("authorization"), request.headers.get("aimline-act-for")
    )
    request.state.principal = principal
    for scope in scopes:
        if not principal.may(scope):
            detail = f"This needs the permission {scope.value}. {MEANING.get(scope, '')}".strip()
            raise Forbidden(detail, code="permission.missing")


async def _check_body(request: Request, most_values: int) -> None:
    try:
        body = await request.body()
    except ClientDisconnect:
        raise Malformed([Violation("", "body.cut_off", "The body broke off before its end.")]) from None
    try:
        check_json(body, most_values)
    except NotText:
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body", 0), "msg": "Not UTF-8"}]) from None
