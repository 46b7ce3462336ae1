"""Runs what the sync is compared with: a bare COPY, and a bare COPY with one INSERT … SELECT for each table (the peer).

The peer writes the same tables as the sync's first load, as the same role, under the same policies, keys, foreign keys
and indexes. It trusts its files: it checks, compares, counts and reports nothing, and its ids are md5 hashes of
sourcedIds, so that it need not look anything up.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from app.access.principal import system_principal
from app.core.ids import new_id
from app.settings import Settings
from app.sis.engine.intake.load import Stream
from app.sis.engine.intake.screen import Screen
from app.sis.kinds import BY_NAME, KINDS, Kind, Ref
from app.sis.oneroster_csv.archive import open_zip
from app.sis.port import Delivery

CASTS = {
    "date": "::date",
    "day": "::date",
    "instant": "::timestamptz",
    "boolean": "::boolean",
    "number": "::float8",
    "year": "::integer",
    "json": "::jsonb",
}


async def bare_copy(settings: Settings, path: Path, folder: Path) -> float:
    """Returns the seconds to load the unpacked files by COPY into plain tables of text, in one transaction."""
    connection = await asyncpg.connect(settings.url_of("worker"))
    try:
        began = time.perf_counter()
        async with connection.transaction():
            tables = await _copy(connection, path, folder, "")
        took = time.perf_counter() - began
        await connection.execute(f"DROP TABLE {', '.join(tables)}")
    finally:
        await connection.close()
    return took


async def streamed_copy(settings: Settings, path: Path, *, screened: bool) -> tuple[float, float]:
    """Returns the elapsed seconds and the processor seconds to load the files by COPY from the zip, as a sync does.

    With `screened`, columns, quotes, line ends and encoding are also checked.
    """
    connection = await asyncpg.connect(settings.url_of("worker"))
    transaction = connection.transaction()
    await transaction.start()
    try:
        began, spent = time.perf_counter(), time.process_time()
        with open_zip(path) as source:
            for delivery in source.deliveries.values():
                screen = Screen(delivery) if screened else _Unscreened(delivery)
                columns = [f"c{number}" for number in range(1, len(delivery.header) + 1)]
                typed = ", ".join(f"{column} text" for column in columns)
                await connection.execute(f"CREATE UNLOGGED TABLE staging.streamed_{delivery.kind} ({typed})")
                await connection.copy_to_table(
                    f"streamed_{delivery.kind}",
                    schema_name="staging",
                    source=Stream(delivery, screen, _quiet).chunks(),
                    format="csv",
                    header=True,
                    freeze=True,
                )
        return time.perf_counter() - began, time.process_time() - spent
    finally:
        await transaction.rollback()
        await connection.close()


class _Unscreened(Screen):
    def read(self) -> Iterator[bytes]:
        return self._delivery.read()


def _quiet(_doing: str, _done: int, _of: int) -> None:
    """Ignores a report of progress."""


async def peer(settings: Settings, district: UUID, path: Path, folder: Path) -> float:
    """Returns the seconds to load the files by COPY and to insert them with one statement per table, in one
    transaction.
    """
    connection = await asyncpg.connect(settings.url_of("worker"))
    source, run = new_id(), new_id()
    try:
        async with connection.transaction():
            await connection.execute(system_principal(district, "bench").binding())
            await connection.execute("SET LOCAL work_mem = '256MB'")
            await connection.execute(
                f"INSERT INTO source (district_id, id, name, kind, created_at) "
                f"VALUES ('{district}', '{source}', 'peer', 'bench', now())"
            )
            began = time.perf_counter()
            await _copy(connection, path, folder, "UNLOGGED")
            with open_zip(path) as opened:
                deliveries = dict(opened.deliveries)
            for kind in (kind for kind in KINDS if kind.name in deliveries):
                for statement in _inserts(kind, deliveries, district, source, run):
                    await connection.execute(statement)
        return time.perf_counter() - began
    finally:
        await connection.close()


async def _copy(connection: Any, path: Path, folder: Path, how: str) -> list[str]:
    tables = []
    with open_zip(path) as source:
        for kind, delivery in source.deliveries.items():
            columns = ", ".join(f'"{header}" text' for header in delivery.header)
            await connection.execute(f"CREATE {how} TABLE staging.bare_{kind} ({columns})")
            await connection.copy_to_table(
                f"bare_{kind}", schema_name="staging", source=folder / delivery.file, format="csv", header=True
            )
            tables.append(f"staging.bare_{kind}")
    return tables


def _inserts(kind: Kind, deliveries: dict[str, Delivery], district: UUID, source: UUID, run: UUID) -> list[str]:
    header, joined = deliveries[kind.name].header, ""
    values = {"district_id": f"'{district}'", "arrived_in": f"'{run}'"}
    for field in kind.fields:
        if field.header in header:
            column = f's."{field.header}"'
            if field.type in ("list", "grades"):
                read = f"string_to_array({column}, ',')"
            else:
                read = f"{column}{CASTS.get(field.type, '')}"
            values[field.column] = read if field.default == "NULL" else f"coalesce({read}, {field.default})"
        elif field.default != "NULL":
            values[field.column] = field.default
    for ref in kind.refs:
        if ref.header in header:
            values[ref.column] = _id(ref, f's."{ref.header}"')
    for column, sql in kind.derived:
        values[column] = sql
    if kind.pinnable:
        values["pinned"] = "'{}'"
    if kind.about:
        joined = f"JOIN person AS o ON o.district_id = '{district}' AND o.id = {values[kind.about]}"
        values["school_ids"] = "o.school_ids"
    statements = []
    if kind.own_alias:
        values |= {"id": "uuidv7()", "source_id": f"'{source}'", "sourced_id": 's."sourcedId"'}
    elif kind.key == "person_id":
        values["source_id"] = f"'{source}'"
    else:
        values["id"] = _md5(kind.name, 's."sourcedId"')
        statements.append(
            f"INSERT INTO external_id (district_id, source_id, kind, sourced_id, row_id) "
            f"SELECT '{district}', '{source}', '{kind.name}', s.\"sourcedId\", {values['id']} "
            f"FROM staging.bare_{kind.name} AS s"
        )
    statements.append(
        f"INSERT INTO {kind.table} ({', '.join(values)}) SELECT {', '.join(values.values())} "
        f"FROM staging.bare_{kind.name} AS s {joined}"
    )
    return statements


def _id(ref: Ref, column: str) -> str:
    name = BY_NAME[ref.kind].name
    if not ref.many:
        return _md5(name, column)
    return f"coalesce((SELECT array_agg({_md5(name, 'u')}) FROM unnest(string_to_array({column}, ',')) AS u), '{{}}')"


def _md5(kind: str, column: str) -> str:
    return f"md5('{kind}' || {column})::uuid"
