"""Finds all violations of a request at once: in its path, parameters, headers and body."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, get_args, get_origin

import orjson
from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params, request_body_to_args, request_params_to_args
from fastapi.exceptions import RequestValidationError

from app.core.errors import Malformed, Violation
from app.rest.malformed import MalformedBody
from app.rest.pages import NUL

Check = Callable[[], Awaitable[None] | None]
PLACES = ("path", "query", "header")


def is_list(annotation: Any) -> bool:
    """Returns whether a type is a list, or has a list among its alternatives."""
    return get_origin(annotation) is list or any(is_list(part) for part in get_args(annotation))


class RequestChecks:
    """Checks the requests of a route. The results that depend only on the route's declaration are computed once."""

    def __init__(self, dependant: Dependant) -> None:
        fields = get_flat_params(dependant)
        self._fields = {place: [field for field in fields if _place(field) == place] for place in PLACES}
        self._body_fields = dependant.body_params
        self._accepted = frozenset(field.alias for field in self._fields["query"])
        self._lists = frozenset(field.alias for field in self._fields["query"] if is_list(field.field_info.annotation))

    async def run(self, request: Request, *checks: Check) -> None:
        """Raises all violations of a request together.

        Violations can be found by `checks`, in the query parameters, and in the values that FastAPI validates. `checks`
        are functions that raise `Malformed`, for example if a header is wrong. If `checks` and the query parameters
        have no violation, the values are not validated here, because FastAPI validates them later.
        """
        violations = list(self._parameter_violations(request))
        for check in checks:
            try:
                if (waiting := check()) is not None:
                    await waiting
            except Malformed as error:
                violations += error.violations
        if not violations:
            return
        errors = await self._value_errors(request)
        if not errors:
            raise Malformed(violations)
        request.state.violations = violations
        raise RequestValidationError(errors)

    def right_values(self, request: Request) -> tuple[dict[str, Any], frozenset[str]]:
        """Returns the values of the query parameters by name, without those that `run` or FastAPI would refuse.

        Also returns the names of the refused parameters. A parameter that the request does not contain has its default.
        """
        values = {field.name: field.default for field in self._fields["query"]}
        wrong = {violation.pointer.removeprefix("/") for violation in self._parameter_violations(request)}
        refused = set()
        for field in self._fields["query"]:
            texts = request.query_params.getlist(field.alias)
            if not texts:
                continue
            value, errors = field.validate(texts if field.alias in self._lists else texts[0], values, loc=("query",))
            if errors or field.alias in wrong:
                refused.add(field.name)
                del values[field.name]
            else:
                values[field.name] = value
        return values, frozenset(refused)

    def _parameter_violations(self, request: Request) -> Iterator[Violation]:
        """Yields the violations of query parameters: unknown names, repetitions and NUL characters.

        Without this check, a list would ignore a misspelt filter, and would use only one value of a repeated parameter.
        PostgreSQL cannot store NUL characters, so no row could match them.
        """
        parameters = request.query_params.multi_items()
        for name in sorted({name for name, _ in parameters} - self._accepted):
            names = ", ".join(sorted(self._accepted)) or "none"
            yield Violation(f"/{name}", "parameter.unknown", f"This takes the parameters: {names}.")
        for name, count in Counter(name for name, _ in parameters).items():
            if count > 1 and name in self._accepted and name not in self._lists:
                yield Violation(f"/{name}", "parameter.repeated", "Name this once.")
        for name in dict.fromkeys(name for name, value in parameters if NUL in value):
            if name in self._accepted:
                yield Violation(f"/{name}", "parameter.nul", "A text has no NUL character.")

    async def _value_errors(self, request: Request) -> list[Any]:
        """Returns the errors that FastAPI finds in the values of the path, the query, the headers and the body."""
        received: dict[str, Any] = {
            "path": request.path_params,
            "query": request.query_params,
            "header": request.headers,
        }
        errors: list[Any] = []
        for place, values in received.items():
            errors += request_params_to_args(self._fields[place], values)[1]
        if not self._body_fields:
            return errors
        try:
            body = orjson.loads(await request.body() or b"null")
        except orjson.JSONDecodeError:
            return [*errors, {"type": "json_invalid", "loc": ("body", 0), "msg": "JSON decode error"}]
        values, body_errors = await request_body_to_args(self._body_fields, body, embed_body_fields=False)
        malformed = [value for value in values.values() if isinstance(value, MalformedBody)]
        return [
            *errors,
            *body_errors,
            *({**error, "loc": ("body", *error["loc"])} for value in malformed for error in value.errors),
        ]


def _place(field: Any) -> str:
    place: str = field.field_info.in_.value
    return place
