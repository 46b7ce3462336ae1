"""If a plan is approved only for some schools or kinds of record, deletes the other changes from it.

Never changes the roster. A change of a row is applied only if all the schools to which the row belongs, before and
after the change, are approved. Rows that belong to no school and to no person, such as terms, may always be created and
changed, but are not removed. A change that is not applied is called left out. Further changes may then have to be left
out:

* If a new row, or a removed row that would come back, is left out, then changes of rows that refer to it are left out.
* If a student's move to other schools is left out, then the student's new and changed enrollments are left out.
* If the change or removal of row A is left out, A keeps its old values. If it still refers to row B, then the removal
  of B is left out.
"""

# ruff: noqa: S608  # only our own names and ids are formatted into statements; values are bound

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.sis.engine.plan import plan_columns
from app.sis.engine.report import CAME, WENT, Counts, count_planned
from app.sis.engine.review.planned_rows import planned_rows_sql
from app.sis.engine.stage import Stage
from app.sis.kinds import KINDS, Kind, Ref
from app.sis.port import Delivery

COLUMNS: Final = ("kind", "id", "action", "reason", "moves")


class Reason(StrEnum):
    """Why a planned row is left out."""

    KIND = "kind"
    SCHOOL = "school"
    REFERENCE = "reference"


SENTENCES: Final = {
    Reason.KIND: "{count} left out, because this kind was not approved.",
    Reason.SCHOOL: "{count} left out, because not all of their schools were approved.",
    Reason.REFERENCE: "{count} left out, because of a row that is left out and to which they refer, or that refers to "
    "them.",
}


@dataclass(frozen=True, slots=True)
class ApprovedPart:
    """The part of a plan that a person has approved: some schools, and some kinds of record.

    None stands for all schools, or for all kinds.
    """

    schools: Collection[UUID] | None = None
    kinds: Collection[str] | None = None


async def leave_out(
    stage: Stage, deliveries: Mapping[str, Delivery], part: ApprovedPart, kinds: Mapping[str, Counts]
) -> list[str]:
    """Deletes from the plan the changes that are not approved, and subtracts them from the counts.

    Returns sentences for the report: how many changes of each kind of record are left out, and why.
    """
    planned = [kind for kind in KINDS if kind.name in deliveries]
    for kind in planned:
        await count_planned(stage, kind)
    if part.kinds is not None:
        for kind in planned:
            if kind.name not in part.kinds:
                await _leave_out_kind(stage, kind, deliveries[kind.name])
    if part.schools is not None:
        others = await _orgs_without_students(stage)
        for kind in planned:
            await _leave_out_schools(stage, kind, deliveries[kind.name], part.schools, others)
    await _mark_referring_rows(stage, planned)
    await _mark_removals(stage, planned)
    sentences = []
    for kind in planned:
        rows_by_reason = await _delete(stage, kind, kinds[kind.name])
        sentences += [
            f"{deliveries[kind.name].file}: " + SENTENCES[Reason(reason)].format(count=pluralize_changes(rows))
            for reason, rows in sorted(rows_by_reason.items())
        ]
    return sentences


def pluralize_changes(count: int) -> str:
    """Returns the beginning of a sentence about planned changes, such as "2 planned changes are"."""
    return f"{count:,} planned {'change is' if count == 1 else 'changes are'}"


async def is_approved_sql(stage: Stage, org_ids: str, schools: Collection[UUID]) -> str:
    """Returns an SQL condition: a row belongs to an approved school, and to no school that is not approved.

    `org_ids` is SQL for the orgs to which the row belongs.
    """
    approved, others = _array(schools), _array(await _orgs_without_students(stage))
    return f"{org_ids} <@ ({approved} || {others}) AND {org_ids} && {approved}"


async def _leave_out_kind(stage: Stage, kind: Kind, delivery: Delivery) -> None:
    await _note(stage, kind, delivery, Reason.KIND, "true")


async def _leave_out_schools(
    stage: Stage, kind: Kind, delivery: Delivery, schools: Iterable[UUID], others: Iterable[UUID]
) -> None:
    approved = _array(schools)
    is_of_schools = f"p.org_ids && {approved}"
    if not _is_of_person(kind):
        is_of_schools = f"({is_of_schools} OR p.action NOT IN {WENT})"
    await _note(
        stage, kind, delivery, Reason.SCHOOL, f"NOT (p.org_ids <@ ({approved} || {_array(others)}) AND {is_of_schools})"
    )


async def _note(stage: Stage, kind: Kind, delivery: Delivery, reason: Reason, condition: str) -> None:
    """Marks planned changes of one kind of record as left out, by copying them to the staging table `left_out`.

    `condition` is SQL that selects these changes.
    """
    moves, columns = "false", []
    if kind.name == "person" and "school_ids" in dict(plan_columns(kind, delivery)):
        moves, columns = (
            "p.action = 'update' AND p.before_school_ids IS DISTINCT FROM p.after_school_ids",
            ["school_ids"],
        )
    await stage.insert(
        "left_out",
        "",
        COLUMNS,
        f"""SELECT :district, :run, '{kind.name}', p.id, p.action, '{reason}', {moves}
            FROM ({planned_rows_sql(stage, kind, columns)}) AS p WHERE {condition}""",
    )


def _is_of_person(kind: Kind) -> bool:
    return kind.name == "person" or any(ref.kind == "person" for ref in kind.refs)


def _array(row_ids: Iterable[UUID]) -> str:
    return f"""(ARRAY[{", ".join(f"'{row_id}'" for row_id in row_ids)}]::uuid[])"""


async def _orgs_without_students(stage: Stage) -> list[UUID]:
    """Returns the ids of the orgs that are not schools, such as the district. These orgs need no approval."""
    rows = await stage.rows(
        f"""SELECT o.id FROM org AS o WHERE o.district_id = :district AND o.type <> 'school'
            UNION SELECT p.id FROM {stage.of_run("plan", "org")} AS p WHERE p.action IN {CAME} AND p.type <> 'school'"""
    )
    return [row["id"] for row in rows]


async def _mark_referring_rows(stage: Stage, planned: Iterable[Kind]) -> None:
    """Marks further changes as left out, because they depend on a change that is left out.

    If a row is not created or restored, the changes of rows that refer to it are left out. If a student is not moved to
    other schools, the student's new and changed enrollments are left out.

    Works through the kinds of record in order, because a kind refers only to earlier kinds or to itself.
    """
    for kind in planned:
        added = 1
        while added:
            added = 0
            for ref in kind.refs:
                rows = await stage.insert("left_out", "", COLUMNS, _referring_rows_sql(stage, kind, ref))
                added += rows if ref.kind == kind.name else 0


def _referring_rows_sql(stage: Stage, kind: Kind, ref: Ref) -> str:
    column = "p.id" if ref.column == kind.key else _items(ref, "p")
    moves = " OR l.moves" if kind.name == "enrollment" and ref.kind == "person" else ""
    return f"""SELECT DISTINCT :district, :run, '{kind.name}', p.id, p.action, '{Reason.REFERENCE}', false
        FROM (SELECT p.id, p.action, {column} AS target FROM {stage.of_run("plan", kind.name)} AS p
              WHERE p.action IN {CAME}) AS p
        JOIN {stage.of_run("left_out")} AS l ON l.id = p.target AND l.kind = '{ref.kind}'
        WHERE l.action IN ('create', 'restore'){moves}"""


async def _mark_removals(stage: Stage, planned: Collection[Kind]) -> None:
    """Marks the removal of a row B as left out if another row A would still refer to B.

    This is so if the planned change or removal of A is left out, so that A keeps its old values. The removal of a
    person is left out only because of enrollments, not because of demographics or grades.
    """
    for kind in reversed(list(planned)):
        referring = [
            (other, ref)
            for other in planned
            for ref in other.refs
            if ref.kind == kind.name
            and ref.column != other.key
            and (kind.name != "person" or other.name == "enrollment")
        ]
        added = 1
        while added:
            added = 0
            for other, ref in referring:
                rows = await stage.insert("left_out", "", COLUMNS, _removals_sql(stage, kind, other, ref))
                added += rows if other.name == kind.name else 0


def _removals_sql(stage: Stage, kind: Kind, other: Kind, ref: Ref) -> str:
    return f"""SELECT DISTINCT :district, :run, '{kind.name}', p.id, p.action, '{Reason.REFERENCE}', false
        FROM {stage.of_run("plan", kind.name)} AS p
        JOIN (SELECT {_items(ref, "t")} AS target FROM {other.table} AS t
              JOIN {stage.of_run("left_out")} AS l ON l.id = t.{other.key} AND l.kind = '{other.name}'
              WHERE t.district_id = :district AND t.removed_at IS NULL) AS t ON t.target = p.id
        WHERE p.action IN {WENT}"""


def _items(ref: Ref, row: str) -> str:
    return f"unnest({row}.{ref.column})" if ref.many else f"{row}.{ref.column}"


async def _delete(stage: Stage, kind: Kind, counts: Counts) -> Counter[str]:
    """Deletes the left-out changes of one kind of record from the plan. Returns their numbers, keyed by the reason."""
    rows = await stage.rows(
        f"""WITH taken AS (
                DELETE FROM {stage.table("plan", kind.name)} AS p USING {stage.of_run("left_out")} AS l
                WHERE p.district_id = :district AND p.run_id = :run AND l.kind = '{kind.name}' AND l.id = p.id
                RETURNING p.action, l.reason)
            SELECT action, reason, count(*) AS rows FROM taken GROUP BY action, reason"""
    )
    rows_by_reason: Counter[str] = Counter()
    for row in rows:
        counts.take(row["action"], row["rows"])
        counts.left_out += row["rows"]
        rows_by_reason[row["reason"]] += row["rows"]
    return rows_by_reason
