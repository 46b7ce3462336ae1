"""Distributes the tables of a filled database over a Citus cluster, after checking the cluster.

New tables are distributed by their own migrations (`migrations.tenant`). Existing tables are distributed here, in one
transaction, so that a failure leaves the database unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from app.core.db import UnfitServer, connect
from app.settings import Settings

ON_EVERY_NODE = ("public.district", "public.client", "public.client_secret")
"""The tables that are copied to every node; each comes after the tables that it refers to."""
FIRST_TABLE = "public.district_lock"
"""The table that is distributed first.

A district's rows of all other tables are placed on the same node as its rows of this table.
"""
LOCAL_TABLES = ("public.alembic_version",)
"""The tables that stay on the coordinator, because only the coordinator reads them."""
DISTRIBUTED = "SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('public.district'))"
"""SQL that returns whether Citus has distributed the table of districts, to which every other table refers."""
TABLES = """
SELECT n.nspname || '.' || c.relname AS name, c.relpersistence = 'u' AS unlogged, c.relforcerowsecurity AS forced
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'staging') AND c.relkind = 'r'
  AND c.relowner = (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user)
  AND NOT EXISTS (SELECT FROM pg_dist_partition p WHERE p.logicalrelid = c.oid)
ORDER BY 1
"""
REFERENCES = """
SELECT n.nspname || '.' || c.relname AS table, k.conname AS name, pg_get_constraintdef(k.oid) AS definition
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND n.nspname IN ('public', 'staging') ORDER BY 1, 2
"""
UNREADY_NODES = """
SELECT n.nodename || ':' || n.nodeport AS node, r.success, r.result
FROM run_command_on_workers($command$
    SELECT count(*) FROM pg_roles r LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
    WHERE r.rolname IN ({roles}) AND 'citus.propagate_set_commands=local' = ANY (s.setconfig)
$command$) AS r
JOIN pg_dist_node n ON n.nodename = r.nodename AND n.nodeport = r.nodeport
WHERE NOT r.success OR r.result IS DISTINCT FROM '{count}' ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class LocalTable:
    """A table that is not distributed yet."""

    name: str
    unlogged: bool = False
    forced: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key: its table, its name and its definition."""

    table: str
    name: str
    definition: str


def distribution_statements(tables: Sequence[LocalTable], references: Sequence[ForeignKey]) -> list[str]:
    """Returns the SQL statements that distribute these tables over the cluster, in the order in which they must run.

    * Foreign keys are dropped first and added last, because a table that refers to a local table cannot be distributed.
    * FORCE ROW LEVEL SECURITY is switched off meanwhile, because it would keep the owner from copying rows to the
      shards.
    * Unlogged tables become logged. Otherwise no district could be moved to another node while the service runs.
    """
    moved = [table for table in tables if table.name not in LOCAL_TABLES]
    names = {table.name for table in moved}
    copied = [name for name in ON_EVERY_NODE if name in names]
    other_tables = sorted(names - {*copied, FIRST_TABLE})
    return [
        "SET LOCAL citus.multi_shard_modify_mode = 'sequential'",
        *(f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}" for key in references),
        *(f"ALTER TABLE {table.name} NO FORCE ROW LEVEL SECURITY" for table in moved if table.forced),
        *(f"ALTER TABLE {table.name} SET LOGGED" for table in moved if table.unlogged),
        *(f"SELECT create_reference_table('{name}')" for name in copied),
        *(
            f"SELECT create_distributed_table('{FIRST_TABLE}', 'district_id', colocate_with => 'default')"
            for name in names
            if name == FIRST_TABLE
        ),
        *(
            f"SELECT create_distributed_table('{name}', 'district_id', colocate_with => '{FIRST_TABLE}')"
            for name in other_tables
        ),
        *(f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {key.definition}" for key in references),
        *(f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY" for table in moved if table.forced),
    ]


async def is_distributed(settings: Settings) -> bool:
    """Returns whether the tables are distributed over a cluster, in which case new tables must be distributed too."""
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        return await _has_citus(connection) and bool(await connection.fetchval(DISTRIBUTED))
    finally:
        await connection.close()


async def check_cluster(settings: Settings) -> None:
    """Raises `UnfitServer` if the tables cannot be distributed over this server's cluster."""
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        if not await _has_citus(connection):
            raise UnfitServer("This database has no Citus extension. As an administrator, run: CREATE EXTENSION citus")
        await _require_ready_nodes(connection, settings)
    finally:
        await connection.close()


async def distribute(settings: Settings) -> None:
    """Distributes the tables that are not distributed yet."""
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        await _distribute_filled(connection)
    finally:
        await connection.close()


async def _has_citus(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"))


async def _distribute_filled(connection: asyncpg.Connection) -> int:
    """Distributes the owner's tables that are still local over the nodes, with their rows. Returns their number."""
    async with connection.transaction():
        tables = [LocalTable(row["name"], row["unlogged"], row["forced"]) for row in await connection.fetch(TABLES)]
        keys = [ForeignKey(row["table"], row["name"], row["definition"]) for row in await connection.fetch(REFERENCES)]
        for statement in distribution_statements(tables, keys):
            await connection.execute(statement)
    return sum(table.name not in LOCAL_TABLES for table in tables)


async def _require_ready_nodes(connection: asyncpg.Connection, settings: Settings) -> None:
    """Raises `UnfitServer` unless every node has the roles `api` and `worker` with the settings that they need."""
    roles = [settings.role_name(purpose) for purpose in ("api", "worker")]
    names = ", ".join("'" + role.replace("'", "''") + "'" for role in roles)
    try:
        rows = await connection.fetch(UNREADY_NODES.format(roles=names, count=len(roles)))
    except asyncpg.InsufficientPrivilegeError:
        raise UnfitServer(
            "The owner may not ask the nodes of the cluster which roles they know. As an administrator, run: GRANT "
            "EXECUTE ON FUNCTION run_command_on_workers(text, boolean) TO the owner"
        ) from None
    if rows:
        nodes = ", ".join(row["node"] for row in rows)
        raise UnfitServer(
            f"Not every node of the cluster knows the roles {' and '.join(roles)} with citus.propagate_set_commands = "
            f"'local': {nodes}. Create them there first (docs/scale.md, Three nodes, steps 1 and 3)."
        )
