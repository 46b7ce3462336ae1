"""Checks a request in this order: its token, its scopes, the size of its JSON, and only then its values.

FastAPI parses and validates a body before any dependency runs. A caller without the scope could thus make the service
do all of that work. Every router uses the class `Route`; a test fails if a route of another class takes a body.

The class also adds what follows from a route's declaration: an idempotency key, an ETag, and the header If-Match.
"""

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from functools import partial
from traceback import clear_frames
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.access.permission import MEANING, Can
from app.access.principal import Principal
from app.access.work import unit
from app.core.errors import Forbidden, Invalid, Malformed, NotFound, PreconditionRequired, Violation
from app.core.json_limits import MAX_VALUES, NotText, check_json
from app.requests.malformed import merged
from app.rest.checks import RequestChecks
from app.rest.door import READS, Services, open_work, principal_of
from app.rest.headers import describe
from app.rest.repetition import Replayed, note_key, store_response
from app.rest.sparse import Handler, SparseHandlers
from app.rest.versions import note_versions, require_seen, with_etag


class Route(APIRoute):
    """A route that checks the token and its scopes before it reads a body."""

    most_values = MAX_VALUES
    """The largest number of values in a body."""
    direct: Callable[..., Awaitable[Response]] | None = None
    """The function of a read that needs nothing but a unit of work and the values of its parameters, which are all
    optional. `app.rest.direct` calls it.
    """
    examine: Callable[..., Awaitable[None]] | None = None
    """The function that raises what such a read would refuse in its parameters, and reads nothing.

    It also takes `refused`: the names of parameters whose form is wrong, and which therefore have no value.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.openapi_extra = describe(self, dict(self.openapi_extra or {})) or self.openapi_extra

    @property
    def takes_key(self) -> bool:
        """Returns whether a client may send an idempotency key, with which a repeated request is executed only once.

        This is so for every POST, unless the route opens its transactions itself.
        """
        return "POST" in (self.methods or ()) and self._opens_work

    @property
    def takes_version(self) -> bool:
        """Returns whether a client may send the version of the row in the path, as `If-Match`."""
        return not READS & (self.methods or set()) and bool(self.param_convertors) and self._opens_work

    @property
    def requires_version(self) -> bool:
        """Returns whether a client must send the version of the row that it changes.

        This is so for a PATCH, which overwrites values and keeps no history.
        """
        return "PATCH" in (self.methods or ()) and self.takes_version

    @property
    def shows_version(self) -> bool:
        """Returns whether the response is one row with a version."""
        return "version" in getattr(self.response_model, "model_fields", {})

    @property
    def shows_secret(self) -> bool:
        """Returns whether the response contains a secret. Such a response must not be compressed."""
        return "secret" in getattr(self.response_model, "model_fields", {})

    @property
    def _opens_work(self) -> bool:
        return _depends_on(self.dependant, open_work)

    @property
    def stated_scopes(self) -> tuple[Can, ...]:
        """Returns the scopes that `requires` declared for this route. A route that needs no token has none."""
        (security,) = (self.openapi_extra or {}).get("security", ({},))
        return tuple(Can(scope) for scope in security.get("oauth2", ()))

    def get_route_handler(self) -> Handler:
        """Returns a function that answers a request of this route.

        It checks the request, calls FastAPI's handler, adds the ETag, and stores the response if there is an
        idempotency key.
        """
        handlers, scopes = SparseHandlers(self.dependant, self._framework_handler), self.stated_scopes
        reads_json, most_values = self.body_field is not None, self.most_values
        takes_key, takes_version, shows_version = self.takes_key, self.takes_version, self.shows_version
        requires_version, shows_secret = self.requires_version, self.shows_secret
        checks = RequestChecks(self.dependant)

        async def checked(request: Request) -> Response:
            request.state.is_secret = shows_secret
            if scopes or takes_key:
                await authorize(request, scopes)
            if reads_json:
                await _check_body(request, most_values)
            try:
                await checks.run(
                    request,
                    *([partial(note_versions, request)] if takes_version else ()),
                    *([partial(note_key, request, request.state.principal)] if takes_key else ()),
                )
            except Malformed as error:
                raise Malformed(merged(error.violations, await self._examined(request, checks))) from None
            except RequestValidationError:
                request.state.further = await self._examined(request, checks)
                raise
            if requires_version and request.state.expected is None:
                raise PreconditionRequired
            try:
                response = await handlers.for_request(request)(request)
            except Replayed as replay:
                return replay.response()
            except RequestValidationError as error:
                request.state.further = await self._examined(request, checks)
                _release_body(error)
                raise
            if takes_version:
                require_seen(request)
            if shows_version:
                response = with_etag(request, response)
            if takes_key:
                await store_response(request, response)
            return response

        return checked

    async def _examined(self, request: Request, checks: RequestChecks) -> Sequence[Violation]:
        """Returns what the read of this route would refuse in the parameters whose form is right."""
        if self.examine is None:
            return ()
        values, refused = checks.right_values(request)
        principal = await authorize(request, self.stated_scopes)
        services: Services = request.app.state.services
        try:
            async with unit(services.engine, principal, services.keyring, f"GET {self.path}") as work:
                await self.examine(work=work, refused=refused, **values, **request.path_params)
        except Invalid as error:
            return error.violations
        except (Forbidden, NotFound):
            pass
        return ()

    def _framework_handler(self, dependant: Dependant) -> Handler:
        """Returns FastAPI's handler that validates only the parameters in `dependant`."""
        route = copy(self)
        route.dependant = dependant
        return super(Route, route).get_route_handler()


def _depends_on(dependant: Dependant, function: Callable[..., Any]) -> bool:
    return dependant.call is function or any(_depends_on(inner, function) for inner in dependant.dependencies)


async def authorize(request: Request, scopes: tuple[Can, ...]) -> Principal:
    """Verifies the token and its scopes, and returns the principal, which is stored with the request too.

    Raises `Unauthenticated` or `Forbidden`.
    """
    principal = await principal_of(
        request, request.headers.get("authorization"), request.headers.get("aimline-act-for")
    )
    request.state.principal = principal
    for scope in scopes:
        if not principal.may(scope):
            detail = f"This needs the permission {scope.value}. {MEANING.get(scope, '')}".strip()
            raise Forbidden(detail, code="permission.missing")
    return principal


def _release_body(error: BaseException) -> None:
    """Clears the variables of the functions that raised an error.

    A function of FastAPI holds the error in a variable, and the error refers back to that function. Because of this
    cycle, the request's body would stay in memory until the next full garbage collection, which may be a hundred
    requests later.
    """
    if isinstance(error, RequestValidationError):
        error.body = None
    for raised in (error, error.__cause__):
        if raised is not None:
            clear_frames(raised.__traceback__)
    error.__cause__ = None


async def _check_body(request: Request, most_values: int) -> None:
    try:
        body = await request.body()
    except ClientDisconnect:
        raise Malformed([Violation("", "body.cut_off", "The body broke off before its end.")]) from None
    try:
        check_json(body, most_values)
    except NotText:
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body", 0), "msg": "Not UTF-8"}]) from None
