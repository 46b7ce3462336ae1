"""Tests that every list is limited by the person for whom a request acts, and by the schools granted to a client."""

import re

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.roster.models import Person
from app.settings import Settings
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import Operation, operations, own_request
from tests.house.walk_graphql import reads
from tests.town import found_town

ABOUT = re.compile(r"(?:stu|con|sup|pha|ses|sco|ver|dec)_[0-9a-hjkmnp-tv-z]{26}")
NO_STUDENTS = {
    **dict.fromkeys(("list_staff", "list_schools", "list_classes"), "staff and places are seen by all of the district"),
    **dict.fromkeys(("list_areas", "list_levels", "list_measures"), "the playbook is the district's"),
    **dict.fromkeys(("list_benchmarks", "list_playbook_versions"), "as the playbook"),
    "list_line_items": "what a class works on is no student's",
    "list_event_types": "a catalogue",
    "list_teams": "a team and its members are no students",
    "list_calibrations": "estimates over many series",
    **dict.fromkeys(("list_endpoints", "list_deliveries"), "endpoints are a client's; people have none"),
    "list_consumers": "as endpoints",
    **dict.fromkeys(("list_sync_runs", "list_quarantine"), "a run has counts and places, never a value"),
    "list_sources": "where a roster comes from",
    "list_breaks": "a calendar is the schools'",
}
"""Lists that name no student."""


@pytest.fixture(scope="module")
async def district(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Returns a district with all kinds of rows.

    The students amy and ben are at school one, and cy is at school two. The teacher's caseload has only amy.
    """
    return await fill_district(await found_town("north", engine, worker_engine, settings))


def lists(app: FastAPI) -> list[Operation]:
    """Returns every list of the live routes that is about students."""
    listed = [
        one
        for one in operations(app)
        if one.reads and one.path.startswith("/v1/") and ("after" in one.names("query") or one.name in NO_STUDENTS)
    ]
    assert {one.name for one in listed} >= NO_STUDENTS.keys()
    return [one for one in listed if one.name not in NO_STUDENTS]


async def seen(asks: Caller, operation: Operation, district: FullDistrict) -> tuple[int, str]:
    """Returns the status of a list, and the text of all its pages."""
    path, text = own_request(operation, district).path, ""
    after: dict[str, str] = {}
    while True:
        answer = await asks.get(path, limit=3, **after)
        text += answer.text
        following = answer.json().get("next") if answer.status_code == 200 else None
        if not following or not answer.json()["items"]:
            return answer.status_code, text
        after = {"after": following}


def acting(app: FastAPI, district: FullDistrict, person: str, scopes: frozenset[str] = CLIENT_SCOPES) -> Caller:
    """Returns a client with all scopes that acts for a person of the district."""
    return caller(app, district.town, scopes, act_for=f"sis:sis:{person}-1")


def students_in(text: str, district: FullDistrict) -> set[str]:
    """Returns the students who appear in a text by their id or by their name."""
    return {
        name
        for name, row in district.town.students.items()
        if ids.format_id("student", row) in text or f"{name.title()}{district.town.canary}" in text
    }


@pytest.fixture(scope="module")
async def owned(district: FullDistrict, settings: Settings) -> dict[str, str]:
    """Returns the name of the student of each concern, support, score and other row, keyed by the row's public id."""
    names = {row: name for name, row in district.town.students.items()}
    owners = {ids.format_id("student", row): name for row, name in names.items()}
    connection = await asyncpg.connect(settings.url_of("owner"))
    for kind in ("concern", "support", "phase", "session", "score", "verdict", "decision"):
        rows = await connection.fetch(
            f"SELECT id, student_id FROM {kind} WHERE district_id = $1", district.town.district_id
        )
        owners |= {ids.format_id(kind, row["id"]): names[row["student_id"]] for row in rows}
    await connection.close()
    return owners


REACHES = [
    ("teacher", {"amy"}),
    ("aide", {"cy"}),
    ("other_teacher", {"cy"}),
    ("administrator", {"amy", "ben"}),
]


@pytest.mark.parametrize(("person", "reached"), REACHES, ids=[person for person, _ in REACHES])
async def test_every_list_is_bound_by_whom_it_acts_for(
    app: FastAPI, district: FullDistrict, owned: dict[str, str], person: str, reached: set[str]
) -> None:
    """Every list contains only rows of the acting person's caseload or school; lists that the role may not read give
    403.
    """
    answered = 0
    for operation in lists(app):
        if operation.names("path"):
            continue
        status, text = await seen(acting(app, district, person), operation, district)
        assert status in (200, 403), (operation.name, text)
        assert {owned.get(row_id, "nobody") for row_id in ABOUT.findall(text)} <= reached, operation.name
        assert students_in(text, district) <= reached, operation.name
        if status == 200 and operation.name in ("list_students", "list_scores", "list_decisions", "list_supports"):
            assert students_in(text, district) == reached, operation.name
        answered += status == 200
    assert answered >= 5


@pytest.mark.parametrize(("person", "reached"), REACHES, ids=[person for person, _ in REACHES])
async def test_every_graphql_list_is_bound_as_well(
    app: FastAPI, district: FullDistrict, owned: dict[str, str], person: str, reached: set[str]
) -> None:
    """Every GraphQL list, with its nested rows, contains only rows within the acting person's reach."""
    for name, document, variables in reads(district):
        answer = await acting(app, district, person).post("/graphql", {"query": document, "variables": variables})
        sent = set(map(str, variables.values()))
        names = {owned.get(one, "nobody") for one in ABOUT.findall(answer.text) if one not in sent}
        assert names <= reached, (name, variables, answer.text)
        assert students_in(answer.text.replace(str(variables.get("id")), ""), district) <= reached, (name, variables)


async def test_what_hangs_on_a_row_out_of_reach_is_not_there(app: FastAPI, district: FullDistrict) -> None:
    """A path that names a row of a student outside the caller's reach gives 404, for reads and for commands."""
    attempts = 0
    for operation in operations(app):
        kinds = {"student": "cy", "support": "support of cy", "concern": "concern of cy"}
        names = operation.names("path")
        if not names or names[0] not in kinds:
            continue
        path = operation.path.replace(f"{{{names[0]}}}", district.shown[kinds[names[0]]])
        body = own_request(operation, district).json
        answer = await acting(app, district, "teacher").ask(operation.method, path, json=body)
        # Scopes are checked before any row is looked up, and a teacher's role does not open these.
        no_scope = operation.name in ("get_demographics", "get_sync_history") and answer.status_code == 403
        expected = 403 if no_scope else 404
        assert answer.status_code == expected, (operation.name, answer.text)
        attempts += 1
    assert attempts > 10


@pytest.mark.parametrize("scopes", [CLIENT_SCOPES, frozenset({"act-for", "roster:read"})])
async def test_a_role_that_opens_nothing_is_refused_everywhere(
    app: FastAPI, district: FullDistrict, scopes: frozenset[str]
) -> None:
    """A parent gets 403 from every list. A student or an unknown person cannot be named as the acting person."""
    for operation in lists(app):
        answer = await acting(app, district, "parent", scopes).get(own_request(operation, district).path)
        assert (answer.status_code, answer.json()["code"]) == (403, "act_for.role"), operation.name
    for person in ("amy", "nobody"):
        answer = await acting(app, district, person, scopes).get("/v1/students")
        assert answer.status_code == 400, answer.text


async def test_only_a_client_that_may_names_a_person(app: FastAPI, district: FullDistrict) -> None:
    """Without the scope `act-for`, a request that names an acting person is refused."""
    answer = await acting(app, district, "teacher", CLIENT_SCOPES - {"act-for"}).get("/v1/students")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission.missing")


async def test_a_departed_teacher_opens_nothing(
    app: FastAPI, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings
) -> None:
    """A request that acts for a teacher who has left the roster is refused."""
    town = await found_town("north", engine, worker_engine, settings)

    @needs(Can.SYNC_ROSTER)
    async def leave(work: Work) -> None:
        mine = (Person.district_id == work.district_id) & (Person.id == town.staff["teacher"])
        await work.db.execute(update(Person).where(mine).values(removed_at=now()))

    async with town.house() as work:
        await leave(work)
    answer = await acting(app, FullDistrict(town), "teacher").get("/v1/students")
    assert (answer.status_code, answer.json()["code"]) == (403, "act_for.role")


async def test_a_client_of_some_schools_reaches_their_students_only(
    app: FastAPI, district: FullDistrict, owned: dict[str, str]
) -> None:
    """A client that is granted some schools reaches only the students of these schools.

    This holds for every person that the client acts for.
    """
    second = (district.town.schools[1],)
    for operation in lists(app):
        if not operation.names("path"):
            status, text = await seen(caller(app, district.town, schools=second), operation, district)
            assert status == 200, (operation.name, text)
            assert {owned.get(row_id, "nobody") for row_id in ABOUT.findall(text)} <= {"cy"}, operation.name
    for person in ("administrator", "teacher"):
        both = caller(app, district.town, schools=second, act_for=f"sis:sis:{person}-1")
        assert (await both.items("/v1/students")) == [], person


async def test_a_secured_area_is_shut_on_every_list(app: FastAPI, district: FullDistrict) -> None:
    """Without the scope of its area, a secured concern is in no list and not in the student's history. To a teacher it
    is never shown.
    """
    secured = district.shown["secured concern"]
    without = caller(app, district.town, CLIENT_SCOPES - {"area:sel"})
    whole = caller(app, district.town)
    shown_to_the_granted = ""
    for operation in [*lists(app), *(one for one in operations(app) if one.name == "get_story")]:
        for asks in (without, acting(app, district, "teacher")):
            _, text = await seen(asks, operation, district)
            assert secured not in text, operation.name
        shown_to_the_granted += (await seen(whole, operation, district))[1]
    assert secured in shown_to_the_granted
    for asks, status in ((without, 404), (acting(app, district, "teacher"), 404), (whole, 200)):
        assert (await asks.get(f"/v1/concerns/{secured}")).status_code == status
    assert (await acting(app, district, "administrator").get(f"/v1/concerns/{secured}")).status_code == 200
