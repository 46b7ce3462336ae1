"""Validates only those query parameters of a route that a request contains.

A list has many query parameters, and most requests contain few of them, so this saves time.
"""

from collections.abc import Callable, Coroutine
from copy import copy
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
PLAIN = (type(None), bool, int, str)
"""The types of defaults that need no copy for each request."""
MOST_HANDLERS = 64
"""The largest number of handlers that a route keeps.

Requests for which the route has no handler then use the handler for all parameters.
"""


class SparseHandlers:
    """The handlers of one route: one for each combination of query parameters that its requests contain."""

    def __init__(self, dependant: Dependant, make: Callable[[Dependant], Handler]) -> None:
        """Creates the handlers of a route.

        `make` returns FastAPI's handler, given the parameters that it is to validate.
        """
        self._dependant, self._make = dependant, make
        self._whole = make(dependant)
        self._optional = {
            field.alias
            for field in dependant.query_params
            if not field.field_info.is_required() and isinstance(field.default, PLAIN)
        }
        self._handlers: dict[frozenset[str], Handler] = {}

    def for_request(self, request: Request) -> Handler:
        """Returns the handler for a request.

        The handler validates only the parameters that the request contains. All other parameters get their defaults.
        """
        if not self._optional:
            return self._whole
        named = frozenset(name for name in request.query_params if name in self._optional)
        if (handler := self._handlers.get(named)) is not None:
            return handler
        if len(self._handlers) >= MOST_HANDLERS:
            return self._whole
        handler = self._handlers[named] = self._make(self._limited(named))
        return handler

    def _limited(self, named: frozenset[str]) -> Dependant:
        absent = {field.alias for field in self._dependant.query_params} & self._optional - named
        limited = copy(self._dependant)
        assert limited.call is not None  # noqa: S101  # a route has an endpoint
        limited.query_params = [field for field in self._dependant.query_params if field.alias not in absent]
        defaults = {field.name: field.default for field in self._dependant.query_params if field.alias in absent}
        limited.call = partial(limited.call, **defaults)
        return limited
