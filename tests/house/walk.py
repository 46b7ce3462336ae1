"""Calls every operation of the app, with the parameters and bodies that the routes declare.

An operation with an unknown parameter or field fails the tests; its values must then be added to `walk_knows`.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from tests.house.full_district import FullDistrict
from tests.house.walk_knows import (
    CONTENT,
    DECLARED,
    FIELDS,
    HEADERS,
    LEFT_OUT,
    LISTED,
    NAMES_ITS_OWN,
    OWN_FIELDS,
    OWN_REFERENCES,
    OWN_ROW,
    PATHS,
    REFERENCES,
    STREAMS,
    VALUES,
)

MOST_EXPANSIONS = 20
"""How many expansions one request may have."""
TOO_MANY_ROWS = '"expand.too_many_rows"'
"""The code of the violation with which expansions are refused that could return too many rows."""


class Unwalkable(Exception):
    """Raised if the tests have no value for a parameter or field of an operation."""


@dataclass(frozen=True)
class Operation:
    """An operation of the contract: a method and a path."""

    method: str
    path: str
    name: str
    parameters: tuple[Mapping[str, Any], ...]
    body: Mapping[str, Any] | None
    reads: bool = field(default=False)
    shows: str | None = None
    """The schema of the answer, or of the rows of a list."""

    def names(self, place: str) -> list[str]:
        """Returns the names of the operation's parameters in the path, query or header."""
        return [one["name"] for one in self.parameters if one["in"] == place]

    def choices(self, name: str) -> list[Any]:
        """Returns the values that the contract lists for a query parameter; an empty list if it lists none."""
        schemas = [one["schema"] for one in self.parameters if one["name"] == name and one["in"] == "query"]
        kinds = [one.get("items", one) for schema in schemas for one in schema.get("anyOf", [schema])]
        return [value for one in kinds for value in one.get("enum", [one["const"]] if "const" in one else [])]


@dataclass(frozen=True)
class Request:
    """A generated request. `named` and `in_path` say where it contains an id of the other district."""

    operation: Operation
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    named: str = ""
    in_path: bool = False

    @property
    def body(self) -> dict[str, Any]:
        """Returns the body of the request and its headers, as keyword arguments for the HTTP client."""
        headers = {
            one["name"]: HEADERS[one["name"]]
            for one in self.operation.parameters
            if one["in"] == "header" and one["required"]
        }
        if self.operation.name in CONTENT:
            content, kind = CONTENT[self.operation.name]
            return {"content": content, "headers": {**headers, "Content-Type": kind}}
        return ({"headers": headers} if headers else {}) | ({} if self.json is None else {"json": self.json})

    def __str__(self) -> str:
        return f"{self.operation.name} ({self.named or 'nothing'} named)"


def leaks(text: str, request_text: str, canary: str, spelt: Iterable[str]) -> list[str]:
    """Returns the values of the other district that are in an answer and were not sent by the request."""
    leaked = [canary] if canary.lower() in text.lower() and canary.lower() not in request_text.lower() else []
    return leaked + [one for one in spelt if one in text and one not in request_text]


def live_routes(app: FastAPI) -> set[tuple[str, str]]:
    """Returns every method and path that the app answers, whether or not they are in the contract."""
    return {
        (method, path)
        for path, methods in _routes(app.routes)
        for method in methods or {"GET"}
        if method not in ("HEAD", "OPTIONS")
    }


def operations(app: FastAPI) -> list[Operation]:
    """Returns every operation of the OpenAPI contract."""
    contract = app.openapi()
    return [
        Operation(
            method=method.upper(),
            path=path,
            name=described["operationId"],
            parameters=tuple(described.get("parameters", ())),
            body=_body_of(contract, described),
            reads=method == "get",
            shows=_shown_by(contract, described),
        )
        for path, methods in contract["paths"].items()
        for method, described in methods.items()
        if described["operationId"] not in STREAMS
    ]


def own_request(operation: Operation, district: FullDistrict) -> Request:
    """Returns a valid request of the district's own client."""
    path = _path(operation, district)
    return Request(operation, path, json=_body(operation, district) if operation.body is not None else None)


def own_filters(
    operation: Operation, district: FullDistrict, *, together: bool = False, alone: Collection[str] = ()
) -> Iterator[Request]:
    """Yields read requests of an operation, each with one query parameter and one of the parameter's values.

    A filter that takes the id of a row is sent with the row's id and with its external id. With `together`, a request
    has as many expansions as are allowed, except for those in `alone`. Send such requests by `whole_answers`.
    """
    path = _path(operation, district)
    for name in operation.names("query"):
        if name != "after":
            for value in _query_values(operation, name, district, together=together, alone=alone):
                yield Request(operation, path, {name: value}, named=name)


async def whole_answers(
    send: Callable[[Request], Awaitable[httpx.Response]], requests: Iterable[Request]
) -> AsyncIterator[tuple[Request, httpx.Response]]:
    """Sends requests and yields each with its answer. A request with too many expansions is sent in two halves."""
    waiting = deque(requests)
    while waiting:
        request = waiting.popleft()
        answer = await send(request)
        expansions = request.params.get("expand", "").split(",")
        if len(expansions) > 1 and answer.status_code == 400 and TOO_MANY_ROWS in answer.text:
            middle = len(expansions) // 2
            for half in (expansions[middle:], expansions[:middle]):
                waiting.appendleft(replace(request, params=request.params | {"expand": ",".join(half)}))
        else:
            yield request, answer


def strangers_requests(operation: Operation, mine: FullDistrict, theirs: FullDistrict) -> Iterator[Request]:
    """Yields requests of the district `mine`, each with one id of `theirs` in the path, in a filter, or in a field of
    the body.

    Also yields one request with many expansions. `whole_answers` sends it in halves if it could return too many rows.
    """
    body = _body(operation, mine) if operation.body is not None else None
    if operation.names("path"):
        for spelt in (theirs.shown, theirs.alias):
            is_known = all(PATHS[name] in spelt for name in operation.names("path"))
            if is_known and operation.name not in NAMES_ITS_OWN:
                yield Request(operation, _path(operation, theirs, spelt), json=body, named="path", in_path=True)
        own_row = Request(operation, _path(operation, mine), json=body)
    else:
        own_row = Request(operation, operation.path, json=body)
        yield own_row
    for name in operation.names("query"):
        if name != "after":
            for value in _query_values(operation, name, theirs, together=True):
                yield Request(operation, own_row.path, {name: value}, named=name)
    if operation.body is not None:
        yield from _bodies_with_one_of_theirs(operation, own_row.path, mine, theirs)


def _routes(routes: Any, prefix: str = "") -> Iterator[tuple[str, set[str] | None]]:
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from _routes(route.effective_candidates(), prefix)
        elif hasattr(route, "routes") and getattr(route, "routes", None):
            yield from _routes(route.routes, prefix + getattr(route, "path", ""))
        elif isinstance(getattr(route, "starlette_route", None), WebSocketRoute):
            yield prefix + route.starlette_route.path, None
        elif getattr(route, "path", None):
            yield prefix + route.path, getattr(route, "methods", None)
        else:
            raise Unwalkable(f"The walk cannot see into a {type(route).__name__}.")


def _path(operation: Operation, district: FullDistrict, spelt: Mapping[str, str] | None = None) -> str:
    path = operation.path
    for name in operation.names("path"):
        if name not in PATHS:
            raise Unwalkable(f"{operation.name} takes {name} in its path: say in PATHS what it is.")
        row = PATHS[name]
        if spelt is None and operation.name in OWN_ROW:
            row = OWN_ROW[operation.name]
        path = path.replace(f"{{{name}}}", (spelt or district.shown)[row])
    return path


def command_turn(operation: Operation) -> tuple[bool, bool, bool]:
    """Returns a sort key for commands: planning supports, then all others, then deletions, then moving the test clock.

    The test clock comes last because it is moved to an earlier day. On that day, the teams do not serve their students
    yet.
    """
    return operation.name == "move_test_clock", operation.method == "DELETE", operation.name != "plan_support"


def _query_values(
    operation: Operation,
    name: str,
    district: FullDistrict,
    *,
    together: bool = False,
    alone: Collection[str] = (),
) -> list[Any]:
    choices = operation.choices(name)
    if name == "expand" and together:
        grouped = [choice for choice in choices if choice not in alone]
        groups = [grouped[place : place + MOST_EXPANSIONS] for place in range(0, len(grouped), MOST_EXPANSIONS)]
        return [*alone, *(",".join(group) for group in groups)]
    if choices:
        return choices
    if name == "family_name":
        return [f"Family{district.town.canary}"]
    if name in REFERENCES:
        row = OWN_REFERENCES.get((operation.name, name), REFERENCES[name])
        return [district.shown[row], *([district.alias[row]] if row in district.alias else [])]
    if name in VALUES:
        return [VALUES[name]]
    raise Unwalkable(f"{operation.name} takes {name} in its query: say in REFERENCES or VALUES what it is.")


def _shown_by(contract: Mapping[str, Any], described: Mapping[str, Any]) -> str | None:
    content = described["responses"].get("200", {}).get("content", {}).get("application/json", {})
    name = _name_of(content.get("schema"))
    rows = contract["components"]["schemas"].get(name, {}).get("properties", {}).get("items")
    is_page = rows is not None and (name or "").endswith("Page")
    return _name_of(rows["items"]) if is_page else name


def _name_of(schema: Any) -> str | None:
    """Returns the name of the schema to which a `$ref` refers, or None if `schema` is not a reference."""
    return schema["$ref"].rpartition("/")[2] if isinstance(schema, Mapping) and "$ref" in schema else None


def _body_of(contract: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    content = described.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return None
    body: Mapping[str, Any] = _resolved(contract, content["application/json"]["schema"])
    return body


def _resolved(contract: Mapping[str, Any], schema: Any) -> Any:
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            return _resolved(contract, contract["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]])
        return {name: _resolved(contract, value) for name, value in schema.items()}
    return [_resolved(contract, value) for value in schema] if isinstance(schema, list) else schema


def _body(operation: Operation, district: FullDistrict) -> Any:
    return _object(operation, operation.body or {}, district)


def _object(operation: Operation, schema: Mapping[str, Any], district: FullDistrict) -> dict[str, Any]:
    made = {}
    for name, one in schema.get("properties", {}).items():
        value = _field(operation, name, one, district)
        if (operation.name, name) not in LEFT_OUT:
            made[name] = value
    return made


def _field(operation: Operation, name: str, schema: Mapping[str, Any], district: FullDistrict) -> Any:
    if _lists_rows(operation.name, name) and "properties" not in schema.get("items", {}):
        return [district.shown[LISTED[name]]]
    if name in REFERENCES:
        return district.shown[OWN_REFERENCES.get((operation.name, name), REFERENCES[name])]
    if (operation.name, name) in OWN_FIELDS:
        return OWN_FIELDS[operation.name, name]
    if name in FIELDS:
        return FIELDS[name]
    if (operation.name, name) in DECLARED:
        return DECLARED[operation.name, name]
    inner: Mapping[str, Any] = next((one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"), {})
    if inner.get("type") == "array":
        return [_object(operation, inner["items"], district)]
    if inner.get("properties"):
        return _object(operation, inner, district)
    raise Unwalkable(f"{operation.name} takes {name} in its body: say in REFERENCES or FIELDS what it is.")


def _lists_rows(operation_name: str, name: str) -> bool:
    return name in LISTED and (operation_name, name) not in OWN_FIELDS


def _bodies_with_one_of_theirs(
    operation: Operation, path: str, mine: FullDistrict, theirs: FullDistrict
) -> Iterator[Request]:
    base = _body(operation, mine)
    items = next(
        (value for value in base.values() if isinstance(value, list) and value and isinstance(value[0], dict)), None
    )
    for name in list((items[0] if items else base).keys()) + ["student"] * (operation.name == "decide"):
        if _lists_rows(operation.name, name):
            spelt: list[Any] = [[theirs.shown[LISTED[name]]]]
        elif name in REFERENCES:
            row = REFERENCES[name]
            spelt = [theirs.shown[row], *([theirs.alias[row]] if row in theirs.alias else [])]
        else:
            continue
        for value in spelt:
            body = deepcopy(base)
            if operation.name == "decide" and name == "student":
                body = {"kind": "refer", "student": value}
            else:
                items_sent = next((one for one in body.values() if isinstance(one, list) and items), None)
                (items_sent[0] if items and items_sent else body)[name] = value
            yield Request(operation, path, json=body, named=name)
