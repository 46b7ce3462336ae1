"""Owns how a tenant table is made: keys led by the district, forced row-level security, plain grants."""

from collections.abc import Mapping, Sequence

from alembic import context, op

from app.access.policies import policy


def roles() -> Mapping[str, str]:
    """The names under which the server knows `api` and `worker`."""
    names: Mapping[str, str] = context.config.attributes.get("roles") or {"api": "api", "worker": "worker"}
    return names


def grant(privileges: str, table: str, *who: str) -> None:
    """Grants privileges on a table to run-time roles."""
    for role in who:
        op.execute(f'GRANT {privileges} ON {table} TO "{roles()[role]}"')


def lock_rows(table: str, condition: str) -> None:
    """Forces row-level security: one permissive policy for the run-time roles, the owner's own beside it."""
    names = ", ".join(f'"{name}"' for name in roles().values())
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO {names} USING ({condition}) WITH CHECK ({condition})")
    op.execute(f"CREATE POLICY owner ON {table} TO CURRENT_USER USING (true) WITH CHECK (true)")


def tenant_table(
    name: str,
    columns: str,
    *,
    key: Sequence[str] = ("id",),
    refs: Mapping[str, str] | None = None,
    uniques: Sequence[Sequence[str]] = (),
    indexes: Sequence[Sequence[str]] = (),
    student: str | None = None,
    schools: str = "school_ids",
    unless: str | None = None,
    lock: str | None = None,
    api: str = "SELECT, INSERT, UPDATE",
    worker: str = "SELECT, INSERT, UPDATE",
) -> None:
    """Makes a tenant table.

    `columns` are the columns beside `district_id` (and beside `id`, where that is the key); `refs` maps a
    column to the tenant table whose `(district_id, id)` it names. `student`, `schools`, `unless` and `lock` say whom
    a row is about, as `access.policies.policy` takes them.
    """
    own_key = "id uuid NOT NULL," if tuple(key) == ("id",) else ""
    parts = [f"CONSTRAINT {name}_pkey PRIMARY KEY ({', '.join(('district_id', *key))})"]
    for unique in uniques:
        columns_of = ("district_id", *unique)
        parts.append(f"CONSTRAINT {name}_{'_'.join(columns_of)}_key UNIQUE ({', '.join(columns_of)})")
    for column, target in (refs or {}).items():
        there = "district_id" if target == "district" else "district_id, id"
        here = "district_id" if target == "district" else f"district_id, {column}"
        named = here.replace(", ", "_")
        parts.append(f"CONSTRAINT {name}_{named}_fkey FOREIGN KEY ({here}) REFERENCES {target} ({there})")
    constraints = ",\n    ".join(parts)
    op.execute(
        f"CREATE TABLE {name} (\n    district_id uuid NOT NULL,\n    {own_key}\n"
        f"    {columns.strip()},\n    {constraints}\n)"
    )
    for index in indexes:
        columns_of = ("district_id", *index)
        op.execute(f"CREATE INDEX {name}_{'_'.join(columns_of)}_idx ON {name} ({', '.join(columns_of)})")
    lock_rows(name, policy(student=student, schools=schools, unless=unless, lock=lock))
    if api:
        grant(api, name, "api")
    if worker:
        grant(worker, name, "worker")


ABOUT_STUDENT = """
    student_id uuid NOT NULL,
    school_ids uuid[] NOT NULL,
    secured_area text,
"""
"""Columns of a row about one student: whom, in which schools now, and the secured area it belongs to, if any."""


def student_table(
    name: str,
    columns: str,
    *,
    key: Sequence[str] = ("id",),
    refs: Mapping[str, str] | None = None,
    uniques: Sequence[Sequence[str]] = (),
    indexes: Sequence[Sequence[str]] = (),
    api: str = "SELECT, INSERT, UPDATE",
    worker: str = "SELECT, INSERT, UPDATE",
) -> None:
    """Makes a tenant table whose every row is about one student, under reach and secured areas."""
    tenant_table(
        name,
        ABOUT_STUDENT + columns,
        key=key,
        refs={"student_id": "person", **(refs or {})},
        uniques=uniques,
        indexes=(("student_id",), *indexes),
        student="student_id",
        lock="secured_area",
        api=api,
        worker=worker,
    )
