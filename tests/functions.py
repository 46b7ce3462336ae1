"""Reads the SQL statements in the bodies of the database's functions that run with the caller's rights.

A statement that calls such a function executes these statements too. So the checks of statements must see them.
"""

import re
from collections.abc import Iterator

import asyncpg

CALL = re.compile(r"\bapp\.(\w+)\(")
BODIES = """
SELECT p.proname AS name, p.prosrc AS body, p.proargnames AS names,
       ARRAY (SELECT format_type(t, NULL) FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) AS t) AS types
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'app'::regnamespace AND NOT p.prosecdef AND l.lanname = 'plpgsql'
"""
DECLARED = re.compile(r"^\s*(\w+) (bigint|uuid|text|jsonb);", re.MULTILINE)
FIRST = re.compile(r"\b(?:INSERT INTO|UPDATE|SELECT)\b.*", re.DOTALL)
_statements: dict[str, list[str]] = {}


async def load_functions(url: str) -> None:
    """Reads the functions of a migrated database, so that `inner_statements` can return their statements."""
    owner = await asyncpg.connect(url)
    try:
        rows = await owner.fetch(BODIES)
    finally:
        await owner.close()
    for row in rows:
        types = dict(zip(row["names"] or (), row["types"], strict=False))
        _statements.setdefault(row["name"], []).extend(_within(row["body"], types))


def inner_statements(statement: str) -> Iterator[str]:
    """Yields the statements of the functions that a statement calls."""
    for name in CALL.findall(statement):
        yield from _statements.get(name, ())


def _within(body: str, types: dict[str, str]) -> Iterator[str]:
    """Yields the statements on tables in a function's body, with parameters such as `$1::uuid` for its variables."""
    types |= dict(DECLARED.findall(body))
    for part in body.split(";"):
        match = FIRST.search(part)
        if match is None or "public." not in match.group():
            continue
        variables = "|".join(types)
        statement = re.sub(rf"\bINTO (?:STRICT )?(?:{variables})\b", "", match.group())
        used = [name for name in types if re.search(rf"(?<![.\w]){name}\b", statement)]
        for place, name in enumerate(used, start=1):
            statement = re.sub(rf"(?<![.\w]){name}\b", f"${place}::{types[name]}", statement)
        yield statement.replace("public.", "")
