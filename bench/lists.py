"""Measures the time to read one page of concerns: for a school, for a caseload, and for the district.

There are a million concerns of 100,000 students in 200 schools, one of which is small; three students in a hundred
attend a second school. The pages are read as the role `api` under row-level security. `python -m bench.reach --lists`
runs it; each figure is the median of runs of the product's own queries.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
from rich.table import Table
from sqlalchemy import event, text

from app.access.permission import Can
from app.access.principal import Principal, Reach
from app.access.work import Work, needs, unit
from app.cli.district import open_district
from app.cli.migrate import migrate
from app.concern.queries import ConcernFilter, concerns
from app.core.crypto import generate_key
from app.core.db import open_engine
from app.core.page import Keyset, keyset
from app.roster.queries import StudentFilter, students
from app.settings import Settings

STUDENTS, SCHOOLS, RUNS = 100_000, 200, 30
Read = Callable[[Work, UUID | None], Awaitable[int]]
SMALL = 300  # students of the small school
MAKE = """
INSERT INTO org (district_id, id, name, type) SELECT $1, md5('school' || n)::uuid, 'School ' || n, 'school'
FROM generate_series(0, {schools}) n;
INSERT INTO person (district_id, id, role, is_student, given_name, family_name, enabled, grades, school_ids, user_ids,
                    agent_sourced_ids, pinned)
SELECT $1, md5('student' || n)::uuid, 'student', true, 'Given', 'Family ' || md5(n::text), true, '{{03}}',
       ARRAY[md5('school' || CASE WHEN n <= {small} THEN 0 ELSE 1 + n % {schools} END)::uuid]
       || CASE WHEN n % 33 = 0 THEN ARRAY[md5('school' || n * 7 % {schools})::uuid] ELSE '{{}}' END,
       '{{}}', '{{}}', '{{}}'
FROM generate_series(1, {students}) n;
INSERT INTO concern (district_id, id, student_id, school_ids, area_id, state, description, raised_on, created_at,
                     version)
SELECT $1, md5('concern' || n)::uuid, p.id, p.school_ids, a.id, 'raised', 'Reads slowly.', current_date, now(), 1
FROM generate_series(1, {rows}) n
JOIN person p ON p.district_id = $1 AND p.id = md5('student' || 1 + n % {students})::uuid
JOIN (SELECT id FROM area WHERE district_id = $1 ORDER BY code LIMIT 1) a ON true
"""
BEFORE = """SELECT c.* FROM concern AS c WHERE c.district_id = CAST(:district AS uuid)
    AND c.school_ids @> CAST(ARRAY[:school] AS uuid[]) ORDER BY c.id LIMIT 51"""
"""The earlier form of the statement, which cannot use any index under row-level security."""


async def measure_lists(owner_url: str, rows: int) -> Table:
    """Fills the district in the database, measures the pages, and returns the figures."""
    settings = Settings(database_url=owner_url, key=generate_key("k1"), sandbox=True)
    await asyncio.to_thread(migrate, settings)
    engine = open_engine(settings.url_of("api"), name="bench api")
    worker = open_engine(settings.url_of("worker"), name="bench worker")
    district_id = await open_district(worker, settings.keyring, "bench", "Bench", "UTC")
    await _fill(owner_url, district_id, rows)
    principals = await _principals(owner_url, district_id)
    table = Table(title=f"{rows:,} concerns, {STUDENTS:,} students, {SCHOOLS} schools: a page of 50, median ms")
    for column in ("principal", "list", "rows", "as served", "PostgreSQL plans", "and executes"):
        table.add_column(column, justify="left" if column in ("principal", "list") else "right")
    for name, principal, school in principals:
        for subject, read in (("concerns", _concerns), ("students", _students)):
            took, count = [], 0
            async with unit(engine, principal, settings.keyring, "bench") as work:
                for _ in range(RUNS):
                    began = time.perf_counter()
                    count = await read(work, school)
                    took.append((time.perf_counter() - began) * 1000)
                plans = await _explained(work, read, school)
            table.add_row(name, subject, str(count), f"{statistics.median(took):.1f}", *plans)
    async with unit(engine, principals[3][1], settings.keyring, "bench") as work:
        plans = await _explained(work, _before, principals[1][2])
        table.add_row("the small school, earlier form", "concerns", "", "", *plans)
    await engine.dispose()
    await worker.dispose()
    return table


@needs(Can.READ_CONCERNS)
async def _explained(work: Work, read: Read, school: UUID | None) -> tuple[str, str]:
    """Returns the median planning and execution times that PostgreSQL reports for a read's last statement."""
    statements: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        statements.append((statement, parameters))

    def keep_of_driver(query: Any) -> None:
        statements.append((query.query, query.args))

    engine: Any = work.db.bind
    driver: Any = (await (await work.db.connection()).get_raw_connection()).driver_connection
    event.listen(engine.sync_connection, "before_cursor_execute", keep)
    try:
        with driver.query_logger(keep_of_driver):
            await read(work, school)
    finally:
        event.remove(engine.sync_connection, "before_cursor_execute", keep)
    statement, parameters = statements[-1]
    times = []
    for _ in range(RUNS):
        row = await driver.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", *parameters)
        (plan,) = row
        times.append((plan["Planning Time"], plan["Execution Time"]))
    planning, execution = (statistics.median(column) for column in zip(*times, strict=True))
    return f"{planning:.2f}", f"{execution:.2f}"


@needs(Can.READ_CONCERNS)
async def _before(work: Work, school: UUID | None) -> int:
    values = {"district": str(work.district_id), "school": str(school)}
    return len((await work.db.execute(text(BEFORE), values)).all())


async def _concerns(work: Work, school: UUID | None) -> int:
    return len((await concerns(work, _first(work), ConcernFilter(school_id=school))).rows)


async def _students(work: Work, school: UUID | None) -> int:
    return len((await students(work, _first(work), StudentFilter(school_id=school))).rows)


def _first(work: Work) -> Keyset:
    return keyset(work.district_id, "bench", {}, None, 50)


async def _fill(owner_url: str, district_id: UUID, rows: int) -> None:
    connection = await asyncpg.connect(owner_url)
    sizes = {"students": STUDENTS, "schools": SCHOOLS, "small": SMALL, "rows": rows}
    for statement in MAKE.format(**sizes).replace("$1", f"'{district_id}'").split(";\n"):
        await connection.execute(statement)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def _principals(owner_url: str, district_id: UUID) -> list[tuple[str, Principal, UUID | None]]:
    connection = await asyncpg.connect(owner_url)
    schools = [
        row[0] for row in await connection.fetch("SELECT md5('school' || n)::uuid FROM generate_series(0, 20) n")
    ]
    caseload = "SELECT id FROM person WHERE is_student ORDER BY md5(id::text || $1) LIMIT $2"
    few, many = [[row[0] for row in await connection.fetch(caseload, str(n), n)] for n in (150, 1000)]
    await connection.close()
    scopes = frozenset(Can)
    whole = Principal(district_id, "bench", Reach.DISTRICT, scopes)
    return [
        ("the district", whole, None),
        ("the district, of the small school", whole, schools[0]),
        ("the district, of a school", whole, schools[1]),
        ("the small school", Principal(district_id, "bench", Reach.SCHOOLS, scopes, (schools[0],)), None),
        ("a school", Principal(district_id, "bench", Reach.SCHOOLS, scopes, (schools[1],)), None),
        ("twenty schools", Principal(district_id, "bench", Reach.SCHOOLS, scopes, tuple(schools[1:])), None),
        ("a caseload of 150", Principal(district_id, "bench", Reach.CASELOAD, scopes, (), tuple(few)), None),
        ("a caseload of 1,000", Principal(district_id, "bench", Reach.CASELOAD, scopes, (), tuple(many)), None),
    ]
