"""Answers the GET requests of generated routes without the routing, the dependencies and the checks of FastAPI.

FastAPI would compare each request with several hundred routes, and would resolve the dependencies of the route for each
request. This takes longer than the read itself. Only valid requests are answered here. A request with an unknown,
repeated or wrong parameter goes to FastAPI, which reports all its violations.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.work import unit
from app.rest.checks import is_list
from app.rest.door import Services
from app.rest.pages import NUL
from app.rest.problem import answer_of
from app.rest.route import Route, authorize
from app.rest.versions import with_etag


class DirectReads:
    """Middleware that answers valid requests for routes with a `direct` function. FastAPI answers all others."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._paths = GetPaths(routes)
        direct = [route for route in routes if isinstance(route, Route) and route.direct is not None]
        self._reads: dict[int, DirectRead] = {id(route): DirectRead(route) for route in direct}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope.get("root_path"):
            route, path_params = self._paths.find(scope["path"])
            read = self._reads.get(id(route))
            values = None if read is None else read.values_of(scope["query_string"])
            if read is not None and values is not None:
                scope["route"], scope["path_params"] = route, path_params
                request = Request(scope, receive)
                try:
                    answer = await read.answer(request, values | path_params)
                except Exception as error:
                    answer = await answer_of(request, error)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


class GetPaths:
    """Finds the route of a GET request, with the same result as FastAPI's routing, but faster.

    It compares the path only with routes that begin with the same two parts, such as `/v1/concerns`.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        reads = [
            (route, _start(route.path))
            for route in routes
            if isinstance(route, APIRoute) and "GET" in (route.methods or ())
        ]
        self._anywhere = [route for route, start in reads if start is None]
        self._by_start = {
            start: [route for route, other in reads if other in (start, None)]
            for start in {start for _, start in reads if start is not None}
        }

    def find(self, path: str) -> tuple[APIRoute | None, dict[str, Any]]:
        """Returns the first route that matches a path, and the values of its path parameters.

        The route is None if there is no such route.
        """
        for route in self._by_start.get(tuple(path.split("/", 3)[:3]), self._anywhere):
            if (match := route.path_regex.match(path)) is not None:
                values = match.groupdict()
                return route, {name: route.param_convertors[name].convert(value) for name, value in values.items()}
        return None, {}


class DirectRead:
    """Reads the parameters of the requests for one route, and answers the valid requests without FastAPI."""

    def __init__(self, route: Route) -> None:
        fields = route.dependant.query_params
        self._route = route
        self._scopes = route.stated_scopes
        self._operation = f"GET {route.path}"
        self._fields = {field.alias: field for field in fields}
        self._lists = {field.alias for field in fields if is_list(field.field_info.annotation)}
        self._defaults = {field.name: field.default for field in fields}
        self._shows_version, self._shows_secret = route.shows_version, route.shows_secret

    def values_of(self, query: bytes) -> dict[str, Any] | None:
        """Returns the values of the parameters in a query string, or None if FastAPI would refuse one of them."""
        values = dict(self._defaults)
        if not query:
            return values
        named: dict[str, Any] = {}
        for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if name not in self._fields or NUL in text or (name in named and name not in self._lists):
                return None
            if name in self._lists:
                named.setdefault(name, []).append(text)
            else:
                named[name] = text
        for name, value in named.items():
            field = self._fields[name]
            values[field.name], errors = field.validate(value, values, loc=("query", name))
            if errors:
                return None
        return values

    async def answer(self, request: Request, values: dict[str, Any]) -> Response:
        """Returns the response to a request with these values. Raises the same errors as the route."""
        assert self._route.direct is not None  # noqa: S101  # only such routes are read directly
        request.state.is_secret = self._shows_secret
        principal = await authorize(request, self._scopes)
        services: Services = request.app.state.services
        async with unit(services.engine, principal, services.keyring, self._operation) as work:
            response = await self._route.direct(work=work, request=request, **values)
        return with_etag(request, response) if self._shows_version else response


def _start(template: str) -> tuple[str, ...] | None:
    """Returns the first two parts of a route's path, such as `/v1` and `concerns`; None if one is a path parameter."""
    start = tuple(template.split("/", 3)[:3])
    return None if any("{" in part for part in start) else start
