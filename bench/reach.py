"""Compares several ways to give a caseload to row-level security: a list, a text, an array column, a view.

There are 600,000 rows about 6,000 students. The caseload has 150 students, or with `--caseload 1000` the students of a
team. `python -m bench.reach` runs it. Each figure is the median of runs in one session, compared with the same
statement without a policy. The last lines show two further costs. One is the beginning of a transaction for a caseload.
The other is the update of the array column for a grade of 250 students.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
from rich.console import Console
from rich.table import Table

from app.access.principal import parts_of
from app.core.embedded import EmbeddedPostgres
from bench.lists import measure_lists

STUDENTS, CASELOAD, RUNS = 6_000, 150, 15
GRADE = 250
ENOUGH = 5.0  # seconds for one figure
MAKE = """
DROP SCHEMA IF EXISTS bench_reach CASCADE;
CREATE SCHEMA bench_reach;
SET search_path = bench_reach;
CREATE TABLE student AS SELECT gen_random_uuid() AS id, n, gen_random_uuid() AS staff
FROM generate_series(1, {students}) n;
CREATE TABLE plain (district_id uuid, student_id uuid, taken_on date, value float8, staff_ids uuid[]);
INSERT INTO plain
SELECT '00000000-0000-0000-0000-000000000001', s.id, date '2026-01-01' + (day % 200), day,
       ARRAY[s.staff] || CASE WHEN s.n <= {caseload} THEN ARRAY['00000000-0000-0000-0000-0000000000aa'::uuid] END
FROM student s, generate_series(1, {each}) day ORDER BY random();
CREATE TABLE listed AS TABLE plain;
CREATE TABLE arrayed AS TABLE plain;
CREATE TABLE texted AS TABLE plain;
CREATE TABLE parted AS TABLE plain;
CREATE TABLE finer AS TABLE plain;
CREATE TABLE viewed AS TABLE plain;
CREATE TABLE caseload AS SELECT '00000000-0000-0000-0000-000000000001'::uuid AS district_id,
       '00000000-0000-0000-0000-0000000000aa'::uuid AS staff_id, id AS student_id FROM student WHERE n <= {caseload};
CREATE INDEX ON plain (district_id, student_id);
CREATE INDEX ON listed (district_id, student_id);
CREATE INDEX ON arrayed (district_id, student_id);
CREATE INDEX ON texted (district_id, student_id);
CREATE INDEX ON parted (district_id, student_id);
CREATE INDEX ON finer (district_id, student_id);
CREATE INDEX ON viewed (district_id, student_id);
CREATE UNIQUE INDEX ON caseload (district_id, staff_id, student_id);
"""
DISTRICT = "district_id = nullif(current_setting('app.district_id', true), '')::uuid"
POLICIES = {
    "listed": f"{DISTRICT} AND (current_setting('app.reach', true) = 'district' OR "
    "student_id = ANY (nullif(current_setting('app.students', true), '')::uuid[]))",
    "texted": f"{DISTRICT} AND (current_setting('app.reach', true) = 'district' OR "
    "strpos(current_setting('app.students', true), student_id::text) > 0)",
    "parted": f"{DISTRICT} AND (current_setting('app.reach', true) = 'district' OR "
    "strpos(current_setting('app.students_' || right(student_id::text, 1), true), student_id::text) > 0)",
    "finer": f"{DISTRICT} AND (current_setting('app.reach', true) = 'district' OR "
    "strpos(current_setting('app.fine_' || right(student_id::text, 2), true), student_id::text) > 0)",
    "arrayed": f"{DISTRICT} AND (current_setting('app.reach', true) = 'district' OR "
    "nullif(current_setting('app.person_id', true), '')::uuid = ANY (staff_ids))",
    "viewed": DISTRICT,
}
VIEW = """
CREATE VIEW bench_reach.reached WITH (security_invoker = true) AS
SELECT v.* FROM bench_reach.viewed v JOIN bench_reach.caseload c
  ON c.district_id = v.district_id AND c.student_id = v.student_id
WHERE c.staff_id = nullif(current_setting('app.person_id', true), '')::uuid
"""
STATEMENTS = {
    "a page of the caseload, named by the statement": "SELECT value FROM {table} "
    "WHERE district_id = $1 AND student_id = ANY ($2) ORDER BY student_id LIMIT 50",
    "all of the caseload, named by the statement": "SELECT count(*), sum(value) FROM {table} "
    "WHERE district_id = $1 AND student_id = ANY ($2)",
    "all of the caseload, the policy alone": "SELECT count(*), sum(value) FROM {table} WHERE district_id = $1",
}


BEGIN = """
CREATE FUNCTION bench_reach.enter(names text[], parts text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR place IN 1..cardinality(names) LOOP
        EXECUTE format('SET LOCAL app.%s = %L', names[place], parts[place]);
    END LOOP;
END $$
"""
WRITE = """UPDATE bench_reach.arrayed SET staff_ids = staff_ids || '00000000-0000-0000-0000-0000000000bb'::uuid
WHERE student_id IN (SELECT id FROM bench_reach.student WHERE n > {students} - {grade})"""


async def measure(url: str, rows: int, caseload: int = CASELOAD) -> Table:
    """Measures each statement with each kind of row-level security policy, and returns the times as a table.

    Creates the tables for this, and drops them at the end.
    """
    connection = await asyncpg.connect(url)
    table = Table(title=f"{rows:,} rows, a caseload of {caseload:,}: median ms")
    table.add_column("statement")
    forms = {
        "no policy": "plain",
        "bound list": "listed",
        "bound text": "texted",
        "in 16 parts": "parted",
        "in 256 parts": "finer",
        "array column": "arrayed",
        "view": "reached",
    }
    for form in forms:
        table.add_column(form, justify="right")
    try:
        await connection.execute(MAKE.format(students=STUDENTS, caseload=caseload, each=rows // STUDENTS))
        for name, condition in POLICIES.items():
            await connection.execute(
                f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; ALTER TABLE {name} FORCE ROW LEVEL SECURITY;"
                f"CREATE POLICY reach ON {name} USING ({condition})"
            )
        await connection.execute(VIEW)
        await connection.execute("ANALYZE plain, listed, texted, parted, finer, arrayed, viewed, caseload")
        district = await connection.fetchval("SELECT district_id FROM caseload LIMIT 1")
        students = [row["student_id"] for row in await connection.fetch("SELECT student_id FROM caseload")]
        await _bind(connection, str(district), students)
        for words, statement in STATEMENTS.items():
            takes_students = "$2" in statement
            cells = []
            for form, relation in forms.items():
                if form == "no policy" and not takes_students:
                    cells.append("–")  # without a policy this statement would read every row
                    continue
                arguments = (district, students) if takes_students else (district,)
                cells.append(f"{await _median(connection, statement.format(table=relation), arguments):.1f}")
            table.add_row(words, *cells)
        await connection.execute(BEGIN)
        bound = bindings(students)
        begins = [f"{await _begin(connection, bound[form]):.1f}" if form in bound else "–" for form in forms]
        table.add_row("BEGIN, bound", *begins)
        writes = [f"{await _write(connection):,.0f}" if form == "array column" else "–" for form in forms]
        table.add_row(f"a team for a grade of {GRADE}", *writes)
    finally:
        await connection.execute("DROP SCHEMA IF EXISTS bench_reach CASCADE")
        await connection.close()
    return table


def bindings(students: list[UUID]) -> dict[str, dict[str, str]]:
    """Returns the session settings for each way to give a caseload to row-level security, keyed by the name of the way.

    The names of the settings lack their prefix `app.`.
    """
    finer: dict[str, list[str]] = {f"fine_{place:02x}": [] for place in range(256)}
    for student in students:
        finer[f"fine_{student.int % 256:02x}"].append(str(student))
    whole = {"students": f"{{{','.join(map(str, students))}}}"}
    return {
        "bound list": whole,
        "bound text": whole,
        "in 16 parts": {f"students_{digit:x}": part for digit, part in enumerate(parts_of(students))},
        "in 256 parts": {name: ",".join(ids) for name, ids in finer.items()},
        "array column": {"person_id": "00000000-0000-0000-0000-0000000000aa"},
    }


async def _bind(connection: asyncpg.Connection, district: str, students: list[UUID]) -> None:
    settings = {"district_id": district, "reach": "caseload"}
    for bound in bindings(students).values():
        settings |= bound
    for name, value in settings.items():
        await connection.execute("SELECT set_config($1, $2, false)", f"app.{name}", value)


async def _begin(connection: asyncpg.Connection, settings: dict[str, str]) -> float:
    """Returns the median milliseconds of a transaction that only sets these session settings, sent as one message."""
    lists = [",".join(f"'{text}'" for text in texts) for texts in (settings, settings.values())]
    statement = f"BEGIN; SELECT bench_reach.enter(ARRAY[{lists[0]}], ARRAY[{lists[1]}])"
    took = []
    for _ in range(RUNS * 4):
        began = time.perf_counter()
        await connection.execute(statement)
        await connection.execute("COMMIT")
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def _write(connection: asyncpg.Connection) -> float:
    """Returns the milliseconds of the update that adds a team to the rows about a grade's students."""
    await connection.execute("SET app.reach = 'district'")
    began = time.perf_counter()
    await connection.execute(WRITE.format(students=STUDENTS, grade=GRADE))
    return (time.perf_counter() - began) * 1000


async def _median(connection: asyncpg.Connection, statement: str, arguments: tuple[object, ...]) -> float:
    took = []
    while len(took) < RUNS and sum(took) < ENOUGH * 1000:
        began = time.perf_counter()
        await connection.fetch(statement, *arguments)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


@contextmanager
def server() -> Iterator[str]:
    """Yields the URL of the database server of AIMLINE_DATABASE_URL, or else of an embedded server for this run."""
    if os.environ.get("AIMLINE_DATABASE_URL"):
        yield os.environ["AIMLINE_DATABASE_URL"]
        return
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        yield postgres.url()


def main() -> None:
    """Runs the benchmark that the options name, and prints the table of its figures."""
    parser = argparse.ArgumentParser(prog="bench.reach")
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--caseload", type=int, default=CASELOAD, help="students of the caseload, or of the teams")
    parser.add_argument("--lists", action="store_true", help="pages of the product's own lists, of --rows concerns")
    options = parser.parse_args()
    with server() as url:
        rows = options.rows
        figures = measure_lists(url, rows) if options.lists else measure(url, rows, options.caseload)
        Console(width=120).print(asyncio.run(figures))


if __name__ == "__main__":
    main()
