"""Tests that each statement names the district for every table, and that the check finds statements that do not."""

import pytest
from sqlalchemy import func, select, text

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.roster.models import Person
from tests.house import watch
from tests.house.statements import unbound
from tests.town import Town

TENANTS = {"person", "concern", "support", "support_concern", "event_counter", "delivery", "enrollment", "class"}

BOUND = [
    "SELECT p.a FROM person AS p WHERE p.district_id = $1::uuid AND p.x = $2",
    "SELECT a FROM person WHERE district_id = $1",
    'SELECT "class".id FROM "class" WHERE "class".district_id = $1',
    "SELECT id FROM person WHERE person.district_id = $1 AND id IN "
    "(SELECT e.person_id FROM enrollment e WHERE e.district_id = $2)",
    "SELECT c.id FROM concern c WHERE c.district_id = $1 AND NOT EXISTS "
    "(SELECT FROM support_concern, support WHERE support_concern.district_id = $1 AND support.district_id = $1)",
    "SELECT 1 FROM person p JOIN enrollment e ON e.district_id = p.district_id WHERE p.district_id = $1",
    "SELECT 1 FROM person JOIN enrollment USING (district_id, id) WHERE person.district_id = $1",
    "SELECT 1 FROM person p CROSS JOIN LATERAL (SELECT FROM enrollment e WHERE e.district_id = p.district_id) x "
    "WHERE p.district_id = $1",
    "WITH c AS MATERIALIZED (SELECT t.id FROM delivery t WHERE t.district_id = $1 FOR UPDATE SKIP LOCKED) "
    "UPDATE delivery t SET x = 1 FROM c WHERE t.district_id = $1 AND t.id = c.id",
    "INSERT INTO concern (district_id, id) VALUES ($1, $2) ON CONFLICT (district_id, id) DO UPDATE SET a = excluded.a",
    "INSERT INTO concern (district_id, id) SELECT $1, s.id FROM staging.concern s",
    "UPDATE person p SET a = s.a FROM staging.person s WHERE p.district_id = $1 AND p.a IS DISTINCT FROM s.a",
    "DELETE FROM concern WHERE district_id = $1",
    "SELECT 1 FROM support JOIN LATERAL (SELECT id FROM concern WHERE concern.district_id = $1 OFFSET 0) AS c ON true "
    "WHERE support.district_id = $1 FOR UPDATE OF support SKIP LOCKED",
    "ANALYZE person, enrollment",
    "SELECT * FROM app.client_directory($1)",
    "SELECT extract(epoch FROM person.at) FROM person WHERE person.district_id = $1 -- FROM concern",
    "SELECT ' FROM concern ' AS x FROM person WHERE $1 = person.district_id",
]
UNBOUND = [
    ("SELECT given_name FROM person", "person"),
    ("SELECT person.district_id FROM person WHERE id = $1", "person"),
    ("SELECT 1 FROM person p JOIN enrollment e ON e.district_id = p.district_id", "enrollment"),
    ("SELECT 1 FROM person p JOIN enrollment e ON e.person_id = p.id WHERE p.district_id = $1", "enrollment"),
    ("SELECT 1 FROM concern, support WHERE concern.district_id = $1 AND support.id = concern.x", "support"),
    ("SELECT 1 FROM person p WHERE p.district_id = $1 AND p.id IN (SELECT person_id FROM enrollment)", "enrollment"),
    ("SELECT 1 FROM person WHERE district_id = $1 UNION SELECT 1 FROM concern", "concern"),
    ("UPDATE concern SET state = $1 WHERE id = $2", "concern"),
    ("UPDATE concern SET district_id = $1 WHERE id = $2", "concern"),
    ("DELETE FROM concern WHERE id = $1", "concern"),
    ("DELETE FROM concern USING person p WHERE concern.district_id = $1 AND p.id = concern.x", "person"),
    ("INSERT INTO concern (id) VALUES ($1)", "concern"),
    ("INSERT INTO concern (district_id, id) SELECT p.district_id, p.id FROM person p", "person"),
    ("SELECT 1 FROM public.person", "person"),
    ("SELECT 1 FROM person WHERE person.district_id = $1 OR person.id = $2", "person"),
    ("SELECT person.district_id = $1 FROM person", "person"),
    ("SELECT 1 FROM person WHERE person.id = = $1", "(unreadable"),
]


@pytest.mark.parametrize("sql", BOUND)
def test_a_statement_that_names_its_district_passes(sql: str) -> None:
    """A statement that binds its district, directly or through another table, passes."""
    assert unbound(sql, TENANTS) == []


@pytest.mark.parametrize(("sql", "table"), UNBOUND)
def test_a_statement_that_leaves_it_out_is_found(sql: str, table: str) -> None:
    """The check finds each kind of statement that does not limit a table to the district."""
    assert any(finding.startswith(table) for finding in unbound(sql, TENANTS))


@pytest.mark.parametrize(
    ("sql", "is_bound"),
    [
        ("SELECT 1 FROM (SELECT * FROM staging.moved AS w WHERE w.district_id = $1 AND w.run_id = $2) AS m", True),
        ("INSERT INTO staging.moved (district_id, run_id, id) SELECT $1, $2, p.id FROM person p", True),
        ("SELECT 1 FROM staging.moved AS w WHERE w.district_id = $1", False),
        ("UPDATE person p SET a = m.a FROM staging.moved m WHERE p.district_id = $1 AND m.district_id = $1", False),
        ("DELETE FROM staging.moved AS w WHERE w.district_id = $1", False),
        ("INSERT INTO staging.moved (district_id, id) SELECT $1, p.id FROM person p", False),
    ],
)
def test_a_statement_that_leaves_the_run_out_is_found(sql: str, is_bound: bool) -> None:
    """The check finds a statement on staged rows that does not name the run. Every staged row belongs to one run."""
    assert (unbound(sql, {"staging.moved"}, "run_id") == []) == is_bound


async def test_the_watch_sees_what_the_rooms_send(north: Town) -> None:
    """The check finds statements of a unit of work that do not name the district.

    It finds them whether the unit of work uses the role `api` or the role `worker`, and in queries of SQLAlchemy as
    well as in plain SQL.
    """

    @needs(Can.READ_CONCERNS, Can.READ_ROSTER)
    async def forgetful(work: Work) -> None:
        await work.db.scalar(select(func.count()).select_from(Concern))
        await work.db.execute(text("SELECT p.id FROM person p JOIN concern c ON c.student_id = p.id"))

    @needs(Can.READ_ROSTER)
    async def careful(work: Work) -> None:
        await work.db.scalar(select(Person.id).where(Person.district_id == work.district_id).limit(1))

    for opened in (north.unit, north.house):
        watch.findings.clear()
        async with opened() as work:
            await careful(work)
            assert watch.findings == []
            await forgetful(work)
        assert [finding.split()[0] for finding in watch.findings] == ["concern", "person", "concern"]
    watch.findings.clear()
    assert watch.seen()


def test_every_tenant_table_is_watched() -> None:
    """Every table with a district is among the tables that are checked."""
    assert {"person", "concern", "score", "verdict", "event", "webhook_delivery", "sis_run"} <= watch.tenant_tables()
    assert not {"client", "client_secret"} & watch.tenant_tables()


@pytest.mark.parametrize(
    ("statement", "is_read"),
    [
        ("ALTER TABLE concern ADD COLUMN planted text", False),
        ("CREATE INDEX planted ON concern (state)", False),
        ("CREATE TABLE planted (id uuid REFERENCES concern (id))", False),
        ("CREATE TABLE planted AS SELECT id FROM concern", True),
        ("CREATE VIEW planted AS SELECT id FROM concern", True),
        ("INSERT INTO concern (id) VALUES ($1)", True),
        ("\n WITH some AS (SELECT id FROM concern) SELECT id FROM some", True),
    ],
)
def test_only_statements_without_rows_are_left_unread(statement: str, is_read: bool) -> None:
    """Statements that define tables or rights are not checked. Every statement that reads or writes rows is checked,
    whatever its first word.
    """
    assert bool(watch.findings_of(statement)) is is_read
