"""Causes the common refusals of every operation, and compares them with those that the contract documents.

For every request of the tests, `tests/faces/documented.py` checks that its status is documented.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core import ids
from app.core.ids import new_id
from app.main import build
from app.rest.edge import MAX_BODY_BYTES
from app.settings import Settings
from tests.faces.rest_town import Caller, caller, plain
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import Operation, operations, own_request
from tests.house.walk_knows import OPEN, PATHS
from tests.town import Town, found_town

NAMED_FREELY = {"name": "a consumer has a name of its client's choice", "measure": "a measure may be named by its code"}
NO_SUCH_ROW = {"keep_consumer": "it creates the consumer that its path names"}


@pytest.fixture(scope="module")
async def rows(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Returns a district with all kinds of rows."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


def walked(app: FastAPI) -> Iterator[tuple[Operation, set[int]]]:
    """Yields the operations that need a token, with the statuses that the contract documents."""
    contract = app.openapi()
    for operation in operations(app):
        if operation.name not in OPEN:
            described = contract["paths"][operation.path][operation.method.lower()]
            yield operation, {int(status) for status in described["responses"]}


def id_kind(name: str, kind: str) -> str:
    """Returns the kind of id that a path parameter takes.

    It is the parameter's name if there are ids of this kind, and otherwise `kind`.
    """
    return next(kind_of_id for kind_of_id in (name, name.rstrip("_"), kind) if kind_of_id in ids.PREFIXES)


def nowhere(operation: Operation) -> str:
    """Returns the path of an operation with ids that no row has."""
    path = operation.path
    for name in operation.names("path"):
        kind = PATHS[name]
        unknown = "no-such-one" if name in NAMED_FREELY else ids.format_id(id_kind(name, kind), new_id())
        path = path.replace(f"{{{name}}}", unknown)
    return path


async def provoke(asks: Caller, operation: Operation, rows: FullDistrict) -> dict[int, int]:
    """Tries to cause each status that the operation documents. Returns the actual statuses, keyed by the intended
    ones.
    """
    request, seen = own_request(operation, rows), dict[int, int]()
    body = request.body

    async def ask(expected: int, path: str = request.path, **more: Any) -> None:
        seen[expected] = (await asks.ask(operation.method, path, **more)).status_code

    await ask(400, params={"studnet": "1"}, **body)
    if operation.names("path") and operation.name not in NO_SUCH_ROW:
        await ask(404, nowhere(operation), **body)
    if operation.body is not None:
        await ask(422, json={"planted": 1}, headers=body.get("headers", {}))
        large = b" " * (MAX_BODY_BYTES + 1)
        await ask(413, content=large, headers={**body.get("headers", {}), "Content-Type": "application/json"})
    takes = operation.names("header")
    if "If-Match" in takes:
        await ask(412, **{**body, "headers": {"If-Match": '"999999"'}})
    if operation.method == "PATCH":
        await ask(428, json=request.json)
    async with plain(asks.app) as client:
        seen[401] = (await client.request(operation.method, request.path, **body)).status_code
    return seen


async def test_each_operation_gives_the_common_refusals(app: FastAPI, rows: FullDistrict) -> None:
    """Each operation can be made to answer with every common refusal that the contract documents for it.

    These are the statuses 400, 401, 404, 412, 413, 428, and 422 for an invalid body. No operation gives one of them
    without documenting it.
    """
    asks, wrong, provoked = caller(app, rows.town), [], 0
    for operation, documented in walked(app):
        seen = await provoke(asks, operation, rows)
        provoked += len(seen)
        wrong += [
            (operation.name, expected, status)
            for expected, status in seen.items()
            if status != expected or expected not in documented
        ]
        undone = documented & {400, 401, 404, 412, 428} - seen.keys()
        if undone and operation.name not in NO_SUCH_ROW:
            wrong.append((operation.name, -1, min(undone)))
    assert wrong == []
    assert provoked > 300


async def test_each_operation_is_refused_over_its_quota(settings: Settings, north: Town, rows: FullDistrict) -> None:
    """Each operation that counts against a quota answers 429 with `Retry-After` to a client that has used it up."""
    one = build(settings.model_copy(update={"client_requests": 1}))
    try:
        asks, wrong = caller(one, north), []
        await asks.get("/v1/me")
        for operation, documented in walked(one):
            answer = await asks.ask(operation.method, own_request(operation, rows).path)
            if answer.status_code != 429 or 429 not in documented or "retry-after" not in answer.headers:
                wrong.append((operation.name, answer.status_code))
        assert wrong == []
    finally:
        await one.state.services.engine.dispose()
