"""Restores a backup into an empty database.

The order is: roles, rows, policies, checks, invalidation of the old cursors of each change feed, and finally the
grants. Before the grants, no process of Aimline can read the database, so a database whose restore failed is never
served. A database that is not empty is never overwritten.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg

from app.access.principal import system_principal
from app.access.work import unit
from app.cli.backup import contents, programs
from app.cli.backup.manifest import DUMP, SCHEMA, Manifest, check_files, read_manifest
from app.cli.backup.programs import Server
from app.cli.backup.security import grants_for, policies_for
from app.cli.interrupt import run_interruptible
from app.cli.migrate import check_revision, make_roles, migrate
from app.core.crypto import KeyFault
from app.core.db import UnfitServer, connect, open_engine
from app.core.errors import AimlineError, Conflict
from app.core.schema_lines import IS_OWN_OBJECT, describe_schema, differences, lines_of_owner
from app.events.service import begin_epoch
from app.settings import Settings
from app.sis.runs.approval import discard_unkept_plans

Report = Callable[[str], None]
ENTRY = re.compile(r"^\d+; \d+ \d+ (?:(POLICY|ACL|DEFAULT ACL) |(SCHEMA - public |COMMENT - SCHEMA public ))")
"""Matches the entries of the dump that pg_restore must not restore as they are.

These are policies and grants, because they name roles, and the schema `public`, because it exists already.
"""
PROCESSED = re.compile(r'processing data for table "?([\w.]+)')
MAX_DIFFERENCES = 5


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore: what was restored, and what was left out."""

    tables: int
    rows: int
    districts: int
    secrets: int
    """The number of encrypted values that the key file could decrypt."""
    discarded_runs: int
    """The number of held syncs that were discarded, because a backup does not contain their plans."""
    left_out_roles: list[str]
    """The roles of other software, whose grants were not restored."""

    def as_json(self) -> dict[str, Any]:
        """Returns the fields by name, for the JSON report."""
        return asdict(self)


def restore_backup(settings: Settings, folder: Path, report: Report, *, check_only: bool = False) -> Restored | None:
    """Restores the backup in a folder, and returns the result.

    With `check_only`, the function restores nothing: it checks whether the backup can be restored, and returns None.
    Raises `AimlineError`, `KeyFault` or `UnfitServer`.
    """
    manifest = read_manifest(folder)
    report("checking the files")
    check_files(folder, manifest)
    _check_keys(settings, manifest)
    check_revision(settings, manifest.revision, "The backup")
    if check_only:
        run_interruptible(_check_target(settings, manifest))
        return None
    restored = run_interruptible(_restore(settings, folder, manifest, report))
    report("migrating the schema")
    migrate(settings)  # this also grants the roles the right to connect
    return restored


def _check_keys(settings: Settings, manifest: Manifest) -> None:
    missing = sorted(set(manifest.key_ids) - set(settings.keyring.keys))
    if missing:
        raise KeyFault(
            f"The backup has values that are encrypted under {', '.join(missing)}, which the key file lacks. "
            "Use the complete key file that belongs to the backup."
        )


async def _check_target(settings: Settings, manifest: Manifest) -> Server:
    owner = await connect(settings.url_of("owner"), "owner")
    try:
        server = await Server.of(owner, settings.url_of("owner"))
        if server.major < manifest.server_major:
            raise UnfitServer(
                f"The backup is of PostgreSQL {manifest.server_major}; this server is {server.major}. "
                f"Restore into {manifest.server_major} or newer."
            )
        existing = await owner.fetch(
            f"""SELECT n.nspname || '.' || c.relname AS name FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
                  AND {IS_OWN_OBJECT.format(oid="c.oid", catalogue="pg_class")}
                UNION ALL SELECT 'the schema ' || nspname FROM pg_namespace WHERE nspname IN ('app', 'staging')
                ORDER BY 1"""  # noqa: S608 - only our own names are formatted into it
        )
        if existing:
            name = await owner.fetchval("SELECT current_database()")
            raise Conflict(
                f"The database {name} is not empty: it has {existing[0]['name']}"
                f"{f' and {len(existing) - 1} more' if len(existing) > 1 else ''}. Restore into an empty one; "
                "existing data is never overwritten.",
                code="restore.not_empty",
            )
        if not await owner.fetchval("SELECT has_database_privilege(current_database(), 'CREATE')"):
            raise UnfitServer("The owner may not create schemas in this database. Make it the database's owner.")
        return server
    finally:
        await owner.close()


async def _restore(settings: Settings, folder: Path, manifest: Manifest, report: Report) -> Restored:
    server = await _check_target(settings, manifest)
    pg_restore = programs.find_program("pg_restore", max(server.major, manifest.dump_major), encrypted=server.encrypted)
    report("creating the roles")
    await make_roles(settings)
    dump = folder / DUMP
    with tempfile.TemporaryDirectory() as scratch:
        listed = b"".join([part async for part in programs.output(pg_restore, ["--list", str(dump)])]).decode()
        security = _entries(Path(scratch), listed)
        script = b"".join(
            [p async for p in programs.output(pg_restore, [f"--use-list={security['roles']}", "--file=-", str(dump)])]
        ).decode()
        await _load(pg_restore, server, security["rest"], dump, manifest, report)
    owner = await connect(server.url, "owner")
    try:
        return await _finish(settings, owner, folder, manifest, script, report)
    except BaseException as error:
        if isinstance(error, AimlineError | UnfitServer | KeyFault):
            report("The database is not usable: no role has access to it. Drop it before another attempt.")
        raise
    finally:
        await owner.close()


def _entries(scratch: Path, listed: str) -> dict[str, Path]:
    """Splits the table of contents of a dump (`listed`) into two files, and returns the files' paths by name.

    The file `roles` has the entries of policies and grants. These name roles, which may have other names on this
    server. The file `rest` has all other entries, which can be restored unchanged.
    """
    roles, rest = [], []
    for line in listed.splitlines():
        match = ENTRY.match(line)
        if match is None:
            rest.append(line)
        elif match[1]:
            roles.append(line)
    lists = {"roles": scratch / "roles", "rest": scratch / "rest"}
    lists["roles"].write_text("\n".join(roles) + "\n")
    lists["rest"].write_text("\n".join(rest) + "\n")
    return lists


async def _load(pg_restore: str, server: Server, entries: Path, dump: Path, manifest: Manifest, report: Report) -> None:
    """Restores tables and rows in one transaction, so that an interruption leaves the database empty."""
    loaded_tables = 0

    def on_line(line: str) -> None:
        nonlocal loaded_tables
        if match := PROCESSED.search(line):
            loaded_tables += 1
            report(f"restoring {match[1]} ({loaded_tables} of {len(manifest.tables)})")
        elif "creating FK CONSTRAINT" in line:
            report("checking references")

    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--verbose"]
    await programs.run(pg_restore, [*arguments, f"--use-list={entries}", str(dump)], server=server, on_line=on_line)


async def _finish(
    settings: Settings, connection: asyncpg.Connection, folder: Path, manifest: Manifest, script: str, report: Report
) -> Restored:
    owner = await connection.fetchval("SELECT current_user::text")
    roles = {role: settings.role_name(role) for role in ("api", "worker")}
    names = {manifest.roles[role]: name for role, name in {"owner": owner, **roles}.items()}
    grants, left_out = grants_for(script, names)
    await connection.execute(policies_for(script, names))
    await _check_counts(connection, manifest, report)
    report("decrypting values")
    opened = await contents.open_sealed(connection, settings.keyring)
    report("restarting the change feed")
    districts, discarded = await _reset_districts(settings, connection)
    report("granting access")
    async with connection.transaction():
        await connection.execute(grants)
        await _check_lines(connection, folder, roles)
    await connection.execute("ANALYZE")
    return Restored(len(manifest.tables), manifest.rows, districts, opened, discarded, left_out)


async def _check_counts(connection: asyncpg.Connection, manifest: Manifest, report: Report) -> None:
    mismatches = []
    if set(await contents.own_tables(connection)) != set(manifest.tables):
        raise AimlineError("The restored tables are not those of the backup.", code="restore.incomplete")
    for table, rows in manifest.tables.items():
        report(f"counting {table}")
        counted = await contents.count_rows(connection, table)
        if counted != rows:
            mismatches.append(f"{table} has {counted} rows of {rows}")
    if mismatches:
        raise AimlineError(
            f"The restore is incomplete: {'; '.join(mismatches[:MAX_DIFFERENCES])}.", code="restore.incomplete"
        )


async def _reset_districts(settings: Settings, connection: asyncpg.Connection) -> tuple[int, int]:
    """In every district, invalidates the old cursors of the change feed, and discards the syncs that wait for approval.

    Such a sync could not be continued, because its plan is not in the backup. Returns the number of districts and the
    number of discarded syncs. This runs as the owner, because the run-time roles have no access yet.
    """
    engine = open_engine(settings.url_of("owner"), name="restore", pool_size=1)
    discarded, districts = 0, await connection.fetch("SELECT district_id FROM public.district ORDER BY district_id")
    try:
        for row in districts:
            operator = system_principal(row["district_id"], "operator")
            async with unit(engine, operator, settings.keyring, "restore") as work:
                await begin_epoch(work)
                discarded += await discard_unkept_plans(work)
    finally:
        await engine.dispose()
    return len(districts), discarded


async def _check_lines(connection: asyncpg.Connection, folder: Path, roles: Mapping[str, str]) -> None:
    lines = lines_of_owner((folder / SCHEMA).read_text().splitlines())
    expected = [line for line in lines if " to role:" not in line]
    deviations = [
        line
        for line in differences(expected, await describe_schema(connection, roles))
        # these grants are still this server's own; `migrate` limits them later
        if " on database " not in line and " on schema public " not in line
    ]
    if deviations:
        raise AimlineError(
            f"The restored schema is not that of the backup: {'; '.join(deviations[:MAX_DIFFERENCES])}",
            code="restore.schema",
        )
