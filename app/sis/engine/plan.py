"""Writes the plan: which rows to create, update, restore or remove. Does not change the roster.

* Unchanged rows are not in the plan, so that a sync without changes costs only the comparison.
* The plan of a run that is held for approval is stored in a logged table until a person approves or discards it.
* The digest of a plan covers the plan and the roster rows that it would change.

This file exceeds 250 lines so that a plan is written, stored and loaded with the same columns in one place.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import BY_NAME, KINDS, SQL_TYPES, Kind, Ref
from app.sis.port import Delivery


async def write_keys(stage: Stage, kind: Kind, delivery: Delivery | None) -> None:
    """Writes a staging table that maps sourcedIds to row ids, for one kind of record. It includes rows to be created.

    * Without a delivery, the table has all existing rows.
    * For a complete delivery, it has the delivered rows.
    * For a delta, it has the delivered rows and the existing rows that the delta does not mention.
    """
    columns = ("sourced_id", "id", "existed")
    alias = f"e.district_id = :district AND e.source_id = :source AND e.kind = '{kind.name}'"
    if not (delivery is not None and delivery.complete and kind.name not in stage.sifted):
        delivered = f"SELECT FROM {stage.of_run('staged', kind.name)} AS s WHERE s.sourced_id = e.sourced_id"
        if kind.name in stage.sifted:  # all other rows are unchanged
            delivered = f"SELECT FROM {stage.of_run('staged', kind.name)} AS s WHERE s.t_key = t.id"
        others = f"AND NOT EXISTS ({delivered})" if delivery is not None else ""
        await stage.insert(
            "key",
            kind.name,
            columns,
            f"""SELECT :district, :run, e.sourced_id, e.row_id, true FROM external_id AS e
                JOIN {kind.table} AS t ON t.district_id = :district AND t.id = e.row_id
                WHERE {alias} AND t.removed_at IS NULL {others}""",
            are_distinct=True,  # by the primary key of `external_id`
        )
    if delivery is not None:
        await stage.insert(
            "key",
            kind.name,
            columns,
            f"""SELECT :district, :run, s.sourced_id,
                       coalesce(e.row_id, {fresh_id(kind.name, "s.sourced_id", "s.row_number")}), e.row_id IS NOT NULL
                FROM {stage.delivered(kind.name)} AS s
                LEFT JOIN external_id AS e ON {alias} AND e.sourced_id = s.sourced_id
                LEFT JOIN {kind.table} AS t ON t.district_id = :district AND t.id = e.row_id
                WHERE s.sourced_id IS NOT NULL AND NOT s.gone
                  AND (s.fault IS NULL OR (t.id IS NOT NULL AND t.removed_at IS NULL))""",
        )


def plan_columns(kind: Kind, delivery: Delivery) -> list[tuple[str, str]]:
    """Returns the columns of a kind of record that the delivery has, except the key. Each is a name and an SQL type."""
    fields = [(f.column, SQL_TYPES[f.type]) for f in kind.fields if f.header in delivery.header]
    refs = [
        (r.column, "uuid[]" if r.many else "uuid")
        for r in kind.refs
        if r.header in delivery.header and r.column != kind.key
    ]
    return [*fields, *refs, *((column, "boolean") for column, _ in kind.derived)]


def known_columns(kind: Kind, delivery: Delivery) -> list[tuple[str, str]]:
    """Returns the columns of a staged row that have the present values of the matching roster row.

    Each is a name and an SQL type.
    """
    compared = [(f"t_{column}", sql) for column, sql in plan_columns(kind, delivery)]
    pinned = [("t_pinned", "text[]")] if kind.pinnable else []
    return [("t_sourced_id", "text"), ("t_key", "uuid"), ("t_removed_at", "timestamptz"), *compared, *pinned]


def known_rows_sql(kind: Kind, columns: Iterable[str] = ()) -> str:
    """Returns SQL that selects the roster rows of a kind of record that came from this source.

    Removed rows are included. The columns are the sourcedId, the district, the key, `removed_at` and the given
    `columns`.
    """
    selected = ", ".join(f"t.{column}" for column in ("district_id", kind.key, "removed_at", *columns))
    if kind.own_alias:
        return (
            f"SELECT t.sourced_id, {selected} FROM {kind.table} AS t "
            "WHERE t.district_id = :district AND t.source_id = :source"
        )
    alias = "person" if kind.name == "demographics" else kind.name
    own = " AND t.source_id = :source" if kind.name == "demographics" else ""
    return (
        f"SELECT e.sourced_id, {selected} FROM external_id AS e "
        f"JOIN {kind.table} AS t ON t.district_id = :district AND t.{kind.key} = e.row_id{own} "
        f"WHERE e.district_id = :district AND e.source_id = :source AND e.kind = '{alias}'"
    )


def _resolved_sql(stage: Stage, kind: Kind, delivery: Delivery) -> str:
    """Returns SQL that selects the staged rows, with the sourcedIds in their references replaced by row ids.

    If required references of a row are unknown, the column `orphan` names the first of them. Otherwise it is null.
    """
    joins, columns, orphans = [], [], []
    for ref in (ref for ref in kind.refs if ref.header in delivery.header):
        key, name = stage.of_run("key", ref.kind), f"k_{ref.column}"
        if ref.many:
            id_lists = id_lists_sql(stage, ref, stage.delivered(kind.name), f"ref_{ref.column}")
            joins.append(f"LEFT JOIN ({id_lists}) AS {name} ON {name}.list = s.ref_{ref.column}")
            columns.append(f"coalesce({name}.ids, '{{}}') AS {ref.column}")
            is_unknown = f"s.ref_{ref.column} IS NOT NULL AND {name}.ids IS NULL"
        else:
            joins.append(f"LEFT JOIN {key} AS {name} ON {name}.sourced_id = s.ref_{ref.column}")
            columns.append(f"{name}.id AS {ref.column}")
            is_unknown = f"{name}.id IS NULL"
        if ref.required:
            orphans.append(f"WHEN {is_unknown} THEN '{ref.header}'")
    orphan = f"CASE {' '.join(orphans)} END" if orphans else "NULL::text"
    derived = "".join(f", {sql} AS {column}" for column, sql in kind.derived)
    fields = "".join(f", s.{f.column}" for f in kind.fields if f.header in delivery.header)
    return f"""SELECT s.row_number, s.sourced_id, s.gone, s.fault{fields}{derived},
               {", ".join([*columns, f"{orphan} AS orphan"])}
        FROM {stage.delivered(kind.name)} AS s {" ".join(joins)}"""


def id_lists_sql(stage: Stage, ref: Ref, table: str, column: str) -> str:
    """Returns SQL that resolves the lists of sourcedIds in a column to lists of row ids.

    Each distinct list is resolved once, because many people have the same few lists. In the result, `whole` is true if
    all items of a list are known. A list whose whole text, including its commas, is itself a known sourcedId counts as
    a single item.
    """
    key = stage.of_run("key", ref.kind)
    return f"""SELECT l.list, array_agg(k.id ORDER BY l.place) FILTER (WHERE k.id IS NOT NULL) AS ids,
               bool_and(k.id IS NOT NULL) AS whole
        FROM (SELECT d.list, btrim(u.item) AS item, min(u.place) AS place
              FROM (SELECT DISTINCT s.{column} AS list FROM {table} AS s) AS d
              LEFT JOIN {key} AS one ON one.sourced_id = btrim(d.list),
                   unnest(CASE WHEN one.id IS NULL THEN string_to_array(d.list, ',') ELSE ARRAY[d.list] END)
                       WITH ORDINALITY AS u (item, place)
              GROUP BY d.list, btrim(u.item)) AS l
        LEFT JOIN {key} AS k ON k.sourced_id = l.item
        GROUP BY l.list"""


async def write_plan(stage: Stage, kind: Kind, delivery: Delivery, *, complete: bool) -> None:
    """Writes the plan of one kind of record by comparing the staged rows with the roster rows.

    If `complete` is true, a roster row that was not delivered is removed; if it is false, the row stays. Some rows,
    such as roles, are delivered inside a row of another kind, such as a person. They are removed if the person was
    delivered without them.
    """
    complete = complete or bool(delivery.within)
    columns = plan_columns(kind, delivery)
    free = "AND NOT '{0}' = ANY (t.pinned)" if kind.pinnable else ""
    differs = " OR ".join(
        f"(s.{column} IS DISTINCT FROM t.{column} {free.format(pin_of(column))})" for column, _ in columns
    )
    differs = differs or "false"  # a file may have no column but the sourcedId
    compared = [*(column for column, _ in columns), *(["pinned"] if kind.pinnable else [])]
    new = fresh_id(kind.name, "s.sourced_id", "s.row_number")
    if kind.key == "person_id":
        new = f"coalesce(s.person_id, {new})"  # a row that names no known person is refused, and needs an id of its own
    names = [column for column, _ in columns]
    within = _within_sql(stage, delivery)
    if kind.name in stage.outside:
        within += f" AND t.{kind.key} NOT IN ({stage.outside[kind.name]})"
    absent = f"CASE WHEN t.removed_at IS NULL{within} THEN 'absent' END" if complete else "NULL"
    await stage.insert(
        "plan",
        kind.name,
        ("id", "sourced_id", "row_number", "action", "field", *names),
        f"""SELECT :district, :run, p.id, p.sourced_id, p.row_number, p.action, p.field
                   {"".join(f", p.{name}" for name in names)} FROM (
            SELECT coalesce(t.{kind.key}, {new}) AS id, coalesce(s.sourced_id, t.sourced_id) AS sourced_id,
                   s.row_number, s.orphan AS field{"".join(f", s.{column}" for column, _ in columns)},
                   CASE WHEN s.row_number IS NULL THEN {absent}
                        WHEN s.fault IS NOT NULL THEN NULL
                        WHEN s.gone THEN CASE WHEN t.removed_at IS NULL AND t.{kind.key} IS NOT NULL
                                              THEN 'remove' END
                        WHEN s.orphan IS NOT NULL THEN 'refuse'
                        WHEN t.{kind.key} IS NULL THEN 'create'
                        WHEN t.removed_at IS NOT NULL THEN 'restore'
                        WHEN {differs} THEN 'update' END AS action
            FROM ({_resolved_sql(stage, kind, delivery)}) AS s
            FULL JOIN ({_matched_sql(stage, kind, compared)}) AS t ON t.sourced_id = s.sourced_id
        ) AS p WHERE p.action IS NOT NULL""",
        # With aliases in `external_id`, two sourcedIds could belong to the same row.
        are_distinct=kind.own_alias,
    )
    if not kind.own_alias and kind.key == "id":
        # A new row that is refused will not exist, so no reference may lead to it.
        await stage.run(
            f"""DELETE FROM {stage.table("key", kind.name)} AS k USING {stage.of_run("plan", kind.name)} AS p
                WHERE k.district_id = :district AND k.run_id = :run AND NOT k.existed AND p.action = 'refuse'
                  AND p.sourced_id = k.sourced_id"""
        )


def _within_sql(stage: Stage, delivery: Delivery) -> str:
    """Returns SQL that limits which roster rows are removed because the delivery lacks them.

    The SQL begins with AND, and `t` is the alias of the roster row. If the rows are not delivered inside a row of
    another kind (the outer row), as roles are inside a person, the SQL is an empty string. Otherwise:

    * In a delta, a missing row is removed only if its outer row was delivered without a fault.
    * In a complete delivery, a missing row is removed unless its outer row was delivered with a fault.
    """
    if not delivery.within:
        return ""
    column, fault = f"t.{delivery.within}_id", "IS NOT NULL" if delivery.complete else "IS NULL"
    rows = f"""SELECT k.id FROM {stage.of_run("key", delivery.within)} AS k
        JOIN {stage.delivered(delivery.within)} AS s ON s.sourced_id = k.sourced_id WHERE s.fault {fault}"""
    return f" AND {column} {'NOT IN' if delivery.complete else 'IN'} ({rows})"


def _matched_sql(stage: Stage, kind: Kind, columns: Iterable[str]) -> str:
    """Returns SQL that selects the roster rows with which the staged rows are compared.

    If unchanged rows were left out of the staging table, these are only the rows that the delivery changes or lacks.
    """
    if kind.name not in stage.sifted:
        return known_rows_sql(kind, columns)
    selected = ", ".join(f"r.t_{column} AS {column}" for column in ("sourced_id", "removed_at", *columns))
    return f"""SELECT r.t_key AS {kind.key}, {selected}
        FROM {stage.of_run("staged", kind.name)} AS r WHERE r.t_key IS NOT NULL"""


def pin_of(column: str) -> str:
    """Returns the name of this column in `Person.pinned`, the list of fields that a sync does not overwrite."""
    return "role" if column == "is_student" else column


async def keep_plan(stage: Stage, deliveries: Mapping[str, Delivery]) -> dict[str, Any]:
    """Copies the plan into a table that outlives the run and a crash. Refused rows are not copied.

    Only the plan's district can read the copy. Returns what is stored with the run: the digest that an approval must
    contain, and the header of each file.
    """
    for kind in deliveries:
        table = stage.table("plan", kind)
        await stage.run(
            f"DELETE FROM {table} AS p WHERE p.district_id = :district AND p.run_id = :run AND p.action = 'refuse'"
        )
        await stage.run(
            f"""INSERT INTO staging.kept_plan (district_id, run_id, kind, id, planned)
                SELECT :district, :run, '{kind}', p.id, to_jsonb(p) FROM {stage.of_run("plan", kind)} AS p
                ON CONFLICT DO NOTHING"""
        )
    files = {kind: {"file": each.file, "header": list(each.header)} for kind, each in deliveries.items()}
    return {"digest": await digest(stage, deliveries), "files": files}


async def load_plan(stage: Stage, run_id: UUID, kinds: Iterable[str]) -> None:
    """Copies a stored plan into the plan of the present run. `keep_plan` stored it for the earlier run `run_id`."""
    for kind in kinds:
        names = [name for name, _ in planned_columns(BY_NAME[kind])]
        await stage.insert(
            "plan",
            kind,
            names,
            f"""SELECT :district, :run, {", ".join(f"p.{name}" for name in names)}
                FROM staging.kept_plan AS k, LATERAL jsonb_populate_record(NULL::staging.plan_{kind}, k.planned) AS p
                WHERE k.district_id = :district AND k.run_id = '{run_id}' AND k.kind = '{kind}'""",
        )


def planned_columns(kind: Kind) -> list[tuple[str, str]]:
    """Returns all columns of the plan of a kind of record, except district and run. Each is a name and an SQL type."""
    common = [("id", "uuid"), ("sourced_id", "text"), ("row_number", "bigint"), ("action", "text"), ("field", "text")]
    return [*common, *plan_columns(kind, full_column_delivery(kind))]


def full_column_delivery(kind: Kind) -> Delivery:
    """Returns a delivery without rows that has every column of a kind of record.

    It is used where a function needs a delivery only to know the columns.
    """
    header = (*(field.header for field in kind.fields), *(ref.header for ref in kind.refs))
    return Delivery(kind.name, "", False, header, 0, lambda: iter(()))


def kept_deliveries(plan: Mapping[str, Any]) -> dict[str, Delivery]:
    """Returns a delivery without rows for each file of a stored plan, keyed by kind of record.

    Each delivery has the columns of the file. `apply` needs the deliveries to apply the plan.
    """
    return {
        kind: Delivery(kind, file["file"], False, tuple(file["header"]), 0, lambda: iter(()))
        for kind, file in plan["files"].items()
    }


async def digest(stage: Stage, kinds: Iterable[str]) -> str:
    """Returns a digest of the plan and of the roster rows that it would change, as 16 hexadecimal digits."""
    hasher = hashlib.sha256()
    names = set(kinds)
    for kind in (kind for kind in KINDS if kind.name in names):
        (row,) = await stage.rows(
            f"""SELECT md5(coalesce(string_agg(md5(p::text || coalesce(t::text, '')), '' ORDER BY p.id), '')) AS rows
                FROM {stage.of_run("plan", kind.name)} AS p
                LEFT JOIN {kind.table} AS t ON t.district_id = :district AND t.{kind.key} = p.id"""
        )
        hasher.update(f"{kind.name} {row['rows']}".encode())
    return hasher.hexdigest()[:16]


async def drop_removals(stage: Stage, kinds: Iterable[str]) -> None:
    """Deletes all removals of rows from the plan."""
    for kind in kinds:
        await stage.run(
            f"""DELETE FROM {stage.table("plan", kind)} AS p
                WHERE p.district_id = :district AND p.run_id = :run AND p.action IN ('remove', 'absent')"""
        )
