"""Tests that SQL and a plain computation in Python give the same students to each member of staff.

The plain computation uses the rows of random districts. A person sees the students of the person's own classes. A
person also sees the students of each active team of which the person is a member today.
"""

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.access.permission import Can
from app.access.principal import Principal
from app.access.work import Work, needs
from app.core.clock import now, today_in
from app.core.db import Base
from app.core.ids import new_id
from app.roster.models import Enrollment, Org, Person, SchoolClass
from app.team.models import Team, TeamMember, TeamScope
from app.team.rules import ScopeKind, TeamPurpose, TeamState
from app.team.students import follow_roster
from tests.rooms.team_town import as_person
from tests.town import Town, lay, person_rows

TODAY = today_in("America/Chicago")
GRADES = ("01", "02", "03")
ROLES = ("teacher", "teacher", "aide", "counselor", "principal")


@dataclass
class District:
    """The rows of a random district. From these rows, `reach` computes in Python which students a person may see."""

    people: dict[str, Person] = field(default_factory=dict)
    enrollments: list[Enrollment] = field(default_factory=list)
    teams: list[Team] = field(default_factory=list)
    members: list[TeamMember] = field(default_factory=list)
    scopes: list[TeamScope] = field(default_factory=list)

    def reach(self, name: str) -> set[UUID]:
        """Returns the ids of the students whom a person may see today, computed in Python."""
        person = self.people[name]
        students = [one for one in self.people.values() if one.is_student]
        seen: set[UUID] = set()
        if person.role in ("counselor", "principal"):
            seen |= {one.id for one in students if set(one.school_ids) & set(person.school_ids)}
        else:
            taught = {row.class_id for row in self.enrollments if row.person_id == person.id and _lives(row)}
            seen |= {
                row.person_id for row in self.enrollments if row.is_student and row.class_id in taught and _lives(row)
            }
        teams = {team.id for team in self.teams if team.state == "active"}
        teams &= {row.team_id for row in self.members if row.person_id == person.id and _holds(row)}
        for scope in self.scopes:
            if scope.team_id in teams and _holds(scope):
                seen |= {one.id for one in students if self._comprises(scope, one)}
        present = {one.id for one in students if one.removed_at is None}
        return seen if person.role in ("counselor", "principal") else seen & present

    def _comprises(self, scope: TeamScope, student: Person) -> bool:
        if student.removed_at is not None:
            return False
        if scope.kind == ScopeKind.GRADE:
            return scope.served_school_id in student.school_ids and scope.grade in student.grades
        if scope.kind == ScopeKind.STUDENT:
            return scope.student_id == student.id
        rows = [row for row in self.enrollments if (row.class_id, row.person_id) == (scope.class_id, student.id)]
        return any(_lives(row) for row in rows)


def _lives(row: Enrollment) -> bool:
    return row.removed_at is None and (row.ends_on is None or row.ends_on > TODAY)


def _holds(row: TeamMember | TeamScope) -> bool:
    return row.from_on <= TODAY and (row.until_on is None or row.until_on > TODAY)


def make(town: Town, seed: int) -> tuple[District, list[Base]]:
    """Returns a random district of three schools, made from a seed, and its rows in the order in which to insert
    them.
    """
    rng, made, rows = random.Random(seed), District(), list[Base]()
    of = {"district_id": town.district_id}
    schools, classes = [new_id() for _ in range(3)], [new_id() for _ in range(5)]
    rows += [Org(**of, id=school, name="School", type="school") for school in schools]
    rows += [
        SchoolClass(
            **of,
            id=one,
            school_id=rng.choice(schools),
            title="Class",
            type="homeroom",
            grades=[],
            subjects=[],
            subject_codes=[],
            periods=[],
            academic_session_ids=[],
        )
        for one in classes
    ]

    def days() -> tuple[date, date | None]:
        begins = TODAY + timedelta(days=rng.choice((-30, -1, 0, 1, 30)))
        ends = rng.choice((None, None, None, TODAY, TODAY + timedelta(days=1), TODAY - timedelta(days=1)))
        return begins, ends if ends is None else max(begins, ends)

    for number in range(24):
        role = "student" if number < 16 else rng.choice(ROLES)
        name = f"person{seed}x{number}"
        person, *others = person_rows(town, name, role, new_id(), rng.choice(schools))
        assert isinstance(person, Person)
        if role == "student":
            person.school_ids = rng.sample(schools, rng.choice((1, 1, 2)))
            person.grades = rng.sample(GRADES, rng.choice((1, 1, 2)))
            person.removed_at = now() if rng.random() < 0.1 else None
        made.people[name] = person
        rows += [person, *(other for other in others if type(other).__tablename__ == "external_id")]
    everybody = list(made.people.values())
    for person in everybody:
        for class_id in rng.sample(classes, rng.choice((0, 1, 2))):
            enrolled = Enrollment(
                **of,
                id=new_id(),
                class_id=class_id,
                person_id=person.id,
                school_id=rng.choice(schools),
                role=person.role,
                is_student=person.is_student,
                is_primary=False,
                source_id=town.source_id,
                sourced_id=str(new_id()),
                ends_on=rng.choice((None, TODAY, TODAY + timedelta(days=1))),
                removed_at=now() if rng.random() < 0.1 else None,
            )
            made.enrollments.append(enrolled)
    staff, students = [one for one in everybody if not one.is_student], [one for one in everybody if one.is_student]
    for _ in range(4):
        team = Team(
            **of,
            id=new_id(),
            name="Team",
            purpose=TeamPurpose.GRADE,
            school_id=rng.choice((None, *schools)),
            state=TeamState.ARCHIVED if rng.random() < 0.15 else TeamState.ACTIVE,
            formed_on=TODAY,
            created_at=now(),
            version=1,
        )
        made.teams.append(team)
        of_team: dict[str, Any] = {**of, "team_id": team.id, "team_school_id": team.school_id, "version": 1}
        for person in rng.sample(staff, rng.choice((1, 2, 3))):
            begins, ends = days()
            made.members.append(
                TeamMember(**of_team, id=new_id(), person_id=person.id, role="member", from_on=begins, until_on=ends)
            )
        for _ in range(rng.choice((1, 2))):
            kind = rng.choice(list(ScopeKind))
            begins, ends = days()
            student = rng.choice(students)
            by_kind: dict[ScopeKind, dict[str, Any]] = {
                ScopeKind.GRADE: {"served_school_id": rng.choice(schools), "grade": rng.choice(GRADES)},
                ScopeKind.CLASS: {"class_id": rng.choice(classes)},
                ScopeKind.STUDENT: {"student_id": student.id, "school_ids": student.school_ids},
            }
            dates: dict[str, Any] = {"from_on": begins, "until_on": ends}
            made.scopes.append(
                TeamScope(**{**of_team, "school_ids": [], **by_kind[kind], **dates}, id=new_id(), kind=kind)
            )
    return made, [*rows, *made.enrollments, *made.teams, *made.members, *made.scopes]


@needs(Can.READ_ROSTER)
async def students_by_policy(work: Work) -> set[UUID]:
    """Returns the ids of the students that row-level security alone lets through."""
    query = select(Person.id).where(Person.district_id == work.district_id, Person.is_student)
    return set(await work.db.scalars(query))


async def seen(town: Town, principal: Principal) -> set[UUID]:
    """Returns the ids of the students whom a principal sees."""
    async with town.unit(principal) as work:
        return await students_by_policy(work)


@pytest.mark.parametrize("seed", range(12))
async def test_the_reach_by_sql_is_the_plain_rules(north: Town, seed: int) -> None:
    """Under row-level security, every member of staff sees exactly the students that a computation in Python gives."""
    made, rows = make(north, seed)
    async with north.house() as work:
        await lay(work, *rows)
    async with north.house() as work:
        await follow_roster(work)
    async with north.house() as work:
        assert await follow_roster(work) == 0, "a second run has nothing to write"
    person_ids = {person.id for person in made.people.values()}
    for name, person in made.people.items():
        if not person.is_student:
            principal = await as_person(north, name)
            assert (await seen(north, principal)) & person_ids == made.reach(name), (seed, name, person.role)
