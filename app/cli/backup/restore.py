"""Restores a backup into an empty database: roles, rows, policies, checks, the feed's new epoch, and grants at last.

Until the grants, no process of Aimline can read the database: what fails before them leaves nothing that serves.
Never writes over a database that has something in it.
"""

import asyncio
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg

from app.access.principal import house_principal
from app.access.work import unit
from app.cli.backup import contents, programs
from app.cli.backup.manifest import DUMP, SCHEMA, Manifest, check_files, read_manifest
from app.cli.backup.programs import Server
from app.cli.backup.security import grants_for, policies_for
from app.cli.migrate import check_revision, make_roles, migrate
from app.core.crypto import KeyFault
from app.core.db import UnfitServer, connect, open_engine
from app.core.errors import AimlineError, Conflict
from app.core.schema_lines import OURS, describe_schema, differences
from app.events.service import begin_epoch
from app.settings import Settings
from app.sis.runs.approval import discard_unkept_plans

Tell = Callable[[str], None]
ENTRY = re.compile(r"^\d+; \d+ \d+ (?:(POLICY|ACL|DEFAULT ACL) |(SCHEMA - public |COMMENT - SCHEMA public ))")
"""Entries of a dump that are not restored as they are: policies and grants name roles; `public` is there already."""
PROCESSED = re.compile(r'processing data for table "?([\w.]+)')
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    tables: int
    rows: int
    districts: int
    secrets: int
    """Sealed values that were opened with the key file."""
    discarded_runs: int
    """Syncs that waited with a plan; a backup holds none."""
    left_out_roles: list[str]
    """Roles of somebody else whose grants were not restored."""

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def restore_backup(settings: Settings, folder: Path, tell: Tell, *, check_only: bool = False) -> Restored | None:
    """Restores the backup in a folder, and says what was done; with `check_only`, only checks that it could be.

    Raises `AimlineError`, `KeyFault` or `UnfitServer` in a sentence.
    """
    manifest = read_manifest(folder)
    tell("checking the files")
    check_files(folder, manifest)
    _check_keys(settings, manifest)
    check_revision(settings, manifest.revision, "The backup")
    if check_only:
        asyncio.run(_check_target(settings, manifest))
        return None
    restored = asyncio.run(_restore(settings, folder, manifest, tell))
    tell("bringing the schema up to date")
    migrate(settings)  # which also lets the roles into the database
    return restored


def _check_keys(settings: Settings, manifest: Manifest) -> None:
    missing = sorted(set(manifest.key_ids) - set(settings.keyring.keys))
    if missing:
        raise KeyFault(
            f"The backup holds values that are sealed under {', '.join(missing)}, which the key file lacks. "
            "Use the key file that the backup was made beside, with every line of it."
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
        found = await owner.fetch(
            f"""SELECT n.nspname || '.' || c.relname AS name FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {OURS.format(oid="c.oid", catalogue="pg_class")}
                UNION ALL SELECT 'the schema ' || nspname FROM pg_namespace WHERE nspname IN ('app', 'staging')
                ORDER BY 1"""  # noqa: S608 - our own text
        )
        if found:
            name = await owner.fetchval("SELECT current_database()")
            raise Conflict(
                f"The database {name} is not empty: it has {found[0]['name']}"
                f"{f' and {len(found) - 1} more' if len(found) > 1 else ''}. Restore into an empty one; "
                "nothing is ever written over.",
                code="restore.not_empty",
            )
        if not await owner.fetchval("SELECT has_database_privilege(current_database(), 'CREATE')"):
            raise UnfitServer("The owner may not make schemas in this database: make it the database's owner.")
        return server
    finally:
        await owner.close()


async def _restore(settings: Settings, folder: Path, manifest: Manifest, tell: Tell) -> Restored:
    server = await _check_target(settings, manifest)
    pg_restore = programs.find_program("pg_restore", max(server.major, manifest.dump_major), encrypted=server.encrypted)
    tell("making the roles")
    await make_roles(settings)
    dump = folder / DUMP
    with tempfile.TemporaryDirectory() as scratch:
        listed = b"".join([part async for part in programs.output(pg_restore, ["--list", str(dump)])]).decode()
        security = _entries(Path(scratch), listed)
        script = b"".join(
            [p async for p in programs.output(pg_restore, [f"--use-list={security['roles']}", "--file=-", str(dump)])]
        ).decode()
        await _load(pg_restore, server, security["rest"], dump, manifest, tell)
    owner = await connect(server.url, "owner")
    try:
        return await _finish(settings, owner, folder, manifest, script, tell)
    except BaseException as error:
        if isinstance(error, AimlineError | UnfitServer | KeyFault):
            tell("The database is not usable: no role was let into it. Drop it before another attempt.")
        raise
    finally:
        await owner.close()


def _entries(scratch: Path, listed: str) -> dict[str, Path]:
    """Two lists of a dump's entries: those that name roles, and all that is restored as it is."""
    roles, rest = [], []
    for line in listed.splitlines():
        found = ENTRY.match(line)
        if found is None:
            rest.append(line)
        elif found[1]:
            roles.append(line)
    lists = {"roles": scratch / "roles", "rest": scratch / "rest"}
    lists["roles"].write_text("\n".join(roles) + "\n")
    lists["rest"].write_text("\n".join(rest) + "\n")
    return lists


async def _load(pg_restore: str, server: Server, entries: Path, dump: Path, manifest: Manifest, tell: Tell) -> None:
    """Restores tables and rows in one transaction: an interrupted one leaves the database empty."""
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        if found := PROCESSED.search(line):
            done += 1
            tell(f"restoring {found[1]} ({done} of {len(manifest.tables)})")
        elif "creating FK CONSTRAINT" in line:
            tell("checking references")

    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--verbose"]
    await programs.run(pg_restore, [*arguments, f"--use-list={entries}", str(dump)], server=server, on_line=on_line)


async def _finish(
    settings: Settings, connection: asyncpg.Connection, folder: Path, manifest: Manifest, script: str, tell: Tell
) -> Restored:
    owner = await connection.fetchval("SELECT current_user::text")
    roles = {role: settings.role_name(role) for role in ("api", "worker")}
    names = {manifest.roles[role]: name for role, name in {"owner": owner, **roles}.items()}
    grants, left_out = grants_for(script, names)
    await connection.execute(policies_for(script, names))
    await _check_counts(connection, manifest, tell)
    tell("opening sealed values")
    opened = await contents.open_sealed(connection, settings.keyring)
    tell("beginning the change feed anew")
    districts, discarded = await _begin_anew(settings, connection)
    tell("granting")
    async with connection.transaction():
        await connection.execute(grants)
        await _check_lines(connection, folder, roles)
    await connection.execute("ANALYZE")
    return Restored(len(manifest.tables), manifest.rows, districts, opened, discarded, left_out)


async def _check_counts(connection: asyncpg.Connection, manifest: Manifest, tell: Tell) -> None:
    wrong = []
    if set(await contents.own_tables(connection)) != set(manifest.tables):
        raise AimlineError("The restored tables are not those of the backup.", code="restore.incomplete")
    for table, rows in manifest.tables.items():
        tell(f"counting {table}")
        counted = await contents.count_rows(connection, table)
        if counted != rows:
            wrong.append(f"{table} has {counted} rows of {rows}")
    if wrong:
        raise AimlineError(f"The restore is not whole: {'; '.join(wrong[:SHOWN])}.", code="restore.incomplete")


async def _begin_anew(settings: Settings, connection: asyncpg.Connection) -> tuple[int, int]:
    """In every district: refuses the feed's cursors from before, and discards the plans that the backup lacks.

    As the owner, since no run-time role is let in yet.
    """
    engine = open_engine(settings.url_of("owner"), name="restore", pool_size=1)
    discarded, districts = 0, await connection.fetch("SELECT district_id FROM public.district ORDER BY district_id")
    try:
        for row in districts:
            operator = house_principal(row["district_id"], "operator")
            async with unit(engine, operator, settings.keyring, "restore") as work:
                await begin_epoch(work)
                discarded += await discard_unkept_plans(work)
    finally:
        await engine.dispose()
    return len(districts), discarded


async def _check_lines(connection: asyncpg.Connection, folder: Path, roles: Mapping[str, str]) -> None:
    expected = [line for line in (folder / SCHEMA).read_text().splitlines() if " to role:" not in line]
    found = [
        line
        for line in differences(expected, await describe_schema(connection, roles))
        if " on database " not in line and " on schema public " not in line  # the server's; `migrate` limits them
    ]
    if found:
        raise AimlineError(
            f"The restored schema is not that of the backup: {'; '.join(found[:SHOWN])}", code="restore.schema"
        )
