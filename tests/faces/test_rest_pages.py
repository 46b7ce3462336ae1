"""Tests the pages of every list: all rows, each once; a cursor is valid only for its list, filter and district."""

import base64
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.faces.rest_town import Caller, caller
from tests.house.full_district import FullDistrict
from tests.house.walk import Operation, operations, own_request


def paged(app: FastAPI) -> list[Operation]:
    """Returns every list that has pages."""
    return [one for one in operations(app) if "after" in one.names("query")]


def listed(answer: httpx.Response) -> list[Any]:
    """Returns the rows of a page. In a report, these are its results."""
    body = answer.json()
    rows: list[Any] = body["items"] if "items" in body else body["results"]
    return rows


async def test_all_pages_together_are_all_rows_once(app: FastAPI, read_district: FullDistrict) -> None:
    """The pages of a list, read one after the other, have every row of the list once.

    The next page is read by the Link header, or by the cursor if the response has no such header.
    """
    north = caller(app, read_district.town)
    walked = 0
    for operation in paged(app):
        path = own_request(operation, read_district).path
        whole = listed(await north.get(path, limit=200))
        rows, answer = [], await north.get(path, limit=1)
        while True:
            page = listed(answer)
            if not page:
                break
            rows += page
            if "next" in answer.links:
                assert answer.links["next"]["url"].endswith(f"after={answer.json()['next']}")
                answer = await north.ask("GET", answer.links["next"]["url"])
            elif answer.json()["next"]:
                answer = await north.get(path, limit=1, after=answer.json()["next"])
            else:
                break
        assert rows == whole, operation.name
        walked += len(rows) > 1
    assert walked >= 9


async def test_a_cursor_is_bound_to_its_list_and_filter(app: FastAPI, read_district: FullDistrict) -> None:
    """A cursor of another list or filter, or a changed one, is refused with the name of its parameter."""
    north = caller(app, read_district.town)
    for operation in paged(app):
        path = own_request(operation, read_district).path
        cursor = (await north.get(path, limit=1)).json()["next"]
        if cursor is None:
            continue
        for other in paged(app):
            if other.path != operation.path:
                await _refused(north, own_request(other, read_district).path, after=cursor)
        filters = set(operation.names("query")) & {"student", "school"}
        for name in filters:
            await _refused(
                north, path, after=cursor, **{name: read_district.shown["student" if name == "student" else "org"]}
            )
        for spoilt in ("x", "", cursor[:-3], cursor + "A", "%00", "é", "null"):
            await _refused(north, path, after=spoilt)


@pytest.mark.parametrize(
    "place", [[10**30], ["x"], [], [None], [-1], [1, 2, 3, 4], [2**63], [True], [{"a": 1}], ["\x00", "a", "b"]]
)
async def test_a_cursor_as_it_was_once_made_is_refused(
    app: FastAPI, read_district: FullDistrict, place: list[object]
) -> None:
    """A cursor in the former, unencrypted form is refused, because anybody could write one."""
    north = caller(app, read_district.town)
    plain = json.dumps([*place]).encode()
    for operation in paged(app):
        path = own_request(operation, read_district).path
        for made_up in (plain, b"\x00" * 16 + plain):
            await _refused(north, path, after=base64.urlsafe_b64encode(made_up).decode().rstrip("="))


@pytest.mark.parametrize("limit", ["0", "-1", "201", "x", "1e3", "99999999999999999999", ""])
async def test_an_unfit_limit_is_a_bad_request(app: FastAPI, read_district: FullDistrict, limit: str) -> None:
    """A limit other than 1 to 200 is refused."""
    for operation in paged(app):
        await _refused(
            caller(app, read_district.town), own_request(operation, read_district).path, name="limit", limit=limit
        )


async def _refused(north: Caller, path: str, *, name: str = "after", **params: str) -> None:
    answer = await north.get(path, **params)
    assert answer.status_code == 400, (path, params, answer.text)
    assert answer.json()["violations"][0]["pointer"] == f"/{name}", answer.text
