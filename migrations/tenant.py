"""Provides the functions by which a migration creates a tenant table.

Such a table has keys that begin with the district, forced row-level security, and plain grants. The functions are
frozen like the revisions that call them: they import nothing of the product, and only additions are allowed.
"""

from collections.abc import Mapping, Sequence

from alembic import context, op

from migrations.policies import condition_of

WITHOUT_DISTRICT = {"client": "client_id"}
"""The tables that belong to no district and may be referred to, with their key columns."""
ON_EVERY_NODE = ("district", "client", "client_secret")
FIRST_DISTRIBUTED = "district_lock"
"""The first table that is distributed.

A district's rows of all other tables are placed on the same node as its rows of this table.
"""
AT_SCHOOL = (
    "(current_setting('app.reach', true) = 'district'"
    " OR (current_setting('app.reach', true) = 'schools'"
    " AND {school} = ANY (nullif(current_setting('app.schools', true), '')::uuid[])))"
)
"""SQL that is true if the bound principal sees the whole district, or the school that a row is about."""
SCHOOLS = {
    "school_id": "school_ids[1]",
    "second_school_id": "school_ids[2]",
    "third_school_id": "school_ids[3]",
}
"""The generated columns of a table that is listed by school.

They are needed because an index on the array cannot be used under row-level security.
"""


def roles() -> Mapping[str, str]:
    """Returns the names that the roles `api` and `worker` have on the server."""
    names: Mapping[str, str] = context.config.attributes.get("roles") or {"api": "api", "worker": "worker"}
    return names


def grant(privileges: str, table: str, *grantees: str) -> None:
    """Grants privileges on a table to run-time roles."""
    for role in grantees:
        op.execute(f'GRANT {privileges} ON {table} TO "{roles()[role]}"')


def directory_function(definition: str, signature: str, *grantees: str) -> None:
    """Creates a function that runs with the owner's rights and that only the given run-time roles may call."""
    op.execute(definition)
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    for role in grantees:
        op.execute(f'GRANT EXECUTE ON FUNCTION {signature} TO "{roles()[role]}"')


def lock_rows(table: str, condition: str) -> None:
    """Forces row-level security on a table, with one permissive policy for the run-time roles and one for the owner."""
    names = ", ".join(f'"{name}"' for name in roles().values())
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO {names} USING ({condition}) WITH CHECK ({condition})")
    op.execute(f"CREATE POLICY owner ON {table} TO CURRENT_USER USING (true) WITH CHECK (true)")


def distribute(table: str) -> None:
    """Distributes a table by its district on Citus; does nothing on plain PostgreSQL.

    Tables without a district, and `district` itself, to which every table refers, are copied to every node.
    """
    if not context.config.attributes.get("citus"):
        return
    if table in ON_EVERY_NODE:
        op.execute(f"SELECT create_reference_table('{table}')")
    else:
        with_others = "default" if table == FIRST_DISTRIBUTED else FIRST_DISTRIBUTED
        op.execute(f"SELECT create_distributed_table('{table}', 'district_id', colocate_with => '{with_others}')")


def add_references(table: str, refs: Mapping[str, str]) -> None:
    """Adds a table's foreign keys. A key includes the district, unless the table to which it refers has no district."""
    for column, target in refs.items():
        if target in WITHOUT_DISTRICT:
            columns, keys = column, WITHOUT_DISTRICT[target]
        elif target == "district":
            columns = keys = "district_id"
        else:
            columns, keys = f"district_id, {column}", "district_id, id"
        name = f"{table}_{columns.replace(', ', '_')}_fkey"
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({columns}) REFERENCES {target} ({keys})")


def _named(table: str, columns: tuple[str, ...], kind: str) -> str:
    """Returns the name of a constraint or an index as the database stores it, in at most 63 bytes."""
    return f"{table}_{'_'.join(columns)}_{kind}"[:63]


def tenant_table(
    name: str,
    columns: str,
    *,
    key: Sequence[str] = ("id",),
    refs: Mapping[str, str] | None = None,
    uniques: Sequence[Sequence[str]] = (),
    indexes: Sequence[Sequence[str]] = (),
    more_indexes: Sequence[str] = (),
    by_school: Sequence[str] = (),
    student: str | None = None,
    schools: str = "school_ids",
    unless: str | None = None,
    lock: str | None = None,
    team: tuple[str, str] | None = None,
    school: str | None = None,
    api: str = "SELECT, INSERT, UPDATE",
    worker: str = "SELECT, INSERT, UPDATE",
) -> None:
    """Creates a tenant table with its columns, indexes, policies and grants, and then its foreign keys.

    On Citus a table must be distributed before its foreign keys are added. Otherwise they would refer to tables of the
    coordinator. A policy cannot be created on a distributed table if its condition is a constant.

    `columns` are the columns other than `district_id`. The column `id` is left out too if it is the key. `refs` maps a
    column to the tenant table to whose `(district_id, id)` it refers. `more_indexes` are index definitions without the
    words CREATE INDEX. `by_school` is the order in which the table is listed by school. `student`, `schools`, `unless`,
    `lock` and `team` are the arguments of `policies.condition_of`. `school` is the column of the only school that a row
    is about, which is null for the whole district.
    """
    own_key = "id uuid NOT NULL," if tuple(key) == ("id",) else ""
    parts = [f"CONSTRAINT {name}_pkey PRIMARY KEY ({', '.join(('district_id', *key))})"]
    for unique in uniques:
        led = ("district_id", *unique)
        parts.append(f"CONSTRAINT {_named(name, led, 'key')} UNIQUE ({', '.join(led)})")
    if by_school:
        parts = [*_school_columns(), *parts]
    definitions = ",\n    ".join(parts)
    op.execute(
        f"CREATE TABLE {name} (\n    district_id uuid NOT NULL,\n    {own_key}\n"
        f"    {columns.strip()},\n    {definitions}\n)"
    )
    for index in indexes:
        led = ("district_id", *index)
        op.execute(f"CREATE INDEX {_named(name, led, 'idx')} ON {name} ({', '.join(led)})")
    if by_school:
        more_indexes = [*_school_indexes(name, ", ".join(by_school)), *more_indexes]
    for statement in more_indexes:
        op.execute(f"CREATE INDEX {statement}")
    condition = condition_of(student, schools, unless, lock, team)
    if school is not None:
        condition = f"{condition} AND {AT_SCHOOL.format(school=school)}"
    lock_rows(name, condition)
    if api:
        grant(api, name, "api")
    if worker:
        grant(worker, name, "worker")
    distribute(name)
    add_references(name, refs or {})


ABOUT_STUDENT = """
    student_id uuid NOT NULL,
    school_ids uuid[] NOT NULL,
    secured_area text,
"""
"""The columns of a row about one student: the student's id, the student's present schools, and the secured area, if
any.
"""


def student_table(
    name: str,
    columns: str,
    *,
    key: Sequence[str] = ("id",),
    refs: Mapping[str, str] | None = None,
    uniques: Sequence[Sequence[str]] = (),
    indexes: Sequence[Sequence[str]] = (),
    more_indexes: Sequence[str] = (),
    by_school: Sequence[str] = (),
    team: tuple[str, str] | None = None,
    api: str = "SELECT, INSERT, UPDATE",
    worker: str = "SELECT, INSERT, UPDATE",
) -> None:
    """Creates a tenant table in which each row is about one student.

    Row-level security shows a row only to callers who may see the student and the row's secured area.
    """
    tenant_table(
        name,
        ABOUT_STUDENT + columns,
        key=key,
        refs={"student_id": "person", **(refs or {})},
        uniques=uniques,
        indexes=(("student_id",), *indexes),
        more_indexes=more_indexes,
        by_school=by_school,
        student="student_id",
        lock="secured_area",
        team=team,
        api=api,
        worker=worker,
    )


def _school_columns() -> list[str]:
    columns = [f"{name} uuid GENERATED ALWAYS AS ({value}) STORED" for name, value in SCHOOLS.items()]
    more = "CASE WHEN cardinality(school_ids) > 3 THEN true END"
    return [*columns, f"has_more_schools boolean GENERATED ALWAYS AS ({more}) STORED"]


def _school_indexes(table: str, order: str) -> list[str]:
    return [
        f"{table}_school_idx ON {table} (district_id, school_id, {order})",
        *(
            f"{table}_{place}_school_idx ON {table} (district_id, {place}_school_id, {order}) "
            f"WHERE {place}_school_id IS NOT NULL"
            for place in ("second", "third")
        ),
        f"{table}_more_schools_idx ON {table} (district_id, {order}) WHERE has_more_schools IS TRUE",
    ]


def create_index(definition: str) -> None:
    """Creates an index on a table that has rows, within the migration's transaction.

    Writes to the table wait while the index is built. CREATE INDEX CONCURRENTLY would avoid this. But if it failed, it
    would leave an invalid index, and the migration could not be repeated.
    """
    op.execute(f"-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX {definition}")
