"""Creates a small district for tests: two schools, staff, and students in classes, all from one source.

Every name in it contains a canary, a word that no other district has. With it a test can find one district's data in
another district's response.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import Principal, client_principal, system_principal
from app.access.work import Work, needs, unit
from app.cli.district import open_district
from app.core.clock import monday_of, now, today_in
from app.core.db import Base
from app.core.ids import new_id
from app.maintenance.models import TaskKind
from app.maintenance.service import run_task
from app.playbook.service import publish_rules
from app.roster.models import (
    Demographics,
    Enrollment,
    ExternalId,
    Org,
    Person,
    SchoolClass,
    Source,
)
from app.settings import Settings
from app.sis.scheduler.retention import KEPT
from tests.copied import Original, insert_copy, read_original

TIME_ZONE = "America/Chicago"
YEAR_BEGINS = monday_of(today_in(TIME_ZONE)) - timedelta(weeks=14)
"""The Monday 14 weeks before the present week of the district, so that no score of a phase lies in the future."""
ALL_SCOPES = frozenset(
    {str(can) for can in Can}
    - {"sis:sync", "response:judge", "webhook:deliver", "district:maintain", "district:operate"}
) | {"area:sel"}

CODES = text("""
SELECT 'area', code, NULL::integer, id FROM area WHERE district_id = :district
UNION ALL SELECT 'measure', code, NULL, id FROM measure WHERE district_id = :district
UNION ALL SELECT 'level', NULL, rank, id FROM level WHERE district_id = :district
""")
WEEKS = text("""
INSERT INTO school_week (district_id, school_id, monday, instructional, n)
SELECT :district, school, CAST(:begins AS date) + 7 * (n - 1), true, n
FROM unnest(CAST(:schools AS uuid[])) AS school, generate_series(1, 40) AS n
ON CONFLICT DO NOTHING
""")


@dataclass
class Town:
    """A district with the rows that tests need. The students `amy` and `ben` are at school one, and `cy` at school
    two.
    """

    slug: str
    district_id: UUID
    canary: str
    engine: AsyncEngine
    worker_engine: AsyncEngine
    settings: Settings
    source_id: UUID
    client_id: UUID = field(default_factory=new_id)
    schools: list[UUID] = field(default_factory=list)
    students: dict[str, UUID] = field(default_factory=dict)
    staff: dict[str, UUID] = field(default_factory=dict)
    classes: list[UUID] = field(default_factory=list)
    areas: dict[str, UUID] = field(default_factory=dict)
    measures: dict[str, UUID] = field(default_factory=dict)
    levels: dict[int, UUID] = field(default_factory=dict)

    def client(self, scopes: frozenset[str] = ALL_SCOPES, schools: tuple[UUID, ...] = ()) -> Principal:
        """Returns the principal of a client of this district."""
        return client_principal(self.district_id, self.client_id, "test client", scopes, schools)

    @asynccontextmanager
    async def unit(self, principal: Principal | None = None, operation: str = "test") -> AsyncIterator[Work]:
        """Opens a unit of work as role `api`, by default as a client with every scope."""
        principal_used = principal or self.client()
        async with unit(self.engine, principal_used, self.settings.keyring, operation) as work:
            yield work

    @asynccontextmanager
    async def house(self) -> AsyncIterator[Work]:
        """Yields a unit of work as role `worker`, for work of the service itself."""
        principal = system_principal(self.district_id, "test house")
        async with unit(self.worker_engine, principal, self.settings.keyring, "test") as work:
            yield work


async def maintain(town: Town, history: timedelta = KEPT) -> dict[TaskKind, int]:
    """Runs every recurring task of the district once, and returns the number of written rows by task."""
    worker = (town.worker_engine, town.settings.keyring, town.district_id)
    return {kind: (await run_task(*worker, kind, history))[0] for kind in TaskKind}


@needs(Can.SYNC_ROSTER)
async def lay(work: Work, *rows: Base) -> None:
    """Inserts rows table by table, in the order in which the tables first occur, each table by one statement.

    The rows do not become part of the ORM session, because its bookkeeping would take most of the time.
    """
    values: dict[tuple[type[Base], frozenset[str]], list[dict[str, Any]]] = {}
    for row in rows:
        attributes = {name: value for name, value in vars(row).items() if name != "_sa_instance_state"}
        values.setdefault((type(row), frozenset(attributes)), []).append(attributes)
    for table in dict.fromkeys(map(type, rows)):
        for (of, _), some in values.items():
            if of is table:
                await work.db.execute(insert(table), some)


@needs(Can.OPERATE)
async def _codes(work: Work, town: Town) -> None:
    of_kind: dict[str, dict[Any, UUID]] = {"area": town.areas, "measure": town.measures, "level": town.levels}
    for kind, code, rank, row_id in await work.db.execute(CODES, {"district": town.district_id}):
        of_kind[kind][rank or code] = row_id


_originals: dict[str, tuple[Town, Original]] = {}
"""The first district of each database, by the database's URL."""


async def found_town(name: str, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> Town:
    """Makes a district with a playbook and a roster.

    The first district of each database is created by the product. Later districts are copies of it.
    """
    known = _originals.get(settings.database_url)
    if known is None:
        town = await make_town(name, engine, worker_engine, settings)
        async with town.house() as work:
            original = await read_original(work, f"{name} district", [town.slug, town.canary, town.canary.lower()])
        unchanged = {id_: id_ for id_ in original.ids}
        _originals[settings.database_url] = _with_ids(town, unchanged), original
        return town
    first, original = known
    ids = original.new_ids()
    town = replace(_with_ids(first, ids), engine=engine, worker_engine=worker_engine, settings=settings)
    town.slug, town.canary, town.client_id = _names_of(name)
    names = {first.slug: town.slug, original.full_name: f"{name} district"}
    names |= {first.canary: town.canary, first.canary.lower(): town.canary.lower()}
    async with town.house() as work:
        await insert_copy(work, original, ids, names)
    return town


async def make_town(name: str, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> Town:
    """Makes a district by the product's own command, and a roster of two schools."""
    slug, canary, client_id = _names_of(name)
    district_id = await open_district(worker_engine, settings.keyring, slug, f"{name} district", TIME_ZONE)
    town = Town(slug, district_id, canary, engine, worker_engine, settings, new_id(), client_id)
    async with town.house() as work:
        await _codes(work, town)
        await lay(work, *_roster_rows(town))
        await _weeks(work, town)
    return town


def _names_of(name: str) -> tuple[str, str, UUID]:
    """Returns the short name, the canary (the word in all its names) and the client's id of a new district."""
    return f"{name}-{secrets.token_hex(4)}", f"Canary{secrets.token_hex(6)}", new_id()


def _with_ids(town: Town, ids: Mapping[UUID, UUID]) -> Town:
    """Returns the district with other ids for its rows."""

    def named(rows: dict[Any, UUID]) -> dict[Any, UUID]:
        return {key: ids[row] for key, row in rows.items()}

    return replace(
        town,
        district_id=ids[town.district_id],
        source_id=ids[town.source_id],
        schools=[ids[school] for school in town.schools],
        students=named(town.students),
        staff=named(town.staff),
        classes=[ids[class_id] for class_id in town.classes],
        areas=named(town.areas),
        measures=named(town.measures),
        levels=named(town.levels),
    )


def _roster_rows(town: Town) -> list[Base]:
    """Returns the rows of the source, the schools and the people; adds their ids to the district."""
    rows: list[Base] = [
        Source(district_id=town.district_id, id=town.source_id, name="sis", kind="oneroster-csv", created_at=now())
    ]
    for number in (1, 2):
        rows += _school(town, number)
    for student, school in (("amy", 0), ("ben", 0), ("cy", 1)):
        town.students[student] = new_id()
        rows += person_rows(town, student, "student", town.students[student], town.schools[school])
    for staff, role, school in (
        ("teacher", "teacher", 0),
        ("other_teacher", "teacher", 1),
        ("aide", "aide", 0),
        ("administrator", "administrator", 0),
        ("parent", "parent", 0),
    ):
        town.staff[staff] = new_id()
        rows += person_rows(town, staff, role, town.staff[staff], town.schools[school])
    # The teacher teaches amy and not ben; the other teacher teaches cy.
    rows += [
        _enroll(town, town.classes[0], town.staff["teacher"], "teacher", 0),
        _enroll(town, town.classes[0], town.students["amy"], "student", 0),
        _enroll(town, town.classes[1], town.staff["other_teacher"], "teacher", 1),
        _enroll(town, town.classes[1], town.students["cy"], "student", 1),
    ]
    return rows


@needs(Can.SYNC_ROSTER)
async def _weeks(work: Work, town: Town) -> None:
    await work.db.execute(WEEKS, {"district": town.district_id, "schools": town.schools, "begins": YEAR_BEGINS})


async def by_four_points(town: Town) -> None:
    """Publishes the four-point rule for all measures. It gives a verdict within ten weeks, on which some tests rely."""
    async with town.house() as work:
        await publish_rules(work, {"*": {"rule": "four-point", "parameters": {}}})
        work.pending_events.clear()  # so that a town's feed begins empty


def _school(town: Town, number: int) -> list[Base]:
    school, class_id = new_id(), new_id()
    town.schools.append(school)
    town.classes.append(class_id)
    of = {"district_id": town.district_id}
    return [
        Org(**of, id=school, name=f"School {number} {town.canary}", type="school"),
        _alias(town, "org", f"school-{number}", school),
        SchoolClass(
            **of,
            id=class_id,
            school_id=school,
            title=f"Class {number} {town.canary}",
            type="homeroom",
            grades=["03"],
            subjects=[],
            subject_codes=[],
            periods=[],
            academic_session_ids=[],
        ),
        _alias(town, "class", f"class-{number}", class_id),
    ]


def _alias(town: Town, kind: str, sourced_id: str, row_id: UUID) -> ExternalId:
    return ExternalId(
        district_id=town.district_id,
        source_id=town.source_id,
        kind=kind,
        sourced_id=sourced_id,
        row_id=row_id,
    )


def person_rows(town: Town, name: str, role: str, person_id: UUID, school: UUID) -> list[Base]:
    is_student = role == "student"
    person = Person(
        district_id=town.district_id,
        id=person_id,
        role=role,
        is_student=is_student,
        given_name=f"{name.title()}{town.canary}",
        family_name=f"Family{town.canary}",
        email=f"{name}.{town.canary}@example.org",
        enabled=True,
        grades=["03"] if is_student else [],
        school_ids=[school],
        user_ids=[],
        agent_sourced_ids=[],
        pinned=[],
    )
    rows = [person, _alias(town, "person", f"{name}-1", person_id)]
    if is_student:
        demographics = Demographics(
            district_id=town.district_id,
            person_id=person_id,
            school_ids=[school],
            birth_date=date(2018, 3, 4),
            city_of_birth=f"City{town.canary}",
            source_id=town.source_id,
        )
        rows.append(demographics)
    return rows


def _enroll(town: Town, class_id: UUID, person: UUID, role: str, school: int) -> Enrollment:
    enrollment_id = new_id()
    return Enrollment(
        district_id=town.district_id,
        id=enrollment_id,
        class_id=class_id,
        person_id=person,
        school_id=town.schools[school],
        role=role,
        is_student=role == "student",
        is_primary=role == "teacher",
        source_id=town.source_id,
        sourced_id=f"enrollment-{enrollment_id}",
    )
