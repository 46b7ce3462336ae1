"""Tests that the models agree with the schema: every table, column, type, nullability and key."""

import io
from collections.abc import Iterable

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import ARRAY, Column, MetaData, Table, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import UUID

from app.cli.migrate import alembic_config
from app.core.db import Base
from app.settings import Settings
from tests.house.source import import_models

WITHOUT_MODEL = {
    "alembic_version": "the migrations' own bookkeeping",
}
SPELT = {
    "VARCHAR": "text",
    "FLOAT": "double precision",
    "DOUBLE PRECISION": "double precision",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
}
"""The catalogue's names of types, keyed by SQLAlchemy's, where the two differ."""

Described = dict[str, tuple[dict[str, tuple[str, bool]], list[str]]]
"""Table: (column: (type, may be null)), primary key in order."""


def of_models(metadata: MetaData) -> Described:
    """Returns the tables and columns of the models."""
    return {
        table.name: (
            {column.name: (_type(column), bool(column.nullable)) for column in table.columns},
            [column.name for column in table.primary_key.columns],
        )
        for table in metadata.tables.values()
    }


async def of_database(db: asyncpg.Connection) -> Described:
    """Returns the tables and columns of the database."""
    columns = await db.fetch(
        """SELECT c.relname AS t, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
                  NOT a.attnotnull AS optional
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
             AND NOT a.attisdropped ORDER BY c.relname, a.attnum"""
    )
    keys = await db.fetch(
        """SELECT c.relname AS t, ARRAY (SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (n, place)
                  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n ORDER BY u.place) AS key
           FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype = 'p'"""
    )
    described: Described = {}
    for row in columns:
        described.setdefault(row["t"], ({}, []))[0][row["name"]] = (row["type"], row["optional"])
    for row in keys:
        if row["t"] in described:
            described[row["t"]][1].extend(row["key"])
    return described


def differences(models: Described, database: Described) -> list[str]:
    """Returns all differences between two descriptions of a schema."""
    findings = [f"{name} has a model and no table" for name in models.keys() - database.keys()]
    findings += [f"{name} has no model" for name in database.keys() - models.keys() - WITHOUT_MODEL.keys()]
    for name in sorted(models.keys() & database.keys()):
        (model, key), (table, their_key) = models[name], database[name]
        findings += [f"{name}.{column} is in one of the two only" for column in model.keys() ^ table.keys()]
        findings += [
            f"{name}.{column} is {model[column]} in the model and {table[column]} in the database"
            for column in model.keys() & table.keys()
            if model[column] != table[column]
        ]
        if sorted(key) != sorted(their_key):
            findings.append(f"{name} has the key {key} in the model and {their_key} in the database")
    return sorted(findings)


@pytest.fixture
async def database(settings: Settings) -> Described:
    """Returns the tables and columns of the migrated database."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    try:
        return await of_database(connection)
    finally:
        await connection.close()


def test_models_and_tables_agree(database: Described) -> None:
    """The models and the tables of the database agree in their columns, types, nullability and keys."""
    import_models()
    assert differences(of_models(Base.metadata), database) == []
    assert database.keys() >= WITHOUT_MODEL.keys()
    assert not WITHOUT_MODEL.keys() & of_models(Base.metadata).keys()


def test_each_planted_difference_is_found(database: Described) -> None:
    """`differences` reports a missing table, a missing model, a missing column, another type, another nullability and
    another key.
    """
    import_models()
    models = of_models(Base.metadata)
    columns, key = models["concern"]
    models["concern"] = (
        {name: one for name, one in columns.items() if name != "area_id"}
        | {"state": ("integer", False), "settled_at": (columns["settled_at"][0], False)},
        [*key, "student_id"],
    )
    models["planted"] = ({}, [])
    del models["area"]
    report = "\n".join(differences(models, database))
    for words in (
        "planted has a model and no table",
        "area has no model",
        "concern.area_id is in one of the two only",
        "concern.state is ('integer', False) in the model",
        "concern.settled_at is",
        "concern has the key",
    ):
        assert words in report


def test_types_are_compared_as_postgresql_spells_them() -> None:
    """Types are compared in PostgreSQL's spelling: an array of texts differs from a text, and a bigint from an
    integer.
    """
    table = Table("t", MetaData(), Column("a", ARRAY(Text)), Column("b", ARRAY(UUID)), Column("c", UUID))
    assert [_type(column) for column in table.columns] == ["text[]", "uuid[]", "uuid"]


def test_the_migrations_are_one_line(settings: Settings) -> None:
    """The migrations are numbered without a gap, each following the one before, and file names begin with the
    number.
    """
    scripts = list(ScriptDirectory.from_config(alembic_config(settings)).walk_revisions())
    assert [script.revision for script in reversed(scripts)] == list(_numbers(len(scripts)))
    assert [script.down_revision for script in reversed(scripts)] == [None, *_numbers(len(scripts) - 1)]
    assert all(script.path.rsplit("/", 1)[-1].startswith(f"{script.revision}_") for script in scripts)


def test_the_migrations_can_be_written_as_sql(settings: Settings, database: Described) -> None:
    """The migrations can be written as SQL without a connection, and every table is in it."""
    config, out = alembic_config(settings), io.StringIO()
    config.output_buffer = out
    command.upgrade(config, "head", sql=True)
    for table in database:
        assert f"CREATE TABLE {table} (" in out.getvalue()
    assert "%%" not in out.getvalue(), "a percent sign is written twice, as for a driver that takes parameters"


def _numbers(count: int) -> Iterable[str]:
    return (f"{number:04}" for number in range(1, count + 1))


def _type(column: Column[object]) -> str:
    compiled = column.type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]  # an untyped library
    body, array = compiled.removesuffix("[]"), "[]" if compiled.endswith("[]") else ""
    return SPELT.get(body, body.lower()) + array
