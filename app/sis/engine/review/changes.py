"""Stores the list of what a run would change, so that a person can read it before and after approving the run.

In the list, a digest replaces each personal value. The value itself is stored separately, for callers who may also read
it in the roster. The digests of one run are made with a random text that is stored nowhere: equal values have equal
digests within the run, and nobody can find the value of a digest by trying all names or birth dates.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.access.permission import DEMOGRAPHICS_LOCK
from app.sis.engine.plan import plan_columns
from app.sis.engine.review.contradictions import LikelyRekey
from app.sis.engine.review.planned_rows import planned_rows_sql
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import BY_NAME, KINDS, Kind
from app.sis.port import Delivery

MOST_LISTED: Final = 50_000
"""The maximum number of listed changes of one kind. Removals come first, then updates, restored rows and new rows.

Nobody reads a longer list change by change; a plan is approved as a whole, or by schools and kinds.
"""
REKEY: Final = "rekey"
PERSONAL_KINDS: Final = ("person", "demographics", "result", "assessment_result", "score")
NOT_PERSONAL: Final = ("role", "enabled", "grades", "student_id", "taken_on", "attempt", "purpose")
"""The columns of `PERSONAL_KINDS` whose values do not count as personal, and are listed as plain text.

They say what a person is in the district, and when and for what purpose a score was taken.
"""
ORDER: Final = "CASE p.action WHEN 'update' THEN 2 WHEN 'restore' THEN 3 WHEN 'create' THEN 4 ELSE 1 END"


def is_personal(kind: Kind, column: str) -> bool:
    """Returns whether a column has personal data. The list of changes shows a digest instead of such a value."""
    return (
        kind.name in PERSONAL_KINDS and column not in NOT_PERSONAL and column not in (ref.column for ref in kind.refs)
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """The planned rows of one kind of record that are to be listed, and the columns to show.

    * `rows_sql`: SQL that selects the rows, with the same columns as `planned_rows_sql`.
    * `secured_area`: SQL for the code of the secured area to which a row belongs, or null. In this SQL, `p` is the
      alias of the row. Only callers with the scope of this area may read the row's personal values.
    * `context`: the columns that are listed for every row, even if the row does not change them.
    """

    kind: Kind
    columns: Sequence[str]
    rows_sql: str
    secured_area: str
    context: Sequence[str] = ()


async def list_changes(
    stage: Stage, deliveries: Mapping[str, Delivery], rekeys: Sequence[LikelyRekey]
) -> tuple[int, list[str]]:
    """Stores the list of a run's planned changes. Also lists `rekeys`, the people who likely have a new sourcedId.

    Returns the number of listed changes, and a sentence for each kind of record whose changes are not all listed.
    """
    listings = []
    for kind in KINDS:
        if kind.name in deliveries:
            columns = [name for name, _ in plan_columns(kind, deliveries[kind.name]) if name not in dict(kind.derived)]
            area = f"'{DEMOGRAPHICS_LOCK}'" if kind.name == "demographics" else "NULL"
            listings.append(Listing(kind, columns, planned_rows_sql(stage, kind, columns), area))
    listed, notes = await list_rows(stage, listings)
    return listed + await _list_rekeys(stage, rekeys), notes


async def list_rows(stage: Stage, listings: Sequence[Listing]) -> tuple[int, list[str]]:
    """Stores a list of planned rows, with digests instead of personal values. Returns the number of listed rows.

    Also returns a sentence for each kind of record that has more rows than can be listed.
    """
    salt, listed, notes = secrets.token_hex(16), 0, []
    for place, listing in enumerate(listings):
        kind = listing.kind
        planned = sum(rows for action, rows in stage.planned_rows.get(kind.name, {}).items() if action != "refuse")
        if not planned:
            continue
        rows = await _list_kind(stage, listing, place, salt)
        if any(is_personal(kind, column) for column in listing.columns):
            await _store_personal(stage, listing)
        if rows == MOST_LISTED < planned:
            notes.append(f"The list of changes has the first {rows:,} of {planned:,} {kind.plural}, removals first.")
        listed += rows
    return listed, notes


async def _list_kind(stage: Stage, listing: Listing, place: int, salt: str) -> int:
    """Stores the list of planned changes of one kind of record, and returns their number.

    `place` is the position of this kind in the whole list, and `salt` is the random text for the digests.
    """
    first, kind = (place + 1) * 10 * MOST_LISTED, listing.kind
    return await stage.run(
        f"""INSERT INTO sis_planned_change
                (district_id, id, run_id, kind, action, row_id, sourced_id, student_id, org_ids, fields)
            SELECT :district, {fresh_id("planned " + kind.name, "p.id::text", "p.place")}, :run, '{kind.name}',
                   p.action, p.id, p.sourced_id, p.student_id, p.org_ids, {_fields_sql(listing, salt)}
            FROM (SELECT p.*, {first} + row_number() OVER (ORDER BY {ORDER}, p.sourced_id, p.id) AS place
                  FROM ({listing.rows_sql}) AS p) AS p
            WHERE p.place <= {first + MOST_LISTED} ON CONFLICT DO NOTHING"""
    )


async def _store_personal(stage: Stage, listing: Listing) -> None:
    """Stores the personal values of the listed changes of one kind of record as plain text.

    The list itself has only their digests.
    """
    await stage.run(
        f"""INSERT INTO sis_planned_value (district_id, id, run_id, student_id, org_ids, secured_area, personal)
            SELECT :district, c.id, :run, c.student_id, c.org_ids, {listing.secured_area}, {_fields_sql(listing, None)}
            FROM sis_planned_change AS c JOIN ({listing.rows_sql}) AS p ON p.id = c.row_id
            WHERE c.district_id = :district AND c.run_id = :run AND c.kind = '{listing.kind.name}'
            ON CONFLICT DO NOTHING"""
    )


def _fields_sql(listing: Listing, salt: str | None) -> str:
    """Returns SQL for a JSON object that shows what a planned row changes, column by column.

    In the SQL, `p` is the alias of the row. For each changed column, and for each column in `listing.context`, the
    object has a list: the value before the change, and the value after it. With a `salt`, a digest replaces each
    personal value, and the list has `true` as a third item. Without a `salt`, the object has only the personal columns,
    with their values.
    """
    pairs = []
    for column in listing.columns:
        before, after, marks = f"to_jsonb(p.before_{column})", f"to_jsonb(p.after_{column})", ""
        if not is_personal(listing.kind, column):
            if salt is None:
                continue
        elif salt is not None:
            before, after, marks = _digest(salt, column, "before"), _digest(salt, column, "after"), ", true"
        is_changed = "true" if column in listing.context else f"p.before_{column} IS DISTINCT FROM p.after_{column}"
        pairs.append(f"'{column}', CASE WHEN {is_changed} THEN jsonb_build_array({before}, {after}{marks}) END")
    return f"jsonb_strip_nulls(jsonb_build_object({', '.join(pairs)}))"


def _digest(salt: str, column: str, side: str) -> str:
    text = f"'{salt} {column} ' || p.{side}_{column}::text"
    return f"left(encode(sha256(convert_to({text}, 'UTF8')), 'hex'), 12)"


async def _list_rekeys(stage: Stage, rekeys: Sequence[LikelyRekey]) -> int:
    """Adds the people who likely have a new sourcedId to the list of changes, and returns their number.

    If the plan removes the person with the old sourcedId and creates one with the new sourcedId, these two changes stay
    in the list as well.
    """
    if not rekeys:
        return 0
    await stage.insert_records(
        "given_pair", ("number", "old", "new"), [(n, r.old, r.new) for n, r in enumerate(rekeys) if r.new is not None]
    )
    return await list_rekeyed(
        stage,
        "person",
        f"""SELECT e.row_id, g.old, g.new FROM {stage.of_run("given_pair")} AS g
            JOIN external_id AS e ON e.district_id = :district AND e.source_id = :source AND e.kind = 'person'
             AND e.sourced_id = g.old""",
    )


async def list_rekeyed(stage: Stage, name: str, pairs: str) -> int:
    """Adds rows to the list of planned changes: one for each person, or each role, with a new sourcedId.

    Returns the number of added rows.

    `name` is `person` or `role`. `pairs` is SQL that returns the columns `row_id`, `old` and `new`.
    """
    kind = BY_NAME[name]
    student = "CASE WHEN o.is_student THEN o.id END"
    person = "r.row_id" if name == "person" else "t.person_id"
    joined = "" if name == "person" else f"JOIN {kind.table} AS t ON t.district_id = :district AND t.id = r.row_id"
    fields = "jsonb_build_object('sourced_id', jsonb_build_array(r.old, r.new))"
    return await stage.run(
        f"""INSERT INTO sis_planned_change
                (district_id, id, run_id, kind, action, row_id, sourced_id, student_id, org_ids, fields)
            SELECT :district, {fresh_id("planned rekey " + name, "r.old || ' ' || r.new", "r.place")}, :run, '{name}',
                   '{REKEY}', r.row_id, r.old, {student}, o.school_ids, {fields}
            FROM (SELECT r.*, row_number() OVER (ORDER BY r.old, r.new) AS place FROM ({pairs}) AS r) AS r {joined}
            JOIN person AS o ON o.district_id = :district AND o.id = {person}
            WHERE r.place <= {MOST_LISTED} ON CONFLICT DO NOTHING"""
    )
