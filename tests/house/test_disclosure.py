"""Tests the disclosure log: every student whose id is in a response is in the row of that request."""

import re
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalog import CATALOG
from app.core import ids
from app.resources.declare import declaration
from app.rest.resources import SHAPES
from app.settings import Settings
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import Operation, Request, command_turn, operations, own_filters, own_request, whole_answers
from tests.house.walk_graphql import commands, reads
from tests.house.walk_knows import OPEN
from tests.town import found_town

MAY_FIT_NO_ROW = {"state", "verdict", "grade", "kind", "action", "purpose", "revoked", "went_well"}
"""Filters that perhaps no row of the district passes, because the walk takes their values from the contract."""
OF_THE_TEAM = {"list_hypotheses", "list_incidents", "list_signals", "list_supports"}
"""Lists that have no row about the student whom the team of the walk serves."""
OF_THE_PERSON = {"get_attention"}
"""Reads about the person for whom a request acts; the walk acts for nobody."""
RESOURCES = {declaration(resource).name: resource for resource in CATALOG.resources}
STUDENT = re.compile(r"stu_[0-9a-hjkmnp-tv-z]{26}")


@pytest.fixture(scope="module")
async def district(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Returns a district with rows of all kinds."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


def shown_in(text: str) -> set[UUID]:
    """Returns the students whose ids are in an answer."""
    return {ids.parse_id("student", student_id) for student_id in STUDENT.findall(text)}


async def logged(owner: asyncpg.Connection, district: FullDistrict, since: UUID) -> tuple[int, set[UUID]]:
    """Returns how many rows were logged since the id `since` was made, and the students in these rows.

    This is possible because ids ascend with time.
    """
    rows = await owner.fetch(
        "SELECT student_ids FROM disclosure WHERE district_id = $1 AND id > $2", district.town.district_id, since
    )
    return len(rows), {student for row in rows for student in row["student_ids"]}


async def test_every_answer_over_rest_is_logged(
    app: FastAPI, district: FullDistrict, owner: asyncpg.Connection
) -> None:
    """Each REST read, filter and command writes one row to the disclosure log, with all students of its answer.

    Every read and filter must return rows, because an empty answer would check nothing. Each link of a resource is
    expanded once without other links. Otherwise, another link could be the reason why its students are in the log.
    """
    seen, since, links = 0, ids.new_id(), set[tuple[str, str]]()

    async def send(request: Request) -> httpx.Response:
        nonlocal since
        since = ids.new_id()
        north = caller(app, district.town)
        return await north.ask(request.operation.method, request.path, params=request.params, **request.body)

    walked = [one for one in operations(app) if one.name not in OPEN]
    for operation in sorted(walked, key=lambda one: (not one.reads, *command_turn(one))):
        alone = [name for name in operation.choices("expand") if is_new(links, link_of(operation, name))]
        filters = list(own_filters(operation, district, together=True, alone=alone)) if operation.reads else []
        async for request, answer in whole_answers(send, (own_request(operation, district), *filters)):
            assert answer.status_code < 300, (str(request), answer.text)
            assert not operation.reads or _has_rows(request, answer), (str(request), answer.text)
            rows, students = await logged(owner, district, since)
            assert shown_in(answer.text) <= students, str(request)
            assert rows == bool(students), str(request)
            seen += bool(shown_in(answer.text))
    assert seen > 30
    assert len(links) > 100


def link_of(operation: Operation, expansion: str) -> tuple[str, str]:
    """Returns the link that an expansion leads to: the name of the link's resource, and the name of the link.

    If the operation does not return a resource, returns the names of the operation and of the expansion.
    """
    *steps, last = expansion.split(".")
    resource = RESOURCES.get(str(operation.shows))
    if resource is None:
        return operation.name, expansion
    for step in steps:
        resource = SHAPES.links(resource)[step].target
    return declaration(resource).name, last


def is_new(seen: set[tuple[str, str]], link: tuple[str, str]) -> bool:
    """Returns whether the link has not been seen before, and adds it to those seen."""
    is_first = link not in seen
    seen.add(link)
    return is_first


def _has_rows(request: Request, answer: httpx.Response) -> bool:
    """Returns whether a read was answered with rows.

    Also returns True for an answer that is not JSON, and for a list that may rightly be empty.
    """
    if answer.status_code != 200:
        return False
    is_json = not answer.headers["content-type"].startswith(("image/", "text/csv", "text/html"))
    may_be_empty = not MAY_FIT_NO_ROW.isdisjoint(request.params) or request.operation.name in OF_THE_PERSON
    may_be_empty |= "team" in request.params and request.operation.name in OF_THE_TEAM
    return not is_json or may_be_empty or bool(answer.json().get("items", True))


async def test_every_answer_over_graphql_is_logged(
    app: FastAPI, district: FullDistrict, owner: asyncpg.Connection
) -> None:
    """Every GraphQL field, with nested rows, and every mutation writes the students of its answer to the disclosure
    log.
    """
    seen = 0
    requests_to_send = [
        *reads(district),
        *((name, document, given) for name, document, given, _ in commands(district, None)),
    ]
    for name, document, variables in requests_to_send:
        north, since = caller(app, district.town), ids.new_id()
        answer = await north.post("/graphql", {"query": document, "variables": variables})
        _, students = await logged(owner, district, since)
        assert shown_in(answer.text) <= students, (name, variables)
        seen += bool(shown_in(answer.text))
    assert seen > 20


async def test_a_student_who_is_not_logged_is_found(district: FullDistrict, owner: asyncpg.Connection) -> None:
    """The comparison of a response with the log finds a student's id at any place of the response."""
    assert shown_in(f'{{"a": ["{district.shown["student"]}"]}}') == {district.town.students["amy"]}
    assert await logged(owner, district, ids.new_id()) == (0, set())
