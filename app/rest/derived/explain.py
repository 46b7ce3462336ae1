"""Runs the read of a generated REST route without HTTP, for the command `aimline explain`.

To explain a read means to show its SQL and PostgreSQL's plan for it, instead of its rows.
"""

from collections.abc import Mapping
from contextlib import suppress
from inspect import Parameter, signature
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError

from app.access.work import Work
from app.core.errors import Malformed, NotFound, Violation
from app.rest.route import Route


async def run_path(router: APIRouter, work: Work, target: str) -> None:
    """Runs the read route that has this path, such as `/v1/concerns?state=raised`.

    Raises `Malformed` if no generated read route has this path.
    """
    parts = urlsplit(target)
    for route in router.routes:
        if isinstance(route, Route) and (match := route.path_regex.match(parts.path)) is not None:
            arguments = _values(route.endpoint, match.groupdict(), parse_qs(parts.query, keep_blank_values=True))
            with suppress(NotFound):  # an explained read finds nothing
                await route.endpoint(work=work, request=None, **arguments)
            return
    detail = "This is no read that is derived from the resources. Give a path such as /v1/concerns?state=raised."
    raise Malformed([Violation("/path", "path.unknown", detail)])


def _values(endpoint: Any, path: Mapping[str, str], query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Reads the arguments of a generated route from the path and the query, and converts each to its declared type.

    Raises `Malformed` for a query parameter that the route does not have or whose value is wrong.
    """
    parameters = {_alias(parameter): parameter for parameter in signature(endpoint).parameters.values()}
    arguments: dict[str, Any] = dict(path)
    for name, values in query.items():
        if name not in parameters or name in path:
            raise Malformed([Violation(f"/{name}", "parameter.unknown", f"{name} is no parameter of this path.")])
        parameter = parameters[name]
        adapter: TypeAdapter[Any] = TypeAdapter(parameter.annotation)
        try:
            arguments[parameter.name] = adapter.validate_python(values if name == "expand" else values[-1])
        except ValidationError:
            detail = f"{name} has a value that is not accepted."
            raise Malformed([Violation(f"/{name}", "parameter.invalid", detail)]) from None
    return arguments


def _alias(parameter: Parameter) -> str:
    """Returns the name that a parameter has in a query, such as `class` for `class_`."""
    return parameter.name.removesuffix("_")
