"""Tests what every list offers: rows changed since a time, a search by name, sorting by scores or verdicts, and a
total.
"""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.catalog import CATALOG
from app.concern.models import Concern
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core import ids
from app.core.clock import today_in
from app.core.ids import new_id
from app.core.text import camel
from app.evidence.amend import Amendment
from app.evidence.service import NewScore
from app.response.service import amend_score, record_scores, remove_score, start_support
from app.roster.models import Person
from app.support.service import plan_support
from tests.faces.graphql_face import ask, query_data
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.rooms.test_loop import RISES, stu, support_for, weekly
from tests.town import Town, lay, person_rows

TODAY = today_in("America/Chicago")
NAMES = {
    "maya": ("Maya", "Castillo", "student"),
    "zoe": ("Zoë", "ÅKERMAN-Öst", "student"),
    "jr": ("Martin", "King, Jr.", "student"),
    "percent": ("%", "_under", "student"),
    "reyes": ("Jordan", "Reyes", "teacher"),
}


@pytest.fixture
async def owner(settings: Any) -> AsyncIterator[asyncpg.Connection]:
    """Yields a connection as the owner, for statements that no run-time role may execute."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    yield connection
    await connection.close()


@needs(Can.SYNC_ROSTER)
async def _rename(work: Work, person_id: UUID, given: str, family: str, email: str | None) -> None:
    is_person = (Person.district_id == work.district_id, Person.id == person_id)
    values = {"given_name": given, "family_name": family, "email": email}
    await work.db.execute(update(Person).where(*is_person).values(values))


async def _people(town: Town) -> dict[str, str]:
    """Creates people with the names of `NAMES`, and returns their public ids by name."""
    shown = {}
    async with town.house() as work:
        for name, (given, family, role) in NAMES.items():
            person_id = new_id()
            await lay(work, *person_rows(town, name, role, person_id, town.schools[0]))
            await _rename(work, person_id, given, family, f"{name}@Example.org")
            shown[name] = ids.format_id("student" if role == "student" else "person", person_id)
    return shown


def _nodes(connection: dict[str, Any]) -> list[dict[str, Any]]:
    return [edge["node"] for edge in connection["edges"]]


def _listed(town: Town, people: dict[str, str], rows: list[dict[str, Any]]) -> set[str]:
    return {name for name, shown in people.items() if shown in {row["id"] for row in rows}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("castillo", {"maya"}),
        ("CASTILLO M", {"maya"}),
        ("Castillo, Ma", {"maya"}),
        ("maya c", {"maya"}),
        (" ma", {"maya", "jr"}),
        ("astillo", set()),
        ("åkerman-ö", {"zoe"}),
        ("ZOË", {"zoe"}),
        ("king, jr", {"jr"}),
        ("%", {"percent"}),
        ("_u", {"percent"}),
        ("maya@", set()),
        ("\U0010ffff", set()),
    ],
)
async def test_students_are_found_by_the_beginning_of_a_name(
    app: FastAPI, north: Town, text: str, expected: set[str]
) -> None:
    """A search by name ignores case. It matches the beginning of the first name, of the last name, or of both together.

    Characters that have a meaning in search patterns are ordinary characters, and e-mail addresses are not searched.
    """
    people = await _people(north)
    for schools in ((), (north.schools[0],)):
        rows = await caller(app, north, schools=schools).items("/v1/students", q=text, limit=1)
        assert _listed(north, people, rows) == expected
    query = "query Q($q: String) { students(q: $q, first: 50) { edges { node { id } } } }"
    nodes = _nodes((await query_data(north, query, {"q": text}))["students"])
    assert _listed(north, people, nodes) == expected


async def test_staff_are_found_by_their_address_too(app: FastAPI, north: Town) -> None:
    """A search for staff also matches their e-mail address, and an empty text matches everybody."""
    people = await _people(north)
    asks = caller(app, north)
    for text in ("reyes@example", "REYES@", "jordan r", "Reyes, J"):
        assert _listed(north, people, await asks.items("/v1/staff", q=text)) == {"reyes"}
    assert await asks.items("/v1/staff", q="") == await asks.items("/v1/staff")
    assert (await asks.get("/v1/staff", q="x" * 201)).status_code == 400


WRITTEN_BY_HAND = {"terms", "sis_sources", "sync_runs", "webhook_endpoints"}
"""Lists whose REST read is not derived yet, or that have none."""


async def test_every_list_shows_what_was_changed_since(app: FastAPI, north: Town) -> None:
    """With `updated_since` set to tomorrow, every list is empty. With the year 2000, a list has every row once.

    REST is tested with pages of one row each.
    """
    asks = caller(app, north)
    tomorrow, past = (datetime.now(UTC) + timedelta(days=1)).isoformat(), "2000-01-01T00:00:00Z"
    for name, listing in CATALOG.listings.items():
        shown = "edges { node { __typename } }" if listing.paged else "__typename"
        query = f"query Q($at: DateTime) {{ {camel(name)}(updatedSince: $at) {{ {shown} }} }}"
        rows = (await query_data(north, query, {"at": tomorrow}))[camel(name)]
        assert (rows["edges"] if listing.paged else rows) == [], name
        if name in WRITTEN_BY_HAND:
            continue
        path = f"/v1/{name.replace('_', '-')}"
        every = await asks.items(path, **({"limit": 200} if listing.paged else {}))
        more: dict[str, Any] = {"limit": 1} if listing.paged else {}
        assert await asks.items(path, updated_since=tomorrow, **more) == []
        since = await asks.items(path, updated_since=past, **more)
        assert sorted(row["id"] for row in since) == sorted(row["id"] for row in every), name


@pytest.mark.parametrize("instant", ["2026-01-01T00:00:00", "yesterday", "2026-01-01", ""])
async def test_an_instant_has_an_offset(app: FastAPI, north: Town, instant: str) -> None:
    """An instant without an offset is refused in both APIs, because it would mean different instants in different
    zones.
    """
    assert (await caller(app, north).get("/v1/concerns", updated_since=instant)).status_code == 400
    query = "query Q($at: DateTime) { concerns(updatedSince: $at) { edges { node { id } } } }"
    (error,) = (await ask(north, query, {"at": instant})).json()["errors"]
    assert error["extensions"]["code"] in ("malformed", "request.malformed", "invalid")


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00Z"])
async def test_an_instant_at_the_end_of_the_calendar_is_no_fault(app: FastAPI, north: Town, instant: str) -> None:
    """An instant causes no internal error if its offset moves it past the last possible date."""
    answer = await caller(app, north).get("/v1/classes", updated_since=instant)
    assert answer.status_code == 200, answer.text
    query = "query Q($at: DateTime) { classes(updatedSince: $at) { edges { node { id } } } }"
    assert "errors" not in (await ask(north, query, {"at": instant})).json()


async def test_a_change_brings_a_row_back_and_last(app: FastAPI, north: Town) -> None:
    """A list with `updated_since` is sorted by the time of change.

    A row that changes while a client reads the pages comes again at the end.
    """
    async with north.unit() as work:
        concerns = [
            await raise_concern(
                work, NewConcern(student=stu(north, "amy"), area="ela.fluency", description=str(number))
            )
            for number in range(3)
        ]
    async with north.house() as work:
        await _set_changed(work, datetime.now(UTC) - timedelta(days=3))
    asks = caller(app, north)
    since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert await asks.items("/v1/concerns", updated_since=since) == []
    async with north.unit() as work:
        await accept_concern(work, concerns[0].id)
    shown = [ids.format_id("concern", concern.id) for concern in concerns]
    assert [row["id"] for row in await asks.items("/v1/concerns", updated_since=since)] == shown[:1]
    before = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    rows = await asks.items("/v1/concerns", updated_since=before, limit=1)
    assert [row["id"] for row in rows] == [*shown[1:], shown[0]]


@needs(Can.SYNC_ROSTER)
async def _set_changed(work: Work, at: datetime) -> None:
    await work.db.execute(update(Concern).where(Concern.district_id == work.district_id).values(updated_at=at))


async def _order(app: FastAPI, town: Town, path: str, sort: str) -> list[str]:
    asks = caller(app, town)
    rows = await asks.items(path, sort=sort, limit=1)
    backward = await asks.items(path, sort=f"-{sort}", limit=2)
    assert [row["id"] for row in backward] == [row["id"] for row in reversed(rows)]
    whole = [row["id"] for row in await caller(app, town, schools=tuple(town.schools)).items(path, sort=sort)]
    assert whole == [row["id"] for row in rows]
    return whole


def _students(town: Town, names: str) -> list[str]:
    return [stu(town, name) for name in names.split()]


def _score(town: Town, name: str, day: date, measure: str = "orf") -> NewScore:
    return NewScore(student=stu(town, name), measure=measure, taken_on=day, value=20.0)


async def test_students_are_sorted_by_their_last_score(app: FastAPI, north: Town) -> None:
    """Students can be sorted by the day of their last score, also after scores were recorded, moved and removed.

    A change of an earlier score does not change the order.
    """
    days = [TODAY - timedelta(days=number) for number in range(10)]
    async with north.unit() as work:
        results = await record_scores(
            work, [_score(north, "amy", days[1]), _score(north, "ben", days[2]), _score(north, "amy", days[8])]
        )
    order = await _order(app, north, "/v1/students", "last_score")
    assert order[-2:] == _students(north, "ben amy")
    assert results[0].score is not None
    async with north.unit() as work:
        await amend_score(work, results[0].score.id, Amendment(because="Wrong day.", taken_on=days[5]))
    assert (await _order(app, north, "/v1/students", "last_score"))[-2:] == _students(north, "amy ben")
    async with north.unit() as work:
        await amend_score(work, results[0].score.id, Amendment(because="Wrong day.", taken_on=days[0]))
    assert (await _order(app, north, "/v1/students", "last_score"))[-2:] == _students(north, "ben amy")
    async with north.unit() as work:
        await remove_score(work, results[0].score.id, "It was not hers.")
    assert (await _order(app, north, "/v1/students", "last_score"))[-2:] == _students(north, "amy ben")
    async with north.unit() as work:  # it comes back, by its key
        await record_scores(work, [_score(north, "amy", days[0])])
    assert (await _order(app, north, "/v1/students", "last_score"))[-2:] == _students(north, "ben amy")


async def test_a_secured_score_does_not_move_a_student(app: FastAPI, north: Town) -> None:
    """A score in a secured area does not change the order of students, because the order would reveal it."""
    async with north.unit() as work:
        await record_scores(work, [_score(north, "amy", TODAY - timedelta(days=3))])
    before = await _order(app, north, "/v1/students", "last_score")
    async with north.unit() as work:
        results = await record_scores(work, [_score(north, "ben", TODAY, "sel-screener")])
    assert results[0].score is not None
    assert results[0].score.secured_area == "sel"
    assert await _order(app, north, "/v1/students", "last_score") == before


async def test_lists_are_sorted_by_the_last_verdict(app: FastAPI, north: Town) -> None:
    """Supports and students can be sorted by the time of their last verdict, the earliest first.

    A support with a new verdict is also in the list of supports that have changed (`updated_since`).
    """
    supports = {}
    for name in ("amy", "ben"):
        async with north.unit() as work:
            supports[name] = await plan_support(work, support_for(north, name))
            await start_support(work, supports[name].id)
    before = datetime.now(UTC)
    for name in ("ben", "amy"):
        async with north.unit() as work:
            await record_scores(work, weekly(north, name, RISES))
    shown = {name: ids.format_id("support", support.id) for name, support in supports.items()}
    assert (await _order(app, north, "/v1/supports", "last_verdict"))[-2:] == [shown["ben"], shown["amy"]]
    assert (await _order(app, north, "/v1/students", "last_verdict"))[-2:] == _students(north, "ben amy")
    since = await caller(app, north).items("/v1/supports", updated_since=before.isoformat())
    assert {row["id"] for row in since} == set(shown.values())
    query = """{ students(sort: "-last_verdict", first: 1) { edges { node { id } } }
        supports(sort: "-last_verdict", first: 1) { edges { node { id } } } }"""
    answer = await query_data(north, query)
    assert _nodes(answer["students"]) == [{"id": stu(north, "amy")}]
    assert _nodes(answer["supports"]) == [{"id": shown["amy"]}]


@pytest.mark.parametrize(("sort", "can"), [("last_score", Can.READ_SCORES), ("-last_verdict", Can.READ_VERDICTS)])
async def test_an_order_by_evidence_needs_the_permission_to_read_it(
    app: FastAPI, north: Town, sort: str, can: Can
) -> None:
    """To sort a list by scores or verdicts needs the permission to read them, because the order reveals them."""
    asks = caller(app, north, CLIENT_SCOPES - {can.value})
    answer = await asks.get("/v1/students", sort=sort)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission.missing")
    assert (await asks.get("/v1/students", sort="name")).status_code == 200


MANY = """INSERT INTO school_break (district_id, id, begins_on, ends_on, declared_at)
SELECT $1, gen_random_uuid(), current_date, current_date, now() FROM generate_series(1, $2)"""


async def test_a_total_is_exact_to_25_000_rows(app: FastAPI, north: Town, owner: asyncpg.Connection) -> None:
    """A total is exact up to 25,000 rows. Beyond, the answer only says that there are more.

    Otherwise the count would read a whole district.
    """
    asks = caller(app, north)
    await owner.execute(MANY, north.district_id, 25_000)
    assert (await asks.get("/v1/breaks", limit=1, include_total="true")).json()["total"] == 25_000
    await owner.execute(MANY, north.district_id, 1)
    assert (await asks.get("/v1/breaks", limit=1, include_total="true")).json()["total"] == "more"
