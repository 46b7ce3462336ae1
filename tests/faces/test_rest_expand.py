"""Tests the query options of REST reads: `expand` for linked rows, `fields`, a total, and an order."""

from typing import Any

import pytest
from fastapi import FastAPI

from app.access.permission import Can
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict


def shared(row: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Returns those members of a row that another representation of the row has too."""
    return {name: value for name, value in row.items() if name in whole}


async def test_a_caseload_is_one_request(app: FastAPI, read_district: FullDistrict) -> None:
    """One request for students with expansions returns the same concerns and supports as separate requests."""
    asks = caller(app, read_district.town, act_for=read_district.shown["person"])
    answer = await asks.get("/v1/students", expand="concerns,supports.measure")
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert items
    assert sum(len(item["supports"]) for item in items) > 0
    for item in items:
        assert item["concerns"] == await asks.items("/v1/concerns", student=item["id"], limit=200)
        for support in item["supports"]:
            own = (await asks.get(f"/v1/supports/{support['id']}")).json()
            assert shared(support, own) == own
            assert support["measure_expanded"]["id"] == support["measure"]


async def test_rows_are_beside_their_ids(app: FastAPI, read_district: FullDistrict) -> None:
    """`expand` adds rows to a response and changes none of its other members.

    The names of the links to expand can be in one parameter, separated by commas, or in several parameters.
    """
    asks = caller(app, read_district.town)
    path = f"/v1/concerns/{read_district.shown['concern']}"
    plain = (await asks.get(path)).json()
    expanded = (await asks.get(path, expand="student,area")).json()
    assert expanded["student_expanded"] == (await asks.get(f"/v1/students/{plain['student']}")).json()
    assert expanded["area_expanded"]["id"] == plain["area"]
    assert shared(expanded, plain) == plain
    assert (await asks.get(path, expand=["student", "area"])).json() == expanded


async def test_a_link_needs_the_scope_of_its_rows(app: FastAPI, read_district: FullDistrict) -> None:
    """A link is refused without the scope of its rows, before anything is read."""
    asks = caller(app, read_district.town, scopes=frozenset({Can.READ_CONCERNS}))
    assert (await asks.get("/v1/concerns")).status_code == 200
    answer = await asks.get("/v1/concerns", expand="student", student="sis:sis:nobody")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission.missing")
    assert Can.READ_ROSTER.value in answer.json()["detail"]


async def test_an_answer_has_only_the_fields_that_were_named(app: FastAPI, read_district: FullDistrict) -> None:
    """A response has only the requested fields and the id. Each link has a selection of fields of its own."""
    asks = caller(app, read_district.town)
    (first, *_) = (await asks.get("/v1/students", fields="family_name")).json()["items"]
    assert set(first) == {"id", "family_name"}
    fields = "supports.state,supports.verdict.state"
    items = (await asks.get("/v1/students", expand="supports", fields=fields)).json()["items"]
    supports = [support for item in items for support in item["supports"]]
    assert supports
    assert all(set(support) == {"id", "state", "verdict"} for support in supports)
    assert all(set(support["verdict"]) == {"id", "state"} for support in supports if support["verdict"])


@pytest.mark.parametrize(
    ("pointer", "params"),
    [
        ("/expand", {"expand": "students"}),
        ("/expand", {"expand": "supports.scores", "limit": 200}),
        ("/fields", {"fields": "nothing"}),
        ("/fields", {"fields": "family_name.first"}),
        ("/fields", {"fields": ""}),
        ("/sort", {"sort": "grade"}),
        ("/limit", {"limit": 0}),
    ],
)
async def test_what_cannot_be_shown_is_a_bad_request(
    app: FastAPI, read_district: FullDistrict, pointer: str, params: dict[str, Any]
) -> None:
    """An unknown name in `expand`, `fields` or `sort` is refused, and so are expansions that could return too many
    rows.
    """
    answer = await caller(app, read_district.town).get("/v1/students", **params)
    assert answer.status_code == 400, answer.text
    assert [one["pointer"].startswith(pointer) for one in answer.json()["violations"]] == [True]


async def test_the_total_counts_all_pages(app: FastAPI, read_district: FullDistrict) -> None:
    """The total counts all pages, and is shown only on request."""
    asks = caller(app, read_district.town)
    for path in ("/v1/students", "/v1/scores", f"/v1/supports/{read_district.shown['support']}/sessions"):
        every = await asks.items(path, limit=200)
        page = (await asks.get(path, limit=1, include_total="true")).json()
        assert (page["total"], len(page["items"])) == (len(every), 1)
        assert "total" not in (await asks.get(path, limit=1)).json()


async def test_an_order_can_be_reversed_over_pages(app: FastAPI, read_district: FullDistrict) -> None:
    """In reversed order, pages of one row each return every row once, from the last to the first."""
    asks = caller(app, read_district.town)
    forward = await asks.items("/v1/students", sort="name", limit=200)
    backward = await asks.items("/v1/students", sort="-name", limit=1)
    assert len(forward) > 2
    assert [one["id"] for one in backward] == [one["id"] for one in reversed(forward)]
