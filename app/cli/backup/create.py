"""Creates a backup: takes a snapshot, counts its rows, dumps it, and checks that the dump has every row.

The backup is written to a temporary folder, which is renamed when it is complete.
"""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from app.cli.backup import contents, programs
from app.cli.backup.manifest import DUMP, SCHEMA, Manifest, measure_file, write_manifest
from app.cli.backup.programs import Server
from app.cli.migrate import current_version
from app.core.clock import show_instant
from app.core.db import connect
from app.core.errors import AimlineError, Conflict
from app.core.schema_lines import describe_schema
from app.settings import Settings

Report = Callable[[str], None]
RUN_TABLES = "staging.*_[0-9a-f]{32}"
"""The name pattern of the tables with the raw rows of one sync.

The dump excludes them, because they may be created while it runs.
"""
STAGED_TABLES = "staging.*"
"""The name pattern of the tables of staged rows; a backup contains these tables without their rows."""
DUMPING = re.compile(r'dumping contents of table "?([\w.]+)')
COPIED = re.compile(rb"^COPY ([\w\".$]+) \(")


async def create_backup(settings: Settings, folder: Path, report: Report) -> Manifest:
    """Writes a backup into a new folder, and returns its manifest.

    Raises `Conflict` if the folder exists, and `UnfitServer` if the database cannot be dumped completely.
    """
    revision = await current_version(settings)
    if revision is None:
        raise AimlineError("There is nothing to back up: the database has no schema of Aimline.", code="backup.empty")
    url = settings.url_of("owner")
    owner = await connect(url, "owner")
    try:
        with _unfinished(folder) as unfinished:
            manifest = await _create(owner, settings, revision, unfinished, report)
            write_manifest(unfinished, manifest)
            await asyncio.to_thread(_flush, unfinished)
    finally:
        await owner.close()
    return manifest


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to `folder` at the end, or removed after an error."""
    folder = folder.absolute()
    if folder.exists() or folder.is_symlink():
        raise Conflict(f"{folder} exists already. Name a new folder.", code="backup.taken")
    if not folder.parent.is_dir():
        raise AimlineError(f"{folder.parent} is not a folder.", code="backup.place")
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    before = os.umask(0o077)
    try:
        unfinished.mkdir(mode=0o700)
        yield unfinished
        unfinished.rename(folder)
        _flush_one(folder.parent)
    finally:
        os.umask(before)
        shutil.rmtree(unfinished, ignore_errors=True)  # does nothing after a success, because the folder was renamed


def _flush(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        _flush_one(path)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _create(
    connection: asyncpg.Connection, settings: Settings, revision: str, folder: Path, report: Report
) -> Manifest:
    server = await Server.of(connection, settings.url_of("owner"))
    pg_dump = programs.find_program("pg_dump", server.major, encrypted=server.encrypted)
    pg_restore = programs.find_program("pg_restore", programs.major_of(pg_dump))
    roles = {role: settings.role_name(role) for role in ("api", "worker")}
    (folder / SCHEMA).write_text("\n".join(await describe_schema(connection, roles)) + "\n")
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for timeout in ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"):
            await connection.execute(f"SET LOCAL {timeout} = 0")
        await connection.execute("SET LOCAL row_security = on")
        snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
        made_at = await connection.fetchval("SELECT transaction_timestamp()")
        owner = await connection.fetchval("SELECT current_user::text")
        tables = {}
        for table in await contents.own_tables(connection):
            report(f"counting {table}")
            tables[table] = await contents.count_rows(connection, table)
        keys = await contents.key_ids(connection)
        foreign = await contents.foreign_relations(connection)
        await _dump(pg_dump, server, snapshot, foreign, folder / DUMP, len(tables), report)
    report("checking that the dump has every row")
    dumped = await count_dumped(pg_restore, folder / DUMP)
    lacking = [table for table, rows in tables.items() if dumped.get(table, 0) != rows]
    if lacking:
        raise AimlineError(
            f"The dump lacks rows of {', '.join(lacking)}; the backup was removed.", code="backup.incomplete"
        )
    return Manifest(
        made_at=show_instant(made_at),
        revision=revision,
        server_major=server.major,
        dump_major=programs.major_of(pg_dump),
        roles={"owner": owner, **roles},
        key_ids=keys,
        tables=tables,
        files={name: await asyncio.to_thread(measure_file, folder / name) for name in (DUMP, SCHEMA)},
    )


async def _dump(
    pg_dump: str, server: Server, snapshot: str, foreign: list[str], path: Path, tables: int, report: Report
) -> None:
    dumped_tables = 0

    def on_line(line: str) -> None:
        nonlocal dumped_tables
        if match := DUMPING.search(line):
            dumped_tables += 1
            report(f"dumping {match[1]} ({dumped_tables} of {tables})")

    arguments = ["--format=custom", "--enable-row-security", f"--snapshot={snapshot}", f"--file={path}", "--verbose"]
    arguments += [f"--schema={schema}" for schema in contents.SCHEMAS]
    arguments += [f"--exclude-table={contents.qualified(name)}" for name in foreign]
    arguments += [f"--exclude-table={RUN_TABLES}", f"--exclude-table-data={STAGED_TABLES}"]
    await programs.run(pg_dump, arguments, server=server, on_line=on_line)


async def count_dumped(pg_restore: str, path: Path) -> dict[str, int]:
    """Returns the number of rows of each table in a dump. Reads the dump in constant memory."""
    counts: dict[str, int] = {}
    table, line_start = "", b""
    # A row may be megabytes long, so only the beginning of a line is kept.
    async for part in programs.output(pg_restore, ["--data-only", "--file=-", str(path)]):
        *lines, rest = part.split(b"\n")
        for line in lines:
            line_start, line = b"", line_start + line
            if table and line == b"\\.":
                table = ""
            elif table:
                counts[table] += 1
            elif match := COPIED.match(line):
                table = match[1].decode().replace('"', "")
                counts[table] = 0
        line_start = (line_start + rest)[:4096]
    return counts
