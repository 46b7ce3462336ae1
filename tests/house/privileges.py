"""Checks roles and privileges in PostgreSQL's catalogue. Each check returns its findings and asserts nothing."""

import asyncpg

from tests.house.catalogue import LET_OFF, NEVER_THE_APIS, OURS, let_off

SEARCH_PATH = "pg_catalog, pg_temp"
"""The required search_path. If `pg_temp` is not named it is searched first; with `public`, unqualified names would be
found.
"""


async def roles_cannot_pass_the_rows(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Finds rights by which `api` or `worker` could bypass row-level security: superuser, BYPASSRLS, ownership,
    membership.
    """
    findings = []
    for purpose, role in roles.items():
        row = await db.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", role)
        assert row is not None
        for flag in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication"):
            if row[flag]:
                findings.append((f"role {purpose}", f"has {flag}"))
        owns = await db.fetch(
            f"""SELECT n.nspname || '.' || c.relname AS name FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE {OURS} AND n.nspname <> 'staging' AND c.relowner = $1
                UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.proowner = $1
                UNION ALL SELECT n.nspname FROM pg_namespace n WHERE n.nspowner = $1""",
            row["oid"],
        )
        findings += [(f"role {purpose}", f"owns {one['name']}") for one in owns]
        groups = await db.fetch(
            "SELECT roleid::regrole::text AS name FROM pg_auth_members WHERE member = $1", row["oid"]
        )
        findings += [(f"role {purpose}", f"is a member of {one['name']}") for one in groups]
    return let_off(findings)


async def privileges_are_few(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the privileges on tables that are not allowed.

    These are all privileges of other roles than `api` and `worker`, the privilege to delete rows, and those of `api` on
    staging tables and secrets.
    """
    rows = await db.fetch(
        f"""SELECT n.nspname AS schema, c.relname AS name, a.privilege_type AS privilege,
                   CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS who
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
            WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND a.grantee <> c.relowner"""
    )
    findings = []
    for row in rows:
        purpose = next((purpose for purpose, role in roles.items() if role == row["who"]), row["who"])
        granted = f"{row['privilege']} to {purpose}"
        if purpose not in roles:
            findings.append((f"privilege {row['schema']}.{row['name']}", f"{granted}: only api and worker have any"))
        elif row["privilege"] == "MAINTAIN" and purpose == "worker":
            continue  # statistics: it reads and changes no row
        elif row["schema"] == "public" and row["privilege"] not in ("SELECT", "INSERT", "UPDATE"):
            kind = row["privilege"].lower()
            findings.append((f"{kind} {row['name']} to {purpose}", "rows are removed by a tombstone"))
        if purpose == "api" and (row["schema"] != "public" or row["name"] in NEVER_THE_APIS):
            findings.append((f"privilege {row['schema']}.{row['name']}", f"{granted}: never the api's"))
    for purpose, role in roles.items():
        for privilege in ("TEMPORARY", "CREATE"):
            if await db.fetchval("SELECT has_database_privilege($1, current_database(), $2)", role, privilege):
                findings.append(
                    (f"database to {purpose}", f"{privilege}: it can make objects that take a table's place")
                )
        for schema in ("public", "app", "staging"):
            usage, create = await db.fetchrow(  # type: ignore[misc]  # always one row
                "SELECT has_schema_privilege($1, $2, 'USAGE'), has_schema_privilege($1, $2, 'CREATE')", role, schema
            )
            if schema == "staging" and purpose == "api" and usage:
                findings.append(("schema staging", "the api can reach it"))
            if create and (schema, purpose) != ("staging", "worker"):
                findings.append((f"schema {schema}", f"{purpose} can make objects in it"))
    return let_off(findings)


async def owners_rights_are_listed(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Finds SECURITY DEFINER functions that are not on the list of allowed functions, or that PUBLIC may call."""
    rows = [row for row in await _functions(db) if row["definer"]]
    findings = []
    for row in rows:
        findings.append((f"definer {row['name']}", "runs with the owner's rights and is not let off"))
        if row["anybody"]:
            findings.append((f"function {row['name']}", "PUBLIC may execute it"))
    gone = {name for name in LET_OFF if name.startswith("definer ")} - {f"definer {row['name']}" for row in rows}
    return [*let_off(findings), *(f"{name} is let off and is not there" for name in sorted(gone))]


async def functions_name_their_schemas(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the functions that a caller could make read another table than intended.

    Such a function has an open search_path, or names a table without its schema. PostgreSQL checks the names in SQL
    functions only, so a function with the owner's rights must be written in SQL.
    """
    findings = []
    for row in await _functions(db):
        name = f"function {row['name']}"
        path = [one for one in row["config"] or [] if one.startswith("search_path=")]
        if path != [f"search_path={SEARCH_PATH}"]:
            findings.append((name, f"its search_path is not {SEARCH_PATH}"))
        if row["language"] == "sql":
            if (refusal := await _refusal(db, row["oid"])) is not None:
                findings.append((name, f"names something without its schema: {refusal}"))
        elif row["definer"]:
            findings.append((name, f"is in {row['language']}, whose names PostgreSQL cannot check before they run"))
    return let_off(findings)


async def _functions(db: asyncpg.Connection) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await db.fetch(
        f"""SELECT p.oid, p.oid::regprocedure::text AS name, p.proconfig AS config, p.prosecdef AS definer,
                   l.lanname AS language, has_function_privilege('public', p.oid, 'EXECUTE') AS anybody
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
            WHERE {OURS} AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"""
    )
    return rows


async def _refusal(db: asyncpg.Connection, function: int) -> str | None:
    """Returns PostgreSQL's reason for refusing this SQL function with an empty search_path, or None."""
    attempt = db.transaction()
    await attempt.start()
    try:
        await db.execute("SET LOCAL search_path = ''; SET LOCAL check_function_bodies = on")
        await db.execute(f"SELECT pg_catalog.fmgr_sql_validator({function})")
    except asyncpg.PostgresError as error:
        return str(error)
    finally:
        await attempt.rollback()
    return None
