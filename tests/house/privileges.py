"""Owns the checks of roles and privileges in PostgreSQL's catalogue. Each gives its findings, none asserts."""

import asyncpg

from tests.house.catalogue import LET_OFF, NEVER_THE_APIS, OURS, let_off


async def roles_cannot_pass_the_rows(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """`api` and `worker` are plain: no superuser, no BYPASSRLS, owning nothing, members of nothing."""
    found = []
    for purpose, role in roles.items():
        row = await db.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", role)
        assert row is not None
        for flag in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication"):
            if row[flag]:
                found.append((f"role {purpose}", f"has {flag}"))
        owns = await db.fetch(
            f"""SELECT n.nspname || '.' || c.relname AS name FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE {OURS} AND n.nspname <> 'staging' AND c.relowner = $1
                UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.proowner = $1
                UNION ALL SELECT n.nspname FROM pg_namespace n WHERE n.nspowner = $1""",
            row["oid"],
        )
        found += [(f"role {purpose}", f"owns {one['name']}") for one in owns]
        groups = await db.fetch(
            "SELECT roleid::regrole::text AS name FROM pg_auth_members WHERE member = $1", row["oid"]
        )
        found += [(f"role {purpose}", f"is a member of {one['name']}") for one in groups]
    return let_off(found)


async def privileges_are_few(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Nothing is PUBLIC's, nobody deletes but where it is let off, `api` reaches neither staging nor the secrets."""
    rows = await db.fetch(
        f"""SELECT n.nspname AS schema, c.relname AS name, a.privilege_type AS privilege,
                   CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS who
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
            WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND a.grantee <> c.relowner"""
    )
    found = []
    for row in rows:
        purpose = next((purpose for purpose, role in roles.items() if role == row["who"]), row["who"])
        said = f"{row['privilege']} to {purpose}"
        if purpose not in roles:
            found.append((f"privilege {row['schema']}.{row['name']}", f"{said}: only api and worker have any"))
        elif row["privilege"] == "MAINTAIN" and purpose == "worker":
            continue  # statistics: it reads and changes no row
        elif row["schema"] == "public" and row["privilege"] not in ("SELECT", "INSERT", "UPDATE"):
            kind = row["privilege"].lower()
            found.append((f"{kind} {row['name']} to {purpose}", "rows are removed by a tombstone"))
        if purpose == "api" and (row["schema"] != "public" or row["name"] in NEVER_THE_APIS):
            found.append((f"privilege {row['schema']}.{row['name']}", f"{said}: never the api's"))
    for purpose, role in roles.items():
        for schema in ("public", "app", "staging"):
            usage, create = await db.fetchrow(  # type: ignore[misc]  # one row, always
                "SELECT has_schema_privilege($1, $2, 'USAGE'), has_schema_privilege($1, $2, 'CREATE')", role, schema
            )
            if schema == "staging" and purpose == "api" and usage:
                found.append(("schema staging", "the api can reach it"))
            if create and (schema, purpose) != ("staging", "worker"):
                found.append((f"schema {schema}", f"{purpose} can make objects in it"))
    return let_off(found)


async def owners_rights_are_listed(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """SECURITY DEFINER functions are those let off, exactly; their search_path is pinned, PUBLIC cannot call them."""
    rows = await db.fetch(
        f"""SELECT p.oid::regprocedure::text AS name, p.proconfig AS config, p.prosecdef AS definer,
                   has_function_privilege('public', p.oid, 'EXECUTE') AS anybody
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS}"""
    )
    found = []
    for row in rows:
        if not row["definer"]:
            continue
        found.append((f"definer {row['name']}", "runs with the owner's rights and is not let off"))
        path = [one for one in row["config"] or [] if one.startswith("search_path=")]
        if path != ["search_path=pg_catalog, public"]:
            found.append((f"function {row['name']}", "its search_path is not pinned to pg_catalog, public"))
        if row["anybody"]:
            found.append((f"function {row['name']}", "PUBLIC may execute it"))
    there = {f"definer {row['name']}" for row in rows if row["definer"]}
    gone = {name for name in LET_OFF if name.startswith("definer ")} - there
    return [*let_off(found), *(f"{name} is let off and is not there" for name in sorted(gone))]
