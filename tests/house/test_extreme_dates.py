"""Tests dates at both ends of the calendar in every field and parameter: none causes an internal error."""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings
from tests.faces.rest_town import caller
from tests.house.full_district import fill_district
from tests.house.walk import Request, operations, own_filters, own_request, whole_answers
from tests.house.walk_knows import OPEN
from tests.town import found_town, maintain

DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T[\d:]+Z)?")
DAYS = ("0001-01-01", "9999-12-31")


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], bool]]:
    """Yields the places of dates in a body, and whether each is an instant."""
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(one, (*path, key))
    elif isinstance(value, str) and (match := DATE.fullmatch(value)):
        yield path, match[1] is not None


def _with(body: Any, changes: dict[tuple[Any, ...], str]) -> Any:
    body = deepcopy(body)
    for path, value in changes.items():
        place = body
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return body


def _bodies(body: Any) -> Iterator[Any]:
    """Yields copies of a body with dates at the beginning or the end of the calendar.

    In some copies one date is replaced, in others all dates.
    """
    places = list(_places(body))
    for day in DAYS:
        spelt = {path: f"{day}T23:59:59Z" if instant else day for path, instant in places}
        yield from (_with(body, {path: value}) for path, value in spelt.items())
        if len(places) > 1:
            yield _with(body, spelt)
    if len(places) == 2:
        first, last = (path for path, _ in places)
        yield _with(body, {first: DAYS[0], last: DAYS[1]})


async def test_no_date_is_a_fault(
    app: FastAPI, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings
) -> None:
    """An extreme date in any field is answered without an internal error."""
    district = await fill_district(await found_town("north", engine, worker_engine, settings))
    north, sent, faults = caller(app, district.town), 0, []
    for operation in operations(app):
        if operation.name in OPEN:
            continue
        request = own_request(operation, district)
        arguments: list[dict[str, Any]] = [{"json": body} for body in _bodies(request.json)]
        for filtered in own_filters(operation, district):
            arguments += [{"params": params} for params in _bodies(filtered.params)]
        for more in arguments:
            answer = await north.ask(operation.method, request.path, **more)
            sent += 1
            if answer.status_code >= 500:
                faults.append((operation.name, more, answer.status_code))
    # What was taken is read again, by every read and by the worker's round: no row may break them either.

    async def read(request: Request) -> httpx.Response:
        return await north.ask("GET", request.path, params=request.params)

    for operation in (one for one in operations(app) if one.reads and one.name not in OPEN):
        requests = (own_request(operation, district), *own_filters(operation, district, together=True))
        async for request, answer in whole_answers(read, requests):
            if answer.status_code >= 500:
                faults.append((operation.name, request.params, answer.status_code))
    await maintain(district.town)
    assert faults == []
    assert sent > 60
