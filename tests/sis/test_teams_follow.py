"""Tests that a sync updates the students of teams, and writes only the rows of students who enter or leave a team."""

from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from app.core.clock import today_in
from app.settings import Settings
from app.sis.runs.doctor import examine
from app.team.caseload import bound_to_person
from app.team.models import Team
from app.team.rules import TeamPurpose
from app.team.scopes import NewTeamScope, add_team_scope
from app.team.service import NewTeam, NewTeamMember, add_team_member, form_team
from tests.sis.roster_zip import LENIENT, Export, ask, row_id, sync
from tests.town import ALL_SCOPES, Town

TODAY = today_in("America/Chicago")
SERVED = """SELECT count(*) FILTER (WHERE until_on IS NULL OR until_on > :today), count(*)
            FROM team_student WHERE district_id = :district AND team_id = :team"""


async def team(town: Town, *people: str, **whom: str) -> Team:
    """Forms a team of the school `north` with these teachers of the delivery, which serves these students."""
    async with town.unit() as work:
        formed = await form_team(work, NewTeam("Grade 3", TeamPurpose.GRADE, "sis:csv:north"))
        for person in people:
            await add_team_member(work, formed.id, NewTeamMember(f"sis:csv:{person}"))
        await add_team_scope(work, formed.id, NewTeamScope(**whom))  # type: ignore[arg-type]  # fields by name
    return formed


async def served(town: Town, formed: Team) -> tuple[int, int]:
    """Returns the number of students that a team serves now, and the number of all rows about the team's students."""
    ((now_served, rows),) = await ask(town, SERVED, team=formed.id, today=TODAY)
    return now_served, rows


async def seen_by(town: Town, person: str) -> set[UUID]:
    """Returns the ids of the students whom a person of the delivery sees."""
    client = town.client(ALL_SCOPES)
    return set((await bound_to_person(town.engine, town.settings.keyring, client, f"sis:csv:{person}")).students)


def moved(export: Export, student: str, school: str) -> Export:
    """Moves a student of a delivery and the student's enrollment to another school. Returns the delivery."""
    user = next(row for row in export.rows["users"] if row["sourcedId"] == student)
    user["orgSourcedIds"] = school
    enrollment = next(row for row in export.rows["enrollments"] if row["userSourcedId"] == student)
    enrollment["classSourcedId"], enrollment["schoolSourcedId"] = f"class-{school}", school
    return export


def enrolled_until(day: date) -> Export:
    """Returns a delivery whose enrollments end on this day."""
    export = Export()
    for row in export.rows["enrollments"]:
        row["endDate"] = str(day)
    return export


async def test_a_mover_leaves_the_team_that_night_and_enters_another(north: Town, tmp_path: Path) -> None:
    """After a sync that moves a student, the new school's grade team sees the student, and the old school's does not.

    The student's records move along.
    """
    await sync(north, Export(), tmp_path)
    student = await row_id(north, "person", "s0")
    old = await team(north, "t-south", school="sis:csv:north", grade="03")
    new = await team(north, "t-north", school="sis:csv:south", grade="03")
    assert (await served(north, old), await served(north, new)) == ((20, 20), (20, 20))
    assert student in await seen_by(north, "t-south")
    report = await sync(north, moved(Export(), "s0", "south"), tmp_path)
    assert report.state == "applied"
    assert (await served(north, old), await served(north, new)) == ((19, 20), (21, 21))
    assert len(await seen_by(north, "t-south")) == 40, "nineteen of the team, and the own class with the mover"
    assert student in await seen_by(north, "t-north"), "as a student of the team of the new school"
    assert await _step(north) == 0


async def test_a_student_who_comes_back_is_continued_and_not_listed_twice(north: Town, tmp_path: Path) -> None:
    """If a student's move is taken back on the same day, the team has one row of the student, without a last day."""
    await sync(north, Export(), tmp_path)
    formed = await team(north, school="sis:csv:north", grade="03")
    await sync(north, moved(Export(), "s0", "south"), tmp_path)
    await sync(north, Export(), tmp_path)
    assert await served(north, formed) == (20, 20)


async def test_a_sync_that_changes_nothing_writes_nothing(north: Town, tmp_path: Path) -> None:
    """A sync without changes writes no row about the students of teams, so the rows stay where they are in the
    table.
    """
    await sync(north, Export(), tmp_path)
    await team(north, school="sis:csv:north", grade="03")
    places = "SELECT id, xmin::text FROM team_student WHERE district_id = :district ORDER BY id"
    before = await ask(north, places)
    await sync(north, Export(), tmp_path)
    assert await ask(north, places) == before
    events = "SELECT count(*) FROM event WHERE district_id = :district AND type = 'team.students_changed'"
    assert await ask(north, events) == [(1,)]


@pytest.mark.parametrize(
    ("whom", "count"),
    [
        ({"school_class": "sis:csv:class-north"}, 20),
        ({"student": "sis:csv:s0"}, 1),
        ({"school": "sis:csv:north", "grade": "03"}, 20),
    ],
    ids=["class", "student", "grade"],
)
async def test_a_student_who_leaves_the_roster_leaves_each_kind_of_scope(
    north: Town, tmp_path: Path, whom: dict[str, str], count: int
) -> None:
    """A student who leaves the roster is no longer served by a team that serves the student by class, grade or name.

    A member of staff who leaves the roster is no longer a member of the team.
    """
    later = TODAY + timedelta(days=100)
    await sync(north, enrolled_until(later), tmp_path)
    formed = await team(north, "t-north", **whom)
    assert await served(north, formed) == (count, count)
    export = enrolled_until(later)
    for name, key in (("users", "sourcedId"), ("enrollments", "userSourcedId"), ("demographics", "sourcedId")):
        export.rows[name] = [row for row in export.rows[name] if row.get(key) not in ("s0", "t-north")]
    assert (await sync(north, export, tmp_path)).state == "applied"
    assert await served(north, formed) == (count - 1, count)
    members = "SELECT until_on FROM team_member WHERE district_id = :district AND team_id = :team"
    assert await ask(north, members, team=formed.id) == [(TODAY,)]


async def test_an_enrollment_that_ends_ends_the_row_by_itself(north: Town, tmp_path: Path) -> None:
    """A student's row in a team ends on the last day of the student's enrollment, so no sync is needed on that day.

    If a sync changes the last day of the enrollment, the last day of the row changes too.
    """
    await sync(north, enrolled_until(TODAY + timedelta(days=100)), tmp_path)
    formed = await team(north, school_class="sis:csv:class-north")
    days = "SELECT DISTINCT until_on::text FROM team_student WHERE district_id = :district AND team_id = :team"
    assert await ask(north, days, team=formed.id) == [(str(TODAY + timedelta(days=100)),)]
    report = await sync(north, enrolled_until(TODAY + timedelta(days=110)), tmp_path, limits=LENIENT)
    assert report.state == "applied"
    assert await ask(north, days, team=formed.id) == [(str(TODAY + timedelta(days=110)),)]


async def test_the_doctor_finds_and_repairs_the_students_of_teams(
    north: Town, tmp_path: Path, settings: Settings
) -> None:
    """`aimline doctor` finds rows of teams' students that somebody removed or ended by hand, and restores them."""
    await sync(north, Export(), tmp_path)
    formed = await team(north, school="sis:csv:north", grade="03")
    owner = await asyncpg.connect(settings.url_of("owner"))
    of_team = "district_id = $1 AND team_id = $2 AND student_id"
    students = await owner.fetch(
        f"SELECT student_id FROM team_student WHERE {of_team} IS NOT NULL", north.district_id, formed.id
    )
    await owner.execute(f"DELETE FROM team_student WHERE {of_team} = $3", north.district_id, formed.id, students[0][0])
    await owner.execute(
        f"UPDATE team_student SET until_on = $4 WHERE {of_team} = $3",
        north.district_id,
        formed.id,
        students[1][0],
        TODAY,
    )
    await owner.close()
    assert await _step(north) == 2
    repaired = await examine(north.worker_engine, north.settings.keyring, north.district_id, repair=True)
    assert repaired.of_teams == 2
    assert await _step(north) == 0
    assert await served(north, formed) == (20, 20)


async def _step(town: Town) -> int:
    """Returns the number of students that `aimline doctor` reports as wrong or missing in teams' lists of students."""
    return (await examine(town.worker_engine, town.settings.keyring, town.district_id, repair=False)).of_teams
