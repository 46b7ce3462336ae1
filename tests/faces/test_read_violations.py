"""Tests that a read reports the violations of all its parameters at once, in both APIs."""

import httpx
import pytest
from fastapi import FastAPI

from app.core.text import camel
from app.graphql.roots import LISTINGS
from app.resources.listing import Filter
from tests.faces.graphql_face import ask
from tests.faces.rest_town import Caller, caller
from tests.house.full_district import FullDistrict
from tests.house.walk import Operation, operations, own_request

WRONG = "\u2603"
"""A text that is no id, code, day, instant, cursor, number or choice."""
DEPEND = {"after": "the filters, to which a cursor is bound", "fields": "`expand`, which adds fields"}
"""The parameters that can be checked only if others are right, with these others."""


def _generated(app: FastAPI) -> list[Operation]:
    return [one for one in operations(app) if one.reads and "fields" in one.names("query")]


def _pointers(answer: httpx.Response) -> set[str]:
    assert answer.status_code in (400, 422), answer.text
    return {one["pointer"] for one in answer.json()["violations"]}


async def _refused_alone(asks: Caller, path: str, name: str) -> set[str]:
    """Returns the pointers of a request in which only this parameter has a wrong value. Some accept any text."""
    answer = await asks.get(path, **{name: WRONG})
    return set() if answer.status_code == 200 else _pointers(answer)


@pytest.mark.long
async def test_all_wrong_parameters_are_reported_together(app: FastAPI, read_district: FullDistrict) -> None:
    """A request with a wrong value in each parameter gets the violations that each of them has alone.

    Otherwise a developer corrects a request one parameter at a time.
    """
    asks = caller(app, read_district.town)
    for operation in _generated(app):
        path = own_request(operation, read_district).path
        alone = {name: await _refused_alone(asks, path, name) for name in operation.names("query")}
        answer = await asks.get(path, **dict.fromkeys(alone, WRONG), unheard_of="1")
        expected = {"/unheard_of"}.union(*(alone[name] for name in alone.keys() - DEPEND.keys()))
        assert _pointers(answer) >= expected, operation.name
        depend = {name: WRONG for name in DEPEND if name in alone}
        answer = await asks.get(path, **depend, **({"limit": 0} if "limit" in alone else {}))
        assert _pointers(answer) == {*(f"/{name}" for name in alone if name in ("after", "limit")), "/fields/0"}


async def test_each_unknown_row_and_field_is_named(app: FastAPI, read_district: FullDistrict) -> None:
    """Filters that name no row are reported together, with the index of each unknown name in `fields`."""
    asks = caller(app, read_district.town)
    wrong = dict.fromkeys(("student", "school", "area"), WRONG)
    answer = await asks.get("/v1/concerns", **wrong)
    assert (answer.status_code, _pointers(answer)) == (422, {"/student", "/school", "/area"})
    answer = await asks.get("/v1/concerns", **wrong, fields="nothing,state,neither", limit=0)
    assert answer.status_code == 400
    assert _pointers(answer) == {"/student", "/school", "/area", "/fields/0", "/fields/2", "/limit"}
    answer = await asks.get("/v1/concerns", **wrong, state=WRONG, nothing="1")
    assert _pointers(answer) == {"/student", "/school", "/area", "/state", "/nothing"}


async def test_a_cursor_is_not_called_wrong_because_of_another_parameter(
    app: FastAPI, read_district: FullDistrict
) -> None:
    """A cursor that is right for its list is not reported where only a filter or an unknown name is wrong."""
    asks = caller(app, read_district.town)
    after = (await asks.get("/v1/concerns", limit=1, state="accepted")).json()["next"]
    assert after is not None
    for wrong in ({"state": WRONG}, {"state": "accepted", "student": WRONG}, {"state": "accepted", "fields": WRONG}):
        assert "/after" not in _pointers(await asks.get("/v1/concerns", after=after, **wrong)), wrong
    answer = await asks.get("/v1/concerns", after=after, state="raised", fields=WRONG)
    assert _pointers(answer) == {"/after", "/fields/0"}


@pytest.mark.parametrize(
    ("arguments", "pointers"),
    [
        ('sort: "nothing", first: 900', ["/sort", "/first"]),
        ('sort: "nothing", updatedSince: "2026-01-05T08:00:00", last: 900', ["/sort", "/updatedSince", "/last"]),
        ('first: 0, after: "x"', ["/first", "/after"]),
        ('first: 1, before: "x", sort: "nothing"', ["/sort", "/before"]),
    ],
)
async def test_graphql_reports_all_wrong_arguments(
    read_district: FullDistrict, arguments: str, pointers: list[str]
) -> None:
    """All wrong arguments of a list are reported at its path, as in REST."""
    answer = await ask(read_district.town, f"{{ concerns({arguments}) {{ edges {{ node {{ id }} }} }} }}")
    (error,) = answer.json()["errors"]
    assert error["path"] == ["concerns"]
    assert [one["pointer"] for one in error["extensions"]["problems"]] == pointers


async def test_graphql_finds_nothing_by_an_id_that_no_row_can_have(app: FastAPI, read_district: FullDistrict) -> None:
    """Each filter by a row takes a malformed id, and the id of a row of another kind, as the id of no row.

    A filter may compare another value than an id, and its value for no row must be of the same type.
    """
    asks, tried = caller(app, read_district.town), 0
    for name, listing in LISTINGS.items():
        for shown, criterion in listing.by_face("graphql").items():
            if not isinstance(criterion, Filter) or criterion.resolve is None or criterion.value_type is not str:
                continue
            for text in (WRONG, "run_01jq4n6d9zf3vbs0x5k2m7e8th"):
                inner = "edges { cursor }" if listing.paged else "__typename"
                query = f"query($text: String!) {{ {name}({camel(shown)}: $text) {{ {inner} }} }}"
                type_ = "ID!" if shown.endswith("_id") else "String!"
                answer = await asks.post(
                    "/graphql", {"query": query.replace("String!", type_), "variables": {"text": text}}
                )
                assert "errors" not in answer.json(), (name, shown, text, answer.text)
                read = answer.json()["data"][name]
                assert (read["edges"] if listing.paged else read) == [], (name, shown, text)
                tried += 1
    assert tried > 100
