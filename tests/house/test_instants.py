"""Tests that every instant in an answer is written in one way: in UTC, with `Z`."""

import re

from fastapi import FastAPI

from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict
from tests.house.walk import operations, own_request
from tests.house.walk_graphql import reads
from tests.house.walk_knows import OPEN

INSTANT = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?([^"]*)"')
AT_LEAST = 20
"""The smallest number of reads, of either API, that must show an instant; otherwise the test would check little."""


def other_spellings(text: str) -> tuple[int, set[str]]:
    """Returns the number of instants in a text, and the endings of the instants that do not end in `Z`."""
    ends = [instant[1] for instant in INSTANT.finditer(text)]
    return len(ends), set(ends) - {"Z"}


def test_another_spelling_is_found() -> None:
    """`other_spellings` reports an instant that ends in an offset, and an instant without any offset."""
    text = '{"a": "2026-09-08T13:00:00Z", "b": ["2026-09-08T13:00:00.5+00:00", "2026-09-08T13:00:00"], "c": "T08:00"}'
    assert other_spellings(text) == (3, {"+00:00", ""})


async def test_every_read_of_rest_writes_instants_with_z(app: FastAPI, read_district: FullDistrict) -> None:
    """Every instant in a REST answer ends in `Z`, so that a client can compare instants of two answers as texts."""
    client, shown = caller(app, read_district.town), 0
    for operation in (one for one in operations(app) if one.reads and one.name not in OPEN):
        request = own_request(operation, read_district)
        answer = await client.ask(operation.method, request.path, params=request.params, **request.body)
        instants, others = other_spellings(answer.text)
        assert not others, (str(request), others)
        shown += bool(instants)
    assert shown >= AT_LEAST


async def test_every_read_of_graphql_writes_instants_with_z(app: FastAPI, read_district: FullDistrict) -> None:
    """Every instant in a GraphQL answer ends in `Z`, as in REST."""
    client, shown = caller(app, read_district.town), 0
    for name, document, variables in reads(read_district):
        answer = await client.post("/graphql", {"query": document, "variables": variables})
        instants, others = other_spellings(answer.text)
        assert not others, (name, others)
        shown += bool(instants)
    assert shown >= AT_LEAST
