"""Checks how many statements each read of the catalogue sends in both APIs, against the numbers in a file.

`AIMLINE_RECORD=1` writes the numbers again. A read that is not in the file may send two statements: the read itself,
and one row of the disclosure log.
"""

import os
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI

from tests.faces.rest_town import Caller, caller
from tests.house.full_district import FullDistrict
from tests.house.walk import operations, own_request
from tests.house.walk_graphql import reads
from tests.house.walk_knows import OPEN
from tests.sent import statements_sent

RECORDED = Path(__file__).with_name("recorded_statements.json")
DECLARED = 2
"""The statements of a declared read: the read itself and the log's row."""


async def _count(client: Caller, method: str, path: str, **more: Any) -> int:
    with statements_sent(client.app.state.services.engine) as statements:
        answer = await client.ask(method, path, **more)
    assert answer.status_code == 200, (path, answer.text)
    return len(statements)


async def counted(app: FastAPI, district: FullDistrict) -> dict[str, dict[str, int]]:
    """Returns the number of statements of each read, by API and by the name of the read."""
    client = caller(app, district.town)
    await client.get("/v1/me")  # fills what the process keeps between requests
    rest = {
        operation.name: await _count(client, "GET", own_request(operation, district).path)
        for operation in operations(app)
        if operation.reads and operation.name not in OPEN
    }
    graphql: dict[str, int] = {}
    for name, document, variables in reads(district):
        if name not in graphql:  # the first document of a field has all that can be read with it
            json = {"query": document, "variables": variables}
            graphql[name] = await _count(client, "POST", "/graphql", json=json)
    return {"rest": rest, "graphql": graphql}


async def test_each_read_sends_as_many_statements_as_recorded(app: FastAPI, read_district: FullDistrict) -> None:
    """If a read begins to send more statements, for example one for each row, the test fails."""
    numbers = await counted(app, read_district)
    if os.environ.get("AIMLINE_RECORD"):
        RECORDED.write_bytes(orjson.dumps(numbers, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
    recorded = orjson.loads(RECORDED.read_bytes())
    # Rows that are linked in GraphQL can have computed values, which send statements of their own.
    most = {"rest": DECLARED, "graphql": max(recorded["graphql"].values())}
    wrong = {
        f"{face} {name}": number
        for face, by_name in numbers.items()
        for name, number in by_name.items()
        if (number != recorded[face][name] if name in recorded[face] else number > most[face])
    }
    assert wrong == {}, "If it is as it should be, record the numbers with AIMLINE_RECORD=1."
    assert {(face, name) for face in recorded for name in recorded[face].keys() - numbers[face].keys()} == set()
