"""Tests that a revision never changes after its release, and that applying one loses no district's rows."""

import ast
import asyncio
import io
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from alembic import command

from app.cli.migrate import alembic_config, expected_schema, limit_database, make_roles, migrate
from app.core.schema_lines import describe_schema
from app.settings import Settings
from tests.databases import drop_database
from tests.house.filled import Columns, fill, rows_of
from tests.house.source import REPOSITORY
from tests.operations.conftest import as_owner, with_database

MIGRATIONS = REPOSITORY / "migrations"
NOT_FROZEN = ("env.py",)
"""Files that run the revisions with the present settings and do not define the schema."""
MAY_BE_IMPORTED = ("alembic", "sqlalchemy", "migrations", "collections")
"""The packages that migrations may import, because they are frozen or independent of the product."""
BASELINE = "0001"
ORDER = ("CREATE TABLE", "CREATE INDEX", "CREATE POLICY", "GRANT", "SELECT create_", "FOREIGN KEY")
STEP = re.compile(
    r"(?:(?P<distribution>SELECT create_)\w+\('(?P<distributed>[\w.]+)'"
    r"|(?P<table_step>CREATE TABLE|CREATE UNLOGGED TABLE|ALTER TABLE) (?P<table>[\w.]+)"
    r"|(?P<step>CREATE INDEX|CREATE POLICY|GRANT) .*? ON (?P<on>[\w.]+))"
)
RECOUNTED = {"settlement": ("attempts",), "webhook_delivery": ("attempts", "asked_after")}
"""The columns whose count of attempts 0002 sets to zero, next to the claim number that continues from it."""


def frozen_files() -> list[Path]:
    """Returns the files that define the revisions. They never change after a release."""
    return [path for path in sorted(MIGRATIONS.rglob("*.py")) if path.name not in NOT_FROZEN]


def imports_that_change(source: str) -> list[str]:
    """Returns the modules that a migration imports and that may change after it was made."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module if node.module and not node.level else "(a relative import)")
    return [name for name in names if name.split(".")[0] not in MAY_BE_IMPORTED]


def out_of_order(sql: str) -> list[str]:
    """Returns the steps of creating a table that come too early or too late in the SQL.

    The order is columns, indexes, policies, grants and then foreign keys. A foreign key that comes earlier would exist
    before the table is distributed.
    """
    findings = []
    reached: dict[str, int] = {}
    for statement in re.sub(r"^\s*--.*$", "", sql, flags=re.MULTILINE).split(";\n"):
        text = " ".join(statement.split())
        match = STEP.match(text)
        if match is None:
            continue
        step = (match["table_step"] or match["step"] or match["distribution"]).replace(" UNLOGGED", "")
        table = match["table"] or match["on"] or match["distributed"]
        adds_key = "FOREIGN KEY" in text
        if step == "CREATE TABLE" and adds_key:
            findings.append(f"{table}: a foreign key within CREATE TABLE")
        if step == "ALTER TABLE":
            if not adds_key:
                continue
            step = "FOREIGN KEY"
        if step != "CREATE TABLE" and table not in reached:
            continue
        if ORDER.index(step) < reached.get(table, 0):
            findings.append(f"{table}: {step} too late")
        reached[table] = max(ORDER.index(step), reached.get(table, 0))
    return findings


def test_migrations_import_nothing_that_can_change() -> None:
    """Migrations import nothing that can change, so that a revision always has the same effect."""
    files = frozen_files()
    assert {path.name: imports_that_change(path.read_text()) for path in files} == {path.name: [] for path in files}


@pytest.mark.parametrize(
    "fault",
    [
        "from app.access.policies import DISTRICT",
        "import app.core.db",
        "def upgrade():\n    from app.core import ids",
        "from . import tenant",
        "from tests.town import Town",
    ],
)
def test_an_import_of_the_product_is_found(fault: str) -> None:
    """An import of the product in a migration is found, at the top of the file or within a function."""
    assert len(imports_that_change(f"from alembic import op\n{fault}")) == 1


@pytest.mark.parametrize("citus", [False, True])
def test_tables_are_made_in_the_order_of_a_distributed_database(settings: Settings, citus: bool) -> None:
    """A migration creates a table's columns, indexes, policies and grants, then distributes it on Citus, then adds
    foreign keys.
    """
    config, out = alembic_config(settings), io.StringIO()
    config.output_buffer, config.attributes["citus"] = out, citus
    command.upgrade(config, "head", sql=True)
    sql = out.getvalue()
    assert [finding for revision in sql.split("-- Running upgrade") for finding in out_of_order(revision)] == []
    tables = set(re.findall(r"CREATE (?:UNLOGGED )?TABLE ([\w.]+)", sql)) - {"alembic_version"}
    distributed = re.findall(r"SELECT create_distributed_table\('([\w.]+)', 'district_id'", sql)
    copied = re.findall(r"SELECT create_reference_table\('(\w+)'\)", sql)
    assert sorted([*distributed, *copied]) == (sorted(tables) if citus else [])
    assert sorted(copied) == (["client", "client_secret", "district"] if citus else [])


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("CREATE TABLE a (b int, FOREIGN KEY (b) REFERENCES c (d))", "a: a foreign key within CREATE TABLE"),
        (
            "ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES c (d);\nGRANT SELECT ON a TO api",
            "a: GRANT too late",
        ),
        ("CREATE POLICY p ON a USING (b);\nCREATE INDEX i ON a (b)", "a: CREATE INDEX too late"),
    ],
)
def test_a_step_out_of_order_is_found(sql: str, finding: str) -> None:
    """A planted step of a migration in the wrong order is found."""
    assert out_of_order(f"CREATE TABLE a (b int);\n{sql}") == [finding]


@pytest.fixture
async def empty(server: Settings) -> AsyncIterator[Settings]:
    """Yields the settings of an empty database, which is dropped at the end."""
    name = f"aimline_upgraded_{secrets.token_hex(4)}"
    await as_owner(server, f"CREATE DATABASE {name}")
    try:
        yield with_database(server, name)
    finally:
        await drop_database(server.url_of("owner"), name)


async def test_a_filled_database_of_the_first_revision_is_upgraded(empty: Settings) -> None:
    """A filled database of the first revision is upgraded: all rows are kept, and the schema equals a fresh one."""
    districts = [uuid4(), uuid4()]
    await make_roles(empty)
    await limit_database(empty)
    await asyncio.to_thread(command.upgrade, alembic_config(empty), BASELINE)
    owner = await asyncpg.connect(empty.url_of("owner"))
    try:
        filled = await fill(owner, districts)
        columns = {
            table: {name: type_ for name, type_ in names.items() if name not in RECOUNTED.get(table, ())}
            for table, names in filled.items()
        }
        before = await rows_of(owner, columns)
        assert all(len(rows) == len(districts) for rows in before.values()), before
        await asyncio.to_thread(migrate, empty)
        assert await rows_of(owner, columns) == before
        roles = {role: empty.role_name(role) for role in ("api", "worker")}
        assert await describe_schema(owner, roles) == expected_schema()[1]
        for district in districts:
            assert await _visible(empty, district, columns) == {str(district)}
    finally:
        await owner.close()


FORMER_REACH = """
DO $$
DECLARE
    p record;
    present constant text := '= ANY (ARRAY[''schools''::text, ''caseload''::text])';
BEGIN
    FOR p IN SELECT n.schemaname, n.tablename, replace(n.qual, present, '= ''caseload''::text') AS condition
             FROM pg_policies AS n WHERE n.policyname = 'tenant' AND position(present IN n.qual) > 0 LOOP
        EXECUTE format('ALTER POLICY tenant ON %I.%I USING (%s) WITH CHECK (%s)',
                       p.schemaname, p.tablename, p.condition, p.condition);
    END LOOP;
END $$
"""
"""Puts the condition of reach before revision 0014 in the place of the present one."""


async def test_the_reach_of_a_former_version_gets_the_students_of_teams(empty: Settings) -> None:
    """After an upgrade from a version without teams, the policies let members see the students of their teams."""
    await make_roles(empty)
    await limit_database(empty)
    await asyncio.to_thread(command.upgrade, alembic_config(empty), "0013")
    owner = await asyncpg.connect(empty.url_of("owner"))
    former = "SELECT count(*) FROM pg_policies WHERE position($1 IN qual) > 0"
    only_caseload = "(current_setting('app.reach'::text, true) = 'caseload'::text)"
    try:
        await owner.execute(FORMER_REACH)
        assert await owner.fetchval(former, only_caseload) > 20
        await asyncio.to_thread(migrate, empty)
        assert await owner.fetchval(former, only_caseload) == 0
        roles = {role: empty.role_name(role) for role in ("api", "worker")}
        assert await describe_schema(owner, roles) == expected_schema()[1]
    finally:
        await owner.close()


async def _visible(settings: Settings, district: UUID, columns: Columns) -> set[str]:
    """Connects as a worker of one district and returns the districts of all rows that it can read."""
    tables = [table for table, names in columns.items() if "district_id" in names]
    worker = await asyncpg.connect(settings.url_of("worker"))
    try:
        async with worker.transaction():
            await worker.execute("SELECT app.enter($1, 'district', '', '', '{*}')", district)
            rows = {table: await worker.fetch(f"SELECT district_id::text FROM {table}") for table in tables}
        assert [table for table in tables if not rows[table]] == [], "the district does not see its own row"
        return {row[0] for table in tables for row in rows[table]}
    finally:
        await worker.close()
