"""Tests lists that are filtered by school: a student of several schools is in the list of each of them."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update

from app.access.permission import Can
from app.access.principal import Principal
from app.access.work import Work, needs
from app.concern.queries import ConcernFilter, concerns
from app.concern.service import NewConcern, raise_concern
from app.core import ids
from app.core.ids import new_id
from app.core.page import keyset
from app.roster.models import Org, Person
from app.roster.queries import StudentFilter, students
from tests.sis.roster_zip import ask
from tests.town import Town, lay

SCHOOLS = 6


@pytest.fixture
async def places(north: Town) -> list[UUID]:
    """Creates six schools and three concerns about each student, and returns the schools' ids.

    Amy is at the first school, ben at the first two and cy at all six.
    """
    made = [new_id() for _ in range(SCHOOLS)]
    async with north.house() as work:
        await lay(work, *(Org(district_id=north.district_id, id=one, name="School", type="school") for one in made))
        await _attend(work, {"amy": made[:1], "ben": made[:2], "cy": made}, north)
    for _ in range(3):
        for student in north.students.values():
            async with north.unit() as work:
                await raise_concern(work, NewConcern(ids.format_id("student", student), "math", "Counts on fingers."))
    return made


@needs(Can.SYNC_ROSTER)
async def _attend(work: Work, schools: dict[str, list[UUID]], town: Town) -> None:
    for name, at in schools.items():
        conditions = (Person.district_id == work.district_id, Person.id == town.students[name])
        await work.db.execute(update(Person).where(*conditions).values(school_ids=at))


async def _listed(town: Town, principal: Principal, school: UUID | None, limit: int) -> list[UUID]:
    student_ids: list[UUID] = []
    cursor = None
    while True:
        async with town.unit(principal) as work:
            place = keyset(town.district_id, "concerns", {"school": school}, cursor, limit)
            page = await concerns(work, place, ConcernFilter(school_id=school))
        student_ids += [row.student_id for row in page.rows]
        assert len(page.rows) == limit or page.next is None
        if page.next is None:
            return student_ids
        cursor = page.next


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_a_list_by_school_has_every_student_of_it(north: Town, places: list[UUID], limit: int) -> None:
    """A list by school has all students of the school, whether it is their first, second, third or a later school."""
    amy, ben, cy = (north.students[name] for name in ("amy", "ben", "cy"))
    expected = [{amy, ben, cy}, {ben, cy}, {cy}, {cy}, {cy}, {cy}]
    for school, expected_ids in zip(places, expected, strict=True):
        for principal, school_id in ((north.client(), school), (north.client(schools=(school,)), None)):
            student_ids = await _listed(north, principal, school_id, limit)
            assert set(student_ids) == expected_ids
            assert len(student_ids) == 3 * len(expected_ids)
    both = north.client(schools=(places[0], places[1], places[4]))
    assert len(await _listed(north, both, None, limit)) == 9


async def test_students_by_school_keep_the_order_of_names(north: Town, places: list[UUID]) -> None:
    """Students are listed in the same order of names for the whole district, for one school and for several."""
    whole: list[UUID] = []
    for principal, school_id in (
        (north.client(), None),
        (north.client(), places[0]),
        (north.client(schools=(*places,)), None),
    ):
        student_ids: list[UUID] = []
        cursor = None
        while cursor is not None or not student_ids:
            async with north.unit(principal) as work:
                place = keyset(north.district_id, "students", {}, cursor, 2)
                page = await students(work, place, StudentFilter(school_id=school_id))
            student_ids += [row.id for row in page.rows]
            cursor = page.next
            if cursor is None:
                break
        whole = whole or student_ids
        assert student_ids == whole
        assert len(student_ids) == 3


async def test_the_generated_columns_follow_the_schools(north: Town, places: list[UUID]) -> None:
    """The generated columns of schools agree with `school_ids`, from which PostgreSQL computes them."""
    rows = await ask(
        north,
        """SELECT school_id = school_ids[1], second_school_id IS NOT DISTINCT FROM school_ids[2],
                  third_school_id IS NOT DISTINCT FROM school_ids[3],
                  coalesce(has_more_schools, false) = (cardinality(school_ids) > 3)
           FROM concern WHERE district_id = :district""",
    )
    assert len(rows) == 9
    assert {tuple(row) for row in rows} == {(True, True, True, True)}


async def test_a_page_of_a_school_is_read_by_its_index(north: Town, places: list[UUID]) -> None:
    """A page of a school's list is read by indexes only, also under row-level security: no part of the query scans the
    table.
    """
    plans: list[str] = []

    @needs(Can.READ_CONCERNS)
    async def explained(work: Work) -> Any:
        # The choice among plans depends on statistics, which other tests change; whether the index serves does not.
        for way in ("seqscan", "sort", "incremental_sort", "bitmapscan"):
            await work.db.execute(text(f"SET LOCAL enable_{way} = off"))
        rows = await work.db.execute(
            text(
                "EXPLAIN SELECT id FROM concern WHERE district_id = :d AND school_id >= :s "
                "ORDER BY school_id, id LIMIT 51"
            ),
            {"d": work.district_id, "s": places[0]},
        )
        plans.extend(row[0] for row in rows)

    async with north.unit(north.client(schools=(places[0],))) as work:
        await explained(work)
    assert any("concern_school_idx" in line for line in plans)
    assert any("Index Cond" in line and "(school_id >= " in line for line in plans)
