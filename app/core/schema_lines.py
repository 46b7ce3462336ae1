"""Describes a database's schema by one line per table, column, key, policy, grant and function.

Two databases with the same lines have the same access rules. Role names are replaced by placeholders, so that
installations with other role names have the same lines. Does not read rows of our tables.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import asyncpg

IS_OWN_OBJECT = """n.nspname IN ('public', 'app', 'staging')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {oid} AND d.classid = '{catalogue}'::regclass
                    AND d.deptype = 'e')"""
"""SQL condition that selects the objects in Aimline's schemas that belong to no extension.

Managed servers may install their own extensions in `public`.
"""
IS_PERMANENT = "NOT (n.nspname = 'staging' AND c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user))"
"""SQL condition that excludes the temporary tables of a sync in `staging`, which the worker owns.

They are not part of the schema.
"""
RELATIONS = f"{IS_OWN_OBJECT.format(oid='c.oid', catalogue='pg_class')} AND {IS_PERMANENT}"
FUNCTIONS = IS_OWN_OBJECT.format(oid="p.oid", catalogue="pg_proc")

QUERIES = (
    # Schemas and their privileges.
    """SELECT 'schema ' || n.nspname::text FROM pg_namespace n WHERE n.nspname IN ('public', 'app', 'staging')""",
    """SELECT 'grant ' || a.privilege_type || ' on schema ' || n.nspname || ' to ' || {grantee}
       FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
       WHERE n.nspname IN ('public', 'app', 'staging') AND a.grantee <> n.nspowner
         AND pg_get_userbyid(a.grantee)::text <> current_user::text""",
    """SELECT 'grant ' || p || ' on database to ' || CASE r.rolname WHEN {api} THEN '<api>' ELSE '<worker>' END
       FROM pg_roles r, unnest(ARRAY['CREATE', 'TEMPORARY']) p
       WHERE r.rolname IN ({api}, {worker}) AND has_database_privilege(r.oid, current_database(), p)""",
    # Relations, columns, keys, indexes, triggers and rules.
    # Tables whose rows do not outlive a run may be unlogged. On a cluster they are logged, so that districts can move.
    """SELECT 'relation ' || n.nspname || '.' || c.relname || ' ' || c.relkind::text
           || CASE WHEN n.nspname = 'staging' AND NOT c.relrowsecurity THEN '' ELSE c.relpersistence::text END
           || ' owner=' || {relation_owner}
           || CASE WHEN c.relrowsecurity THEN ' row-security' ELSE '' END
           || CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END
           || CASE WHEN c.relkind = 'v' THEN ' options=' || coalesce(c.reloptions::text, '')
                                              || ' md5=' || md5(pg_get_viewdef(c.oid)) ELSE '' END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {relations}""",
    """SELECT 'column ' || n.nspname || '.' || c.relname || '.' || a.attname || ' '
           || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
           || CASE WHEN a.attidentity <> '' THEN ' identity=' || a.attidentity::text ELSE '' END
           || CASE WHEN a.attgenerated <> '' THEN ' generated=' || a.attgenerated::text ELSE '' END
           || coalesce(' default ' || pg_get_expr(x.adbin, x.adrelid), '')
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef x ON x.adrelid = a.attrelid AND x.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {relations}""",
    # PostgreSQL 18 also lists NOT NULL as a constraint and 17 does not, so it is described with its column.
    """SELECT 'constraint ' || n.nspname || '.' || c.relname || '.' || k.conname || ' ' || pg_get_constraintdef(k.oid)
           || CASE WHEN k.convalidated THEN '' ELSE ' not validated' END
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE k.contype IN ('p', 'u', 'f', 'c', 'x') AND {relations}""",
    """SELECT 'index ' || n.nspname || '.' || c.relname || '.' || i.relname || ' ' || pg_get_indexdef(i.oid)
           || CASE WHEN x.indisvalid THEN '' ELSE ' not valid' END
        FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_class i ON i.oid = x.indexrelid
        WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
          AND {relations}""",
    """SELECT 'trigger ' || n.nspname || '.' || c.relname || '.' || t.tgname || ' ' || pg_get_triggerdef(t.oid)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT t.tgisinternal AND {relations}""",
    """SELECT 'rule ' || n.nspname || '.' || c.relname || '.' || r.rulename
        FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind NOT IN ('v', 'm') AND {relations}""",
    # Policies and privileges.
    """SELECT 'policy ' || n.nspname || '.' || c.relname || '.' || p.polname || ' '
           || CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END || ' command='
           || p.polcmd::text || ' to '
           || (SELECT string_agg({policy_role}, ', ' ORDER BY {policy_role}) FROM unnest(p.polroles) r)
           || coalesce(' using ' || pg_get_expr(p.polqual, p.polrelid), '')
           || coalesce(' check ' || pg_get_expr(p.polwithcheck, p.polrelid), '')
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {relations}""",
    """SELECT 'grant ' || a.privilege_type || ' on ' || n.nspname || '.' || c.relname || ' to ' || {grantee}
           || CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
        WHERE a.grantee <> c.relowner AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {relations}""",
    """SELECT 'grant ' || a.privilege_type || ' on ' || n.nspname || '.' || c.relname || '.' || t.attname
           || ' to ' || {grantee}
        FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
             aclexplode(t.attacl) a
        WHERE a.grantee <> c.relowner AND {relations}""",
    # Functions.
    """SELECT 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
           || ' returns ' || coalesce(pg_get_function_result(p.oid), '') || ' ' || l.lanname
           || ' volatility=' || p.provolatile::text || CASE WHEN p.prosecdef THEN ' security-definer' ELSE '' END
           || coalesce(' set ' || array_to_string(p.proconfig, '; '), '') || ' owner=' || {function_owner}
           || ' md5=' || md5(p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), ''))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
        WHERE {functions}""",
    """SELECT 'grant ' || a.privilege_type || ' on ' || n.nspname || '.' || p.proname
           || '(' || pg_get_function_identity_arguments(p.oid) || ') to ' || {grantee}
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
             aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE a.grantee <> p.proowner AND {functions}""",
)

REVOCABLE_GRANTS = ("grant TEMPORARY on database ", "grant USAGE on schema public to PUBLIC")
"""Grants that PostgreSQL gives to everybody by default, and that a careful administrator may have revoked."""


async def describe_schema(connection: asyncpg.Connection, roles: Mapping[str, str]) -> list[str]:
    """Returns the sorted lines that describe the schema, as seen by the database's owner.

    `roles` maps `api` and `worker` to the server's names for these roles.
    """
    names = {purpose: _literal(roles[purpose]) for purpose in ("api", "worker")}

    def name_of(oid: str) -> str:
        return (
            f"CASE WHEN {oid} = 0 THEN 'PUBLIC' ELSE (CASE pg_get_userbyid({oid})::text "
            f"WHEN {names['api']} THEN '<api>' WHEN {names['worker']} THEN '<worker>' "
            f"WHEN current_user::text THEN '<owner>' ELSE 'role:' || pg_get_userbyid({oid}) END) END"
        )

    places = {
        "{relations}": RELATIONS,
        "{functions}": FUNCTIONS,
        "{grantee}": name_of("a.grantee"),
        "{policy_role}": name_of("r"),
        "{relation_owner}": name_of("c.relowner"),
        "{function_owner}": name_of("p.proowner"),
        "{api}": names["api"],
        "{worker}": names["worker"],
    }
    lines: list[str] = []
    async with connection.transaction(readonly=True):
        # With an empty search path PostgreSQL qualifies every name in a definition.
        await connection.execute("SET LOCAL search_path = ''")
        for query in QUERIES:
            for place, sql in places.items():
                query = query.replace(place, sql)
            lines += [row[0] for row in await connection.fetch(query)]
    return sorted(" ".join(line.split()) for line in lines)


def differences(expected: Sequence[str], actual: Iterable[str]) -> list[str]:
    """Returns a sentence for each line that is missing or unexpected, or an empty list if the schema is as expected.

    Additions by an administrator are accepted: tables of other software in `public`, an index, or a grant to another
    role (which sees no rows under row-level security).
    """
    actual_lines, expected_lines = set(actual), set(expected)
    relations = {_relation(line) for line in expected_lines}
    missing = [
        f"missing: {line}" for line in sorted(expected_lines - actual_lines) if not line.startswith(REVOCABLE_GRANTS)
    ]
    return missing + [
        f"unexpected: {line}" for line in sorted(actual_lines - expected_lines) if not _is_addition(line, relations)
    ]


def lines_of_owner(lines: Sequence[str]) -> list[str]:
    """Returns the lines that a restore is expected to reproduce, given the lines of the database that was backed up.

    Relations of other roles, such as tables of other software in `public`, are left out, because a backup does not
    contain them. Functions of other roles belong to the owner after a restore.
    """
    foreign = {_relation(line) for line in lines if line.startswith("relation ") and " owner=role:" in line}
    return [
        re.sub(r" owner=role:.* md5=", " owner=<owner> md5=", line) if line.startswith("function ") else line
        for line in lines
        if _relation(line) not in foreign
    ]


def _is_addition(line: str, relations: set[str]) -> bool:
    kind = line.split(" ", 1)[0]
    if kind == "grant" and " to role:" in line:
        return True
    if kind in ("relation", "column", "constraint", "index", "trigger", "rule", "policy"):
        foreign = _relation(line) not in relations and _relation(line).startswith("public.")
        return foreign or (kind == "index" and not line.endswith(" not valid"))
    return kind == "grant" and _relation(line).startswith("public.") and _is_foreign_grant(line, relations)


def _is_foreign_grant(line: str, relations: set[str]) -> bool:
    return "(" not in line and _relation(line) not in relations


def _relation(line: str) -> str:
    """Returns the qualified name of the relation that a line describes."""
    words = line.split(" ")
    name = words[3] if words[0] == "grant" and len(words) > 3 else words[1]
    return ".".join(name.split(".")[:2])


def _literal(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
