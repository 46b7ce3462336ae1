"""Checks the staging tables in PostgreSQL's catalogue; each check returns its findings.

The checks read the actual schema, not what a migration meant to create.
"""

import asyncpg

from app.sis.engine.plan import full_column_delivery, known_columns, planned_columns
from app.sis.engine.stage import ALIASED, STAGING_TABLES
from app.sis.kinds import KINDS, SQL_TYPES
from tests.house.catalogue import let_off, policies_of, unsuitable_policy

KEPT = ("kept_plan", "kept_rekey")
"""The tables whose rows are kept after their run."""
TABLES = """
SELECT c.oid, c.relname::text AS name, c.relrowsecurity AS secured, c.relforcerowsecurity AS forced,
       c.relpersistence::text AS how, pg_get_userbyid(c.relowner)::text AS owner,
       ARRAY (SELECT a.attname || ' ' || a.atttypid::regtype || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
              FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attnum) AS columns,
       ARRAY (SELECT (SELECT string_agg(a.attname, ' ' ORDER BY k.place)
                      FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
                      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)
              FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS keys
FROM pg_class c WHERE c.relnamespace = 'staging'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY c.relname
"""


async def staged_rows_are_of_a_run(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns staging tables whose primary key does not begin with district and run, and tables that a run created and
    did not drop.
    """
    findings = []
    for row in await db.fetch(TABLES):
        name = f"staging {row['name']}"
        if row["owner"] in roles.values():
            findings.append((name, "was made by a run, and outlives it"))
            continue
        if row["columns"][:2] != ["district_id uuid NOT NULL", "run_id uuid NOT NULL"]:
            findings.append((name, "does not begin with district and run"))
        if not any(key.startswith("district_id run_id") for key in row["keys"]):
            findings.append((name, "has no primary key that district and run lead"))
    return let_off(findings)


async def kept_plans_are_locked(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Checks the staging tables whose rows outlive a run.

    Returns those that are unlogged, and those with a missing or wrong policy of row-level security.
    """
    findings = []
    for row in await db.fetch(TABLES):
        name = f"staging {row['name']}"
        if row["how"] != "p":
            if row["name"] in KEPT:
                findings.append((name, "is unlogged, and outlives its run"))
            continue
        if not (row["secured"] and row["forced"]):
            findings.append((name, "has no FORCEd row-level security"))
        policies = await policies_of(db, row["oid"])
        theirs = [policy for policy in policies if policy["roles"] != [row["owner"]]]
        if [policy["roles"] for policy in theirs] != [[roles["worker"]]]:
            findings.append((name, "has not exactly one policy, the worker's"))
        for policy in theirs:
            if policy["using"] != policy["check"]:
                findings.append((name, "has a WITH CHECK that is not its USING"))
            findings += [(name, sentence) for sentence in unsuitable_policy(policy["using"] or "")]
    return let_off(findings)


async def staging_has_the_columns_of_the_kinds(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the kinds of record whose staging tables are missing, or lack a column that statements name."""
    rows = await db.fetch(TABLES)
    existing = {row["name"]: {column.removesuffix(" NOT NULL") for column in row["columns"]} for row in rows}
    needed: dict[str, set[str]] = {name: set() for name in (*STAGING_TABLES, *KEPT)}
    for kind in KINDS:
        fields = [(field.column, SQL_TYPES[field.type]) for field in kind.fields]
        refs = [(f"ref_{ref.column}", "text") for ref in kind.refs]
        needed[f"staged_{kind.name}"] |= _typed([*fields, *refs, *known_columns(kind, full_column_delivery(kind))])
        needed[f"plan_{kind.name}"] |= _typed(planned_columns(kind))
    for kind in ALIASED:
        needed[f"key_{kind.name}"] |= {"sourced_id text", "id uuid"}
    findings = [(f"staging {name}", "is not there") for name in needed if name not in existing]
    findings += [(f"staging {name}", "no statement knows it") for name in existing if name not in needed]
    for name, columns in needed.items():
        findings += [(f"staging {name}", f"lacks {column}") for column in sorted(columns - existing.get(name, columns))]
    return let_off(findings)


def _typed(columns: list[tuple[str, str]]) -> set[str]:
    return {f"{name} {sql.replace('timestamptz', 'timestamp with time zone')}" for name, sql in columns}
