"""Reads from the database what a backup must contain: its tables, their row counts, and the ids of encryption keys."""

from collections.abc import Mapping

import asyncpg

from app.core.crypto import KeyFault, Keyring
from app.core.db import UnfitServer
from app.core.schema_lines import IS_OWN_OBJECT
from app.sis.scheduler.alerts import SEALED_AS as CHAT_SEALED_AS
from app.sis.sources.service import SEALED_AS, URL_SEALED_AS

SCHEMAS = ("public", "app", "staging")
BOUND_NAMES: Mapping[tuple[str, str], str] = {
    ("webhook_endpoint", "secret_sealed"): "webhook_endpoint",
    ("webhook_endpoint", "former_sealed"): "webhook_endpoint",
    ("sis_source", "client_secret_sealed"): SEALED_AS,
    ("sis_source", "url_sealed"): URL_SEALED_AS,
    ("sis_recipients", "chat_url_sealed"): CHAT_SEALED_AS,
}
"""The name that was bound to each encrypted value, keyed by table and column.

A value is encrypted together with the ids of its district and row and with this name, and can be decrypted only with
the same three. The names of all columns with encrypted values end in `_sealed`.
"""
ROW_IDS: Mapping[str, str] = {"sis_recipients": "district_id"}
"""The column whose value serves as the row id in the encryption of a value, for each table without a column `id`."""
BATCH = 1000


def quoted(name: str) -> str:
    """Returns a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(table: str) -> str:
    """Returns a table's name, given as `schema.name`, as a quoted SQL name."""
    schema, _, name = table.partition(".")
    return f"{quoted(schema)}.{quoted(name)}"


async def own_tables(connection: asyncpg.Connection) -> list[str]:
    """Returns the names, as `schema.name`, of the tables that a backup contains: those that belong to the owner.

    Tables of the schema `staging` are left out. Raises `UnfitServer` for a table whose rows the owner may not see,
    because its dump would be empty without an error. (Under FORCE ROW LEVEL SECURITY, even the owner sees rows only if
    a policy for the owner allows it.)
    """
    rows = await connection.fetch(
        f"""SELECT n.nspname || '.' || c.relname AS name,
                   c.relrowsecurity AND c.relforcerowsecurity AND NOT EXISTS (
                       SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive
                         AND c.relowner = ANY (p.polroles) AND p.polcmd IN ('*', 'r')
                         AND pg_get_expr(p.polqual, p.polrelid) = 'true')
                   OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive) AS hidden
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'staging'
              AND c.relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
              AND {IS_OWN_OBJECT.format(oid="c.oid", catalogue="pg_class")}
            ORDER BY 1"""  # noqa: S608 - only our own names are formatted into it
    )
    hidden = [row["name"] for row in rows if row["hidden"]]
    if hidden:
        raise UnfitServer(
            f"The owner may not see every row of {', '.join(hidden)}: its policy `owner` is missing. A dump would "
            "lack rows. See: aimline schema"
        )
    return [row["name"] for row in rows]


async def foreign_relations(connection: asyncpg.Connection) -> list[str]:
    """Returns the relations in Aimline's schemas that a role other than the owner owns. A dump leaves them out."""
    rows = await connection.fetch(
        """SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname = ANY ($1)
             AND c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user) ORDER BY 1""",
        list(SCHEMAS),
    )
    return [row["name"] for row in rows]


async def count_rows(connection: asyncpg.Connection, table: str) -> int:
    """Returns the number of those rows of a table that the owner can see."""
    return int(await connection.fetchval(f"SELECT count(*) FROM {qualified(table)}"))  # noqa: S608 - a quoted name


async def sealed_columns(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    """Returns the table and the name of each column with encrypted values."""
    rows = await connection.fetch(
        r"""SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname LIKE '%\_sealed'
              AND c.relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
              AND NOT a.attisdropped ORDER BY 1, 2"""
    )
    return [(row["relname"], row["attname"]) for row in rows]


async def key_ids(connection: asyncpg.Connection) -> list[str]:
    """Returns the ids of the keys under which values are encrypted."""
    ids: set[str] = set()
    for table, column in await sealed_columns(connection):
        name = quoted(column)
        rows = await connection.fetch(
            f"SELECT DISTINCT split_part({name}, '.', 1) AS id FROM public.{quoted(table)} "  # noqa: S608 - quoted names
            f"WHERE {name} IS NOT NULL"
        )
        ids |= {row["id"] for row in rows}
    return sorted(ids)


async def open_sealed(connection: asyncpg.Connection, keyring: Keyring) -> int:
    """Decrypts the encrypted values with the key file, to verify that the key file belongs to the database.

    Returns the number of these values. Encrypted columns that are missing in `BOUND_NAMES` are skipped. Raises
    `KeyFault` if a value cannot be decrypted, for example because the key file has a different key under the same id.
    """
    opened = 0
    async with connection.transaction(readonly=True):
        for table, column in await sealed_columns(connection):
            name, bound_to = quoted(column), BOUND_NAMES.get((table, column))
            if bound_to is None:
                continue
            query = (
                f"SELECT district_id, {ROW_IDS.get(table, 'id')} AS id, {name} AS sealed FROM public.{quoted(table)} "  # noqa: S608 - quoted names
                f"WHERE {name} IS NOT NULL"
            )
            async for row in connection.cursor(query, prefetch=BATCH):
                try:
                    keyring.open(row["sealed"], bound_to, row["district_id"], row["id"])
                except KeyFault as fault:
                    key = row["sealed"].partition(".")[0]
                    raise KeyFault(
                        f"A value of {table}.{column} cannot be decrypted with this key file's {key!r} ({fault}) "
                        "Use the key file that belongs to the backup."
                    ) from None
                opened += 1
    return opened
