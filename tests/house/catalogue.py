"""Checks PostgreSQL's catalogue for every table. Each check returns its findings and asserts nothing.

The checks read the actual schema and not the migrations, so no new table is missed. Exceptions are listed in `LET_OFF`,
with their reasons.
"""

import re
from collections.abc import Awaitable, Callable

import asyncpg

Check = Callable[[asyncpg.Connection, dict[str, str]], Awaitable[list[str]]]

LET_OFF = {
    # A table that is not a tenant's.
    "table alembic_version": "the migrations' own bookkeeping",
    "table client": "a client may serve several districts; only the directory function and the worker read it",
    "table client_secret": "belongs to a client, as above",
    # A key that the district does not lead.
    "key district.district_slug_key": "the operator finds a district by its short name, before its id is known",
    "key client_grant.client_grant_client_id_fkey": "a client belongs to no district; the row itself does",
    "key token_revocation.token_revocation_client_id_fkey": "as above",
    # People in a row that is not about a student.
    "reach calendar_link.person_id": "always staff; a declared condition shows the links of the caller's own",
    "reach disclosure.person_id": "who asked, always staff; no face reads this log",
    "reach team_member.person_id": "always staff; the policy shows the teams of the caller's schools",
    "reach disclosure.student_ids": "a request's students, several; no face reads this log",
    # Functions that run with the owner's rights.
    "definer app.client_directory(uuid)": "a client's grants, read before a district is known",
    "definer app.client_origins()": "the origins of clients, read before a token is: a preflight has none",
    "definer app.feed_heads(uuid[])": "numbers only, for the streams of a process",
    "definer app.district_directory(text)": "a district's id by its short name, as above",
    "definer app.revocations_in_force()": "ids and times only, before any token is accepted",
    "definer app.sync_standing()": "short names, hours and counts of runs, for the operator's alarms",
    "definer app.districts_after(uuid,integer)": "ids only, for the worker's daily round",
    "definer app.districts_with_jobs_due(integer)": "kinds of jobs and ids only, for the worker's claims",
    # A function with its caller's search_path.
    "function app.enter(uuid,text,text,text,text)": "runs with its caller's rights and names no table; as it is, its "
    "SET LOCAL was tried on Citus, and a SET clause beside it was not",
    "function app.enter(uuid,text,text,text,text,text)": "as above, with the teams",
    # What may be deleted.
    "delete caseload to api": "a support that ends takes its student off the caseload; the support remains",
    "delete caseload to worker": "as above, and enrollments that end",
    "delete sis_upload to worker": "a zip that was sent is there until its run has ended",
    "delete event to worker": "the feed is kept 30 days; the disclosure log stays",
    "delete webhook_delivery to worker": "the log of what was sent is kept as long as its event, 30 days after its end",
    "delete idempotent_request to worker": "an answer is kept under its idempotency key for a day",
    "delete webhook_attempt to worker": "as above",
    "delete sis_planned_change to worker": "the list of what a run would change is kept 30 days",
    "delete sis_planned_value to worker": "as above, and until the person is forgotten",
}
ABOUT_PEOPLE = {
    "person": "id",
    "school_membership": "person_id",
    "enrollment": "person_id",
    "person_role": "person_id",
    "demographics": "person_id",
}
"""Tables about a person whose column for the person is not `student_id`, with the name of that column."""
ON_EVERY_NODE = ["district", "client", "client_secret"]
"""The tables that Citus copies to every node: those without a district, and the districts themselves."""
NEVER_THE_APIS = ("sis_change", "client", "client_secret")
ALLOWED_IN_POLICY = {"current_setting", "nullif", "strpos", "any", "array", "and", "or", "not", "coalesce"}
DISTRICT_IN_POLICY = "district_id = (NULLIF(current_setting('app.district_id'::text, true), ''::text))::uuid"
OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg_temp%'"


def let_off(findings: list[tuple[str, str]]) -> list[str]:
    """Returns each finding as one text. Leaves out findings about the exceptions in `LET_OFF`.

    A finding is a pair: the name of a part of the database, and a sentence about it.
    """
    return [f"{name}: {sentence}" for name, sentence in findings if name not in LET_OFF]


async def tenant_tables(db: asyncpg.Connection) -> list[asyncpg.Record]:
    """Returns the tables of the schema `public`, with their properties in PostgreSQL's catalogue.

    Tables that `LET_OFF` lists as exceptions are left out.
    """
    rows = await db.fetch(
        """SELECT c.oid, c.relname AS name, c.relrowsecurity AS secured, c.relforcerowsecurity AS forced,
                  (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'district_id'
                    AND NOT a.attisdropped AND a.attnotnull AND a.atttypid = 'uuid'::regtype) AS district,
                  ARRAY (SELECT a.attname::text FROM pg_attribute a
                         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
           FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'f')
           ORDER BY c.relname"""
    )
    return [row for row in rows if f"table {row['name']}" not in LET_OFF]


async def every_table_has_a_district(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the tables without a column `district_id uuid NOT NULL`, and the tables in an unexpected schema."""
    findings = [
        (f"table {row['name']}", "has no district_id uuid NOT NULL")
        for row in await tenant_tables(db)
        if row["district"] is None
    ]
    elsewhere = await db.fetch(
        f"""SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE {OURS} AND c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('public', 'staging')"""
    )
    return let_off(findings + [(f"table {row['name']}", "lies in a schema that nobody checks") for row in elsewhere])


async def every_row_is_locked(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the tables for which row-level security is off, or is not forced for the owner."""
    findings = []
    for row in await tenant_tables(db):
        if not row["secured"]:
            findings.append((f"table {row['name']}", "has no row-level security"))
        if not row["forced"]:
            findings.append((f"table {row['name']}", "does not FORCE row-level security"))
    return let_off(findings)


async def policies_are_plain(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns tables that do not have two permissive policies with equal conditions.

    One must be for both run-time roles, and one for the owner.
    """
    running = set(roles.values())
    findings = []
    for table in await tenant_tables(db):
        policies = await policies_of(db, table["oid"])
        name = f"table {table['name']}"
        for policy in policies:
            if not policy["permissive"]:
                findings.append((name, f"its policy {policy['name']} is RESTRICTIVE: shards would open it"))
            if policy["command"] != "*":
                findings.append((name, f"its policy {policy['name']} is for one command only"))
        theirs = [policy for policy in policies if running & set(policy["roles"]) or "public" in policy["roles"]]
        if len(theirs) != 1 or set(theirs[0]["roles"]) != running:
            findings.append((name, f"has not exactly one policy for {sorted(running)}"))
        for policy in theirs:
            if policy["using"] is None or policy["using"] != policy["check"]:
                findings.append((name, f"the policy {policy['name']} has a WITH CHECK that is not its USING"))
            findings += [(name, finding) for finding in unsuitable_policy(policy["using"] or "")]
    return let_off(findings)


async def people_are_within_reach(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns a finding for each table whose policy does not restrict the rows to those that the caller may see.

    The policy of a table about students must check which students the caller may see. The policy of a table with
    secured areas must check that the caller has the scope of the area.
    """
    findings = []
    for table in await tenant_tables(db):
        text = " ".join(
            policy["using"] or ""
            for policy in await policies_of(db, table["oid"])
            if set(roles.values()) & set(policy["roles"])
        )
        about = ABOUT_PEOPLE.get(table["name"]) or ("student_id" if "student_id" in table["columns"] else None)
        name = f"table {table['name']}"
        if about is not None:
            for setting in ("app.reach", "app.schools"):
                if f"current_setting('{setting}'" not in text:
                    findings.append((name, f"is about students, and its policy does not read {setting}"))
            part = f"current_setting(('app.students_'::text || \"right\"(({about})::text, 1)), true)"
            if f"strpos({part}, ({about})::text) > 0" not in text:
                findings.append((name, f"its policy does not hold {about} against the caseload"))
        elif people := {"person_id", "staff_id", "student_ids", "person_ids"} & set(table["columns"]):
            findings += [(f"reach {table['name']}.{column}", "names people outside the reach") for column in people]
        secured = "secured_area" in table["columns"]
        if secured and "secured_area = ANY" not in text:
            findings.append((name, "has secured areas, and its policy does not lock them"))
        if table["name"] == "demographics" and "'demographics'" not in text:
            findings.append((name, "demographics are not locked"))
    return let_off(findings)


async def the_district_leads_every_key(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the primary keys, unique constraints and indexes that do not begin with `district_id`, and the tables
    without a primary key.
    """
    findings = []
    for table in await tenant_tables(db):
        indexes = await db.fetch(
            "SELECT indexrelid::regclass::text AS name, indkey[0] AS first, indisprimary AS main FROM pg_index "
            "WHERE indrelid = $1",
            table["oid"],
        )
        findings += [
            (f"key {table['name']}.{index['name']}", "is not led by district_id")
            for index in indexes
            if index["first"] != table["district"]
        ]
        if not any(index["main"] for index in indexes):
            findings.append((f"table {table['name']}", "has no primary key"))
    return let_off(findings)


async def references_stay_within_the_district(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the foreign keys that do not begin with the district column in both tables.

    Also returns those with an action ON DELETE or ON UPDATE.
    """
    rows = await db.fetch(
        """SELECT k.conname AS name, h.relname AS here, t.relname AS there, k.confdeltype::text AS deletes,
                  k.confupdtype::text AS updates,
                  (SELECT attname FROM pg_attribute WHERE attrelid = h.oid AND attnum = k.conkey[1]) AS first_here,
                  (SELECT attname FROM pg_attribute WHERE attrelid = t.oid AND attnum = k.confkey[1]) AS first_there
           FROM pg_constraint k JOIN pg_class h ON h.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
           WHERE k.contype = 'f'"""
    )
    findings = []
    for row in rows:
        name = f"key {row['here']}.{row['name']}"
        if row["deletes"] not in "ar" or row["updates"] not in "ar":
            findings.append((name, "does something on DELETE or UPDATE of what it refers to"))
        if f"table {row['here']}" in LET_OFF and f"table {row['there']}" in LET_OFF:
            continue
        if (row["first_here"], row["first_there"]) != ("district_id", "district_id"):
            findings.append((name, f"could refer to a {row['there']} of another district"))
    return let_off(findings)


async def tables_on_every_node_stand_alone(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the tables with a wrong foreign key among the tables that Citus copies to every node.

    A foreign key is wrong if it refers to a table that is not on every node. It is also wrong if a run-time role may
    insert rows but may not lock the rows to which they refer.
    """
    rows = await db.fetch(
        """SELECT h.relname AS here, t.relname AS there,
                  ARRAY (SELECT r FROM unnest($1::text[]) AS r WHERE has_table_privilege(r, h.oid, 'INSERT')
                         AND NOT has_table_privilege(r, t.oid, 'UPDATE')) AS cannot_lock
           FROM pg_constraint k JOIN pg_class h ON h.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
           WHERE k.contype = 'f' AND h.relname = ANY ($2)""",
        list(roles.values()),
        ON_EVERY_NODE,
    )
    findings = [
        (f"table {row['here']}", f"is on every node and refers to {row['there']}, which is not")
        for row in rows
        if row["there"] not in ON_EVERY_NODE
    ]
    for row in rows:
        findings += [(f"table {row['here']}", f"{role} cannot lock {row['there']}") for role in row["cannot_lock"]]
    return [f"{name}: {words}" for name, words in findings]


async def nothing_runs_by_itself(db: asyncpg.Connection, roles: dict[str, str]) -> list[str]:
    """Returns the triggers, rules and sequences of the database. None may exist."""
    triggers = await db.fetch("SELECT tgrelid::regclass::text AS t, tgname FROM pg_trigger WHERE NOT tgisinternal")
    rules = await db.fetch(
        f"""SELECT r.rulename, c.relname FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND c.relkind <> 'v'"""
    )
    others = await db.fetch(
        f"""SELECT n.nspname || '.' || c.relname AS name, c.relkind::text AS kind, c.reloptions AS options
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE {OURS} AND c.relkind IN ('S', 'v', 'm') AND n.nspname <> 'staging'"""
    )
    findings = [(f"trigger {row['t']}.{row['tgname']}", "no triggers") for row in triggers]
    findings += [(f"rule {row['relname']}.{row['rulename']}", "no rules") for row in rules]
    for row in others:
        if row["kind"] == "S":
            findings.append((f"sequence {row['name']}", "orders by arrival, not by commit, and not by district"))
        elif row["kind"] == "m":
            findings.append((f"view {row['name']}", "a materialized view has no row-level security"))
        elif "security_invoker=true" not in (row["options"] or []):
            findings.append((f"view {row['name']}", "reads with its owner's rights: make it security_invoker"))
    return let_off(findings)


async def policies_of(db: asyncpg.Connection, table: int) -> list[asyncpg.Record]:
    """Returns the policies of a table: name, kind, command, conditions and roles."""
    rows: list[asyncpg.Record] = await db.fetch(
        """SELECT polname AS name, polpermissive AS permissive, polcmd::text AS command,
                  pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS check,
                  ARRAY (SELECT CASE WHEN r = 0 THEN 'public' ELSE pg_get_userbyid(r)::text END
                         FROM unnest(polroles) r) AS roles
           FROM pg_policy WHERE polrelid = $1""",
        table,
    )
    return rows


def unsuitable_policy(text: str) -> list[str]:
    """Returns the parts of a policy's condition that are not allowed."""
    findings = []
    if not (text.startswith(f"({DISTRICT_IN_POLICY}") or text.startswith(f"(({DISTRICT_IN_POLICY}")):
        findings.append("its policy does not begin with the district")
    if " OR " in _outermost(text):
        findings.append("its policy has an OR outside of every parenthesis: the district must always hold")
    if re.search(r"\bselect\b", text, re.IGNORECASE):
        findings.append("its policy holds a subquery")
    called = {name.lower() for name in re.findall(r"([A-Za-z_][\w.]*)\s*\(", text)} - ALLOWED_IN_POLICY
    if called:
        findings.append(f"its policy calls {sorted(called)}")
    return findings


def _outermost(text: str) -> str:
    """Returns the part of a condition that is in no parentheses, except those around the whole condition."""
    depth, kept = 0, []
    for letter in text:
        depth += letter == "("
        if depth <= 1:
            kept.append(letter)
        depth -= letter == ")"
    return "".join(kept)
