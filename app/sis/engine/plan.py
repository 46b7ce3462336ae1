"""Owns the plan: for each kind rows to create, update, restore, remove, found by one join. Never writes the roster.

Rows that are as they were appear nowhere in it, so that a night without news costs a comparison. The plan of a held
run is kept in logged tables, under a digest of itself and of the rows that it would touch, until it is answered.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import BY_NAME, KINDS, SQL_TYPES, Kind, Ref
from app.sis.port import Delivery


async def write_keys(stage: Stage, kind: Kind, delivery: Delivery | None) -> None:
    """The table that turns a sourcedId of this kind into a row's id, known or to be.

    What is not delivered keeps its keys; of a delta, what came and what is known and was not taken back.
    """
    key = stage.table("key", kind.name)
    alias = f"e.district_id = :district AND e.source_id = :source AND e.kind = '{kind.name}'"
    staged, sifted = stage.table("staged", kind.name), kind.name in stage.sifted
    if delivery is not None and delivery.complete and not sifted:
        await stage.make("key", kind.name, "sourced_id text, id uuid, existed boolean")
    else:
        came = f"SELECT FROM {staged} AS s WHERE s.district_id = :district AND s.sourced_id = e.sourced_id"
        if sifted:  # what is not among the rest is plainly as it was
            came = f"SELECT FROM {stage.table('rest', kind.name)} AS s WHERE s.t_id = t.id"
        others = f"AND NOT EXISTS ({came})" if delivery is not None else ""
        await stage.make_as(
            "key",
            kind.name,
            f"""SELECT :district AS district_id, e.sourced_id, e.row_id AS id, true AS existed FROM external_id AS e
                JOIN {kind.table} AS t ON t.district_id = :district AND t.id = e.row_id
                WHERE {alias} AND t.removed_at IS NULL {others}""",
        )
    if delivery is not None:
        await stage.run(
            f"""INSERT INTO {key} (district_id, sourced_id, id, existed)
                SELECT :district, s.sourced_id,
                       coalesce(e.row_id, {fresh_id(kind.name, "s.sourced_id", "s.row_number")}), e.row_id IS NOT NULL
                FROM {staged} AS s
                LEFT JOIN external_id AS e ON {alias} AND e.sourced_id = s.sourced_id
                LEFT JOIN {kind.table} AS t ON t.district_id = :district AND t.id = e.row_id
                WHERE s.district_id = :district AND s.sourced_id IS NOT NULL AND NOT s.gone
                  AND (s.fault IS NULL OR (t.id IS NOT NULL AND t.removed_at IS NULL))
                ON CONFLICT DO NOTHING"""
        )
    await stage.driver.execute(f"ANALYZE {key}")


def plan_columns(kind: Kind, delivery: Delivery) -> list[tuple[str, str]]:
    """Column and SQL type of what this delivery says about the kind; the key itself left out."""
    fields = [(f.column, SQL_TYPES[f.type]) for f in kind.fields if f.header in delivery.header]
    refs = [
        (r.column, "uuid[]" if r.many else "uuid")
        for r in kind.refs
        if r.header in delivery.header and r.column != kind.key
    ]
    return [*fields, *refs, *((column, "boolean") for column, _ in kind.derived)]


def known_rows_sql(kind: Kind, columns: Iterable[str] = ()) -> str:
    """SQL for the rows that are known from this source, removed ones too, with their sourcedIds."""
    wanted = ", ".join(f"t.{column}" for column in ("district_id", kind.key, "removed_at", *columns))
    if kind.own_alias:
        return (
            f"SELECT t.sourced_id, {wanted} FROM {kind.table} AS t "
            "WHERE t.district_id = :district AND t.source_id = :source"
        )
    alias = "person" if kind.name == "demographics" else kind.name
    own = " AND t.source_id = :source" if kind.name == "demographics" else ""
    return (
        f"SELECT e.sourced_id, {wanted} FROM external_id AS e "
        f"JOIN {kind.table} AS t ON t.district_id = :district AND t.{kind.key} = e.row_id{own} "
        f"WHERE e.district_id = :district AND e.source_id = :source AND e.kind = '{alias}'"
    )


def _resolved_sql(stage: Stage, kind: Kind, delivery: Delivery) -> str:
    """SQL for the staged rows with their references as ids, and the first required one that is not known."""
    joins, columns, orphans = [], [], []
    for ref in (ref for ref in kind.refs if ref.header in delivery.header):
        key, name = stage.table("key", ref.kind), f"k_{ref.column}"
        if ref.many:
            said = id_lists_sql(stage, ref, stage.table("staged", kind.name), f"ref_{ref.column}")
            joins.append(f"LEFT JOIN ({said}) AS {name} ON {name}.list = s.ref_{ref.column}")
            columns.append(f"coalesce({name}.ids, '{{}}') AS {ref.column}")
            lost = f"s.ref_{ref.column} IS NOT NULL AND {name}.ids IS NULL"
        else:
            joins.append(
                f"LEFT JOIN {key} AS {name} ON {name}.district_id = :district "
                f"AND {name}.sourced_id = s.ref_{ref.column}"
            )
            columns.append(f"{name}.id AS {ref.column}")
            lost = f"{name}.id IS NULL"
        if ref.required:
            orphans.append(f"WHEN {lost} THEN '{ref.header}'")
    orphan = f"CASE {' '.join(orphans)} END" if orphans else "NULL::text"
    derived = "".join(f", {sql} AS {column}" for column, sql in kind.derived)
    fields = "".join(f", s.{f.column}" for f in kind.fields if f.header in delivery.header)
    return f"""SELECT s.district_id, s.row_number, s.sourced_id, s.gone, s.fault{fields}{derived},
               {", ".join([*columns, f"{orphan} AS orphan"])}
        FROM {stage.table("staged", kind.name)} AS s {" ".join(joins)} WHERE s.district_id = :district"""


def id_lists_sql(stage: Stage, ref: Ref, table: str, column: str) -> str:
    """SQL that reads each distinct list of sourcedIds once: many people, few lists. `whole` where all are known.

    A list that is itself a known sourcedId is that one, commas and all."""
    key = stage.table("key", ref.kind)
    return f"""SELECT l.list, array_agg(k.id ORDER BY l.place) FILTER (WHERE k.id IS NOT NULL) AS ids,
               bool_and(k.id IS NOT NULL) AS whole
        FROM (SELECT d.list, btrim(u.item) AS item, min(u.place) AS place
              FROM (SELECT DISTINCT s.{column} AS list FROM {table} AS s) AS d
              LEFT JOIN {key} AS one ON one.district_id = :district AND one.sourced_id = btrim(d.list),
                   unnest(CASE WHEN one.id IS NULL THEN string_to_array(d.list, ',') ELSE ARRAY[d.list] END)
                       WITH ORDINALITY AS u (item, place)
              GROUP BY d.list, btrim(u.item)) AS l
        LEFT JOIN {key} AS k ON k.district_id = :district AND k.sourced_id = l.item
        GROUP BY l.list"""


async def make_plan(stage: Stage, kind: Kind, columns: Iterable[tuple[str, str]]) -> str:
    """An empty plan for a kind, with these columns and SQL types; gives its table."""
    typed = "".join(f", {column} {sql}" for column, sql in columns)
    return await stage.make(
        "plan", kind.name, f"id uuid, sourced_id text, row_number bigint, action text, field text{typed}"
    )


async def write_plan(stage: Stage, kind: Kind, delivery: Delivery, *, complete: bool) -> None:
    """Compares a kind's staged rows with those that are known, and keeps what is to be done.

    `complete` is false where absence may not be believed: then nothing is removed for not being there.
    """
    columns = plan_columns(kind, delivery)
    plan = await make_plan(stage, kind, columns)
    free = "AND NOT '{0}' = ANY (t.pinned)" if kind.pinnable else ""
    differs = " OR ".join(
        f"(s.{column} IS DISTINCT FROM t.{column} {free.format(pin_of(column))})" for column, _ in columns
    )
    compared = [*(column for column, _ in columns), *(["pinned"] if kind.pinnable else [])]
    new = "s.person_id" if kind.key == "person_id" else fresh_id(kind.name, "s.sourced_id", "s.row_number")
    names = "".join(f", {column}" for column, _ in columns)
    absent = "CASE WHEN t.removed_at IS NULL THEN 'absent' END" if complete else "NULL"
    await stage.run(
        f"""
        INSERT INTO {plan} (district_id, id, sourced_id, row_number, action, field{names})
        SELECT :district, p.id, p.sourced_id, p.row_number, p.action, p.field{names} FROM (
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
        ) AS p WHERE p.action IS NOT NULL
        """
    )
    await stage.driver.execute(f"ANALYZE {plan}")
    if not kind.own_alias and kind.key == "id":
        # What was refused and is not known cannot be referred to.
        await stage.run(
            f"""DELETE FROM {stage.table("key", kind.name)} AS k USING {plan} AS p
                WHERE k.district_id = :district AND p.district_id = :district AND NOT k.existed
                  AND p.action = 'refuse' AND p.sourced_id = k.sourced_id"""
        )


def _matched_sql(stage: Stage, kind: Kind, columns: Iterable[str]) -> str:
    """SQL for the known rows that the staged ones meet, and for those that met none."""
    if kind.name not in stage.sifted:
        return known_rows_sql(kind, columns)
    wanted = ("sourced_id", "district_id", kind.key, "removed_at", *columns)
    table = stage.table("rest", kind.name)
    return f"SELECT {', '.join(f'r.t_{c} AS {c}' for c in wanted)} FROM {table} AS r WHERE r.t_{kind.key} IS NOT NULL"


def pin_of(column: str) -> str:
    """The name under which people pin a column."""
    return "role" if column == "is_student" else column


ALIASED = tuple(kind for kind in KINDS if not kind.own_alias and kind.key == "id")
"""Kinds that other rows refer to by a sourcedId."""


async def keep_plan(stage: Stage, deliveries: Mapping[str, Delivery]) -> dict[str, Any]:
    """Keeps the plan beyond the run's transaction and beyond a crash; refused rows are not kept.

    Gives what the run's row remembers of it: the digest that an approval must name, and what each file spoke of.
    """
    for kind in deliveries:
        table = stage.table("plan", kind)
        await stage.run(f"DELETE FROM {table} WHERE district_id = :district AND action = 'refuse'")
        await stage.keep(table)
    files = {kind: {"file": one.file, "header": list(one.header)} for kind, one in deliveries.items()}
    return {"digest": await digest(stage, deliveries), "files": files}


def full_column_delivery(kind: Kind) -> Delivery:
    """A delivery that speaks of every column of a kind, without rows to read."""
    header = (*(field.header for field in kind.fields), *(ref.header for ref in kind.refs))
    return Delivery(kind.name, "", False, header, 0, lambda: iter(()))


def kept_deliveries(plan: Mapping[str, Any]) -> dict[str, Delivery]:
    """What a kept plan was made of, as the apply asks for it: the columns, and no rows to read."""
    return {
        kind: Delivery(kind, one["file"], False, tuple(one["header"]), 0, lambda: iter(()))
        for kind, one in plan["files"].items()
    }


async def digest(stage: Stage, kinds: Iterable[str]) -> str:
    """16 hexadecimal digits that change with any row of the plan, and with any roster row that it would touch."""
    found = hashlib.sha256()
    for kind in (one for one in KINDS if one.name in set(kinds)):
        (row,) = await stage.rows(
            f"""SELECT md5(coalesce(string_agg(md5(p::text || coalesce(t::text, '')), '' ORDER BY p.id), '')) AS rows
                FROM {stage.table("plan", kind.name)} AS p
                LEFT JOIN {kind.table} AS t ON t.district_id = :district AND t.{kind.key} = p.id
                WHERE p.district_id = :district"""
        )
        found.update(f"{kind.name} {row['rows']}".encode())
    return found.hexdigest()[:16]


async def leave_removals(stage: Stage, kinds: Iterable[str]) -> None:
    """Takes every removal out of the plan."""
    for kind in kinds:
        await stage.run(
            f"DELETE FROM {stage.table('plan', kind)} WHERE district_id = :district AND action IN ('remove', 'absent')"
        )


def kept_tables(run_id: UUID, plan: Mapping[str, Any]) -> list[str]:
    """The staging tables that hold the plan of a run."""
    return [f"staging.plan_{BY_NAME[kind].name}_{run_id.hex}" for kind in plan["files"]]
