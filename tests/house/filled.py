"""Fills every table of a schema with SQL, without the product's code, because the code may be newer than the schema.

Each table gets one row for each district. Every column gets a value of its type, and a foreign key refers to the row of
the same district. The tables and columns are read from PostgreSQL's catalogue.
"""

from collections.abc import Sequence
from graphlib import TopologicalSorter
from uuid import UUID, uuid5

import asyncpg

VALUES = {
    "uuid": "'{key}'",
    "uuid[]": "ARRAY['{key}'::uuid]",
    "text": "'{column}'",
    "text[]": "ARRAY['{column}']",
    "integer": "7",
    "bigint": "7",
    "double precision": "7.5",
    "boolean": "true",
    "date": "'2026-09-01'",
    "timestamp with time zone": "'2026-09-01 12:00+00'",
    "jsonb": "'{{}}'",
    "bytea": "'\\x07'",
}
"""SQL of a value of each type; `{key}` is an id of the row's own district."""
ALWAYS_NULL = ("person.row_lock",)
COLUMNS = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attgenerated = '' AND c.relname <> 'alembic_version' ORDER BY c.relname, a.attnum
"""
REFERENCES = """
SELECT h.relname AS table, a.attname AS column, t.relname AS target
FROM pg_constraint k JOIN pg_class h ON h.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
JOIN pg_attribute a ON a.attrelid = h.oid AND a.attnum = k.conkey[cardinality(k.conkey)]
WHERE k.contype = 'f' AND h.relnamespace = 'public'::regnamespace
"""
Columns = dict[str, dict[str, str]]
"""Table: (column: type)."""


async def columns_of(db: asyncpg.Connection) -> Columns:
    """Returns the columns in which a value can be written, with their types, keyed by table."""
    columns: Columns = {}
    for row in await db.fetch(COLUMNS):
        columns.setdefault(row["table"], {})[row["column"]] = row["type"]
    return columns


async def fill(db: asyncpg.Connection, districts: Sequence[UUID]) -> Columns:
    """Writes one row of each district into every table, as role `owner`; returns the columns that it wrote."""
    columns = await columns_of(db)
    targets: dict[str, dict[str, str]] = {table: {} for table in columns}
    for row in await db.fetch(REFERENCES):
        targets[row["table"]][row["column"]] = row["target"]
    order = TopologicalSorter({table: set(refs.values()) - {table} for table, refs in targets.items()})
    for table in order.static_order():
        for district in districts:
            values = [
                "NULL" if f"{table}.{column}" in ALWAYS_NULL else _value(table, column, type_, targets[table], district)
                for column, type_ in columns[table].items()
            ]
            names = ", ".join(columns[table])
            await db.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join(values)})")
    return columns


async def rows_of(db: asyncpg.Connection, columns: Columns) -> dict[str, list[str]]:
    """Returns the rows of each table as text. Tables and columns that no longer exist are left out."""
    now = await columns_of(db)
    rows: dict[str, list[str]] = {}
    for table in columns.keys() & now.keys():
        names = ", ".join(f"{name}::text" for name in columns[table] if name in now[table])
        rows[table] = sorted(row[0] for row in await db.fetch(f"SELECT jsonb_build_array({names})::text FROM {table}"))
    return rows


def _value(table: str, column: str, type_: str, targets: dict[str, str], district: UUID) -> str:
    if column == "district_id":
        return f"'{district}'"
    if column == "slug":
        return f"'slug-{district}'"
    owner = targets.get(column, table if column == "id" else column)
    # A client is no district's; here each district has one of its own.
    key = uuid5(district, "client" if column == "client_id" else owner)
    return f"{VALUES[type_].format(key=key, column=column)}::{type_}"
