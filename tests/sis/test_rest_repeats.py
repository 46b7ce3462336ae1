"""Tests a sync with repeated rows of a source, and with a source that changes while it is read."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sis.oneroster_rest.pull import RestPull
from app.sis.oneroster_rest.reader import CollectionAbsent, Reader, extract_rows, sourced_ids
from app.sis.oneroster_rest.walk import WalkPage
from app.sis.port import SourceInconsistent
from tests.sis.plain_server import Reply, SisRequest
from tests.sis.rest_source import cells_of, quiet
from tests.sis.roster_zip import ask
from tests.sis.rows_server import Row, RowsServer, sync_rows
from tests.town import Town

STUDENTS = 28
STORED_PERSON = """SELECT p.given_name, p.removed_at, p.xmin::text FROM person p JOIN external_id e
    ON e.district_id = :district AND e.kind = 'person' AND e.row_id = p.id AND e.sourced_id = :id
    JOIN source s ON s.district_id = :district AND s.id = e.source_id AND s.name = 'csv'
    WHERE p.district_id = :district"""
REPEATS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 34), st.booleans()), min_size=1, max_size=3)


class _Pages(Reader):
    """Reads the pages of rows without a server in between."""

    def __init__(self, rows: RowsServer) -> None:
        self.rows, self.warnings = rows, []

    async def page(
        self,
        name: str,
        limit: int,
        offset: int,
        query: Mapping[str, str],
        link: str | None,
        optional: bool = False,
    ) -> WalkPage:
        parameters = {"limit": str(limit), "offset": str(offset), **query}
        response = self.rows.page(SisRequest("GET", f"/{name}", parameters, {}, ""))
        if response.status != 200:
            raise CollectionAbsent(response.status)
        rows = extract_rows(name, response.body)
        total = response.headers.get("X-Total-Count")
        return WalkPage(rows, sourced_ids(rows), int(total) if total else None)


async def _users(rows: RowsServer, page_size: int) -> tuple[list[dict[str, str]], bool, tuple[str, ...]]:
    """Returns the delivered rows of users, whether they are complete, and the warnings."""
    pull = RestPull(rows.connection(page_size=page_size), None, quiet)
    try:
        source = await pull.source(_Pages(rows))
        people = source.deliveries["person"]
        return cells_of(people.read()), people.complete, source.warnings
    finally:
        pull.close()


def _of_one(rows: list[Row], sourced_id: str) -> set[str]:
    return {row["givenName"] for row in rows if row["sourcedId"] == sourced_id}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(repeats=REPEATS, page_size=st.sampled_from([7, 8, 10, 13, 100]), total=st.booleans(), sorts=st.booleans())
async def test_repeats_of_the_source_itself_are_delivered_and_complete(
    repeats: list[tuple[int, int, bool]], page_size: int, total: bool, sorts: bool
) -> None:
    """If the source itself sends a row several times, identical repeats are left out.

    The collection still counts as complete.
    """
    rows = RowsServer(students=STUDENTS)
    rows.total, rows.sorts = total, sorts
    for number, place, is_changed in repeats:
        repeated = dict(rows.users[number])
        if is_changed:
            repeated["givenName"] = f"Other {place}"
        rows.users.insert(place, repeated)
    delivered, complete, warnings = await _users(rows, page_size)
    assert complete, warnings
    assert not [warning for warning in warnings if "users" in warning]
    assert {row["sourcedId"] for row in delivered} == {row["sourcedId"] for row in rows.users}
    for sourced_id in {row["sourcedId"] for row in rows.users}:
        names = [row["givenName"] for row in delivered if row["sourcedId"] == sourced_id]
        assert sorted(names) == sorted(_of_one(rows.users, sourced_id))


@pytest.mark.parametrize("total", [True, False])
async def test_pages_in_another_order_each_time_prove_no_absence(total: bool) -> None:
    """If pages come in another order each time, missing rows are not removed, because they may have been skipped."""
    rows, dice = RowsServer(students=STUDENTS), random.Random(7)

    def shuffled(request: SisRequest) -> Reply | None:
        if request.name != "users":
            return None
        users = dice.sample(rows.users, len(rows.users))
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        headers = {"X-Total-Count": str(len(users))} if total else {}
        return Reply(body={"users": users[offset : offset + limit]}, headers=headers)

    rows.answer = shuffled
    try:
        delivered, complete, _ = await _users(rows, 7)
    except SourceInconsistent:
        return
    assert not complete or {row["sourcedId"] for row in delivered} == {row["sourcedId"] for row in rows.users}


async def test_an_order_that_hangs_on_the_page_proves_no_absence() -> None:
    """If the order of rows depends on the page size, missing rows are not removed from the roster."""
    rows = RowsServer(students=STUDENTS)

    def tied(request: SisRequest) -> Reply | None:
        if request.name != "users":
            return None
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        users = random.Random(offset * 1000 + limit).sample(rows.users, len(rows.users))
        return Reply(body={"users": users[offset : offset + limit]}, headers={"X-Total-Count": str(len(users))})

    rows.answer = tied
    try:
        delivered, complete, _ = await _users(rows, 7)
    except SourceInconsistent:
        return
    assert not complete or {row["sourcedId"] for row in delivered} == {row["sourcedId"] for row in rows.users}


async def test_a_row_that_differs_each_time_is_given_up() -> None:
    """Reading a source fails if a row differs each time it is read."""
    rows, count = RowsServer(students=STUDENTS), [0]
    rows.users.insert(9, dict(rows.users[2]))

    def changing(request: SisRequest) -> Any:
        count[0] += 1
        rows.users[9]["givenName"] = f"Given {count[0]}"

    rows.answer = changing
    with pytest.raises(SourceInconsistent, match="changed while it was read"):
        await _users(rows, 7)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_a_user_listed_twice_is_quarantined_or_counted_once(north: Town, version: str) -> None:
    """A user who is listed twice is quarantined if the rows differ, and counted once if they are equal."""
    rows = RowsServer(version)
    assert (await sync_rows(north, rows)).state == "applied"
    before = await ask(north, STORED_PERSON, id="s3")
    rows.users.insert(20, {**rows.row("users", "s3"), "givenName": "Another"})
    rows.users.insert(9, dict(rows.row("users", "s5")))
    rows.users.remove(rows.row("users", "s7"))
    rows.rows["enrollments"].remove(rows.row("enrollments", "e7"))
    rows.rows["demographics"].remove(rows.row("demographics", "s7"))
    report = await sync_rows(north, rows, page_size=13)
    assert (report.state, report.exit_code) == ("applied", 3), report.sentence
    people = report.kinds["person"]
    assert (people.quarantined, people.absent, people.changes) == (2, 1, 1)
    assert {one.code for one in report.refusals} == {"sourcedId.repeated"}
    assert await ask(north, STORED_PERSON, id="s3") == before
    assert (await ask(north, STORED_PERSON, id="s7"))[0].removed_at is not None
    repeated = await sync_rows(north, rows, page_size=13)
    assert (repeated.state, repeated.exit_code, repeated.total("changes")) == ("applied", 3, 0)
