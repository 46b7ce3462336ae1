"""Applies a plan to the roster, and then updates what depends on it: memberships, the schools of records, school weeks.

It never deletes a row, decides nothing about the plan, and does not touch records of students who did not move. All
counts come from `RETURNING`.

Rows are written with `UPDATE … FROM` and `INSERT`, which work on one machine and on a sharded server. A sharded server
refuses `MERGE` under our row-level security.

This file exceeds 250 lines so that everything that a run writes to the roster is in one place.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Mapping
from uuid import UUID

import asyncpg

from app.core.district_lock import WAIT, DistrictLock
from app.roster.breaks import is_break_week
from app.sis.engine import report
from app.sis.engine.moves import (
    KEPT,
    TOUCHED,
    find_moved_supports,
    find_out_of_step,
    follow_moves,
    follow_supports,
    follow_teams,
    lock_people,
    note_moves,
)
from app.sis.engine.plan import pin_of, plan_columns
from app.sis.engine.stage import Stage, fresh_id, key_filter_sql
from app.sis.engine.student_events import emit_student_events
from app.sis.kinds import BY_NAME, KINDS, Kind
from app.sis.port import Delivery, Progress, SourceInconsistent
from app.sis.rules import RunState

PLANNED_AS = {
    "created": ("create",),
    "updated": ("update", "restore"),
    "removed": ("remove", "absent"),
}

MAX_YEAR_DAYS = 400  # days; a longer session that claims to be a school year gets weeks for this long only


async def apply_all(stage: Stage, deliveries: Mapping[str, Delivery], progress: Progress) -> dict[str, int]:
    """Applies the plans of all kinds of record, and then updates what depends on the roster.

    A kind of record is applied after the kinds to which it refers. Each row about a student, such as a support, has a
    copy of the student's list of schools. If such a copy was wrong before the run, it is corrected too. Returns the
    number of rows with a wrong copy, keyed by table.
    """
    has_people = "person" in deliveries
    progress("looking for records out of step", 0, 0)
    out_of_step = await find_out_of_step(stage)
    if has_people:
        await note_moves(stage)
    else:
        await lock_people(stage, planned=False)
    for kind in KINDS:
        delivery = deliveries.get(kind.name)
        if delivery is None:
            continue
        progress(f"writing {kind.plural}", 0, 0)
        if kind.name == "person":
            await lock_people(stage, planned=True)
        await apply(stage, kind, delivery, await report.count_planned(stage, kind))
    moved_supports = await find_moved_supports(stage) if has_people else set()
    await follow_moves(stage)
    if has_people:
        await follow_supports(stage, moved_supports)
        await emit_student_events(stage)
        await update_memberships(stage)
    progress("following the roster with the teams", 0, 0)
    await follow_teams(stage)
    await write_school_weeks(stage)
    return out_of_step


async def apply(stage: Stage, kind: Kind, delivery: Delivery, planned: dict[str, int]) -> None:
    """Applies the plan of one kind of record.

    `planned` is the number of planned rows, keyed by action such as `create`. Raises `SourceInconsistent` if the number
    of changed rows differs from the plan.
    """
    if not any(planned.get(action) for actions in PLANNED_AS.values() for action in actions):
        return
    done = {"created": 0, "updated": 0, "removed": 0}
    if planned.get("create"):
        try:
            done["created"] = await _create(stage, kind, delivery)
        except asyncpg.UniqueViolationError:
            raise _changed_meanwhile(kind) from None
    if any(planned.get(action) for action in ("update", "restore", "remove", "absent")):
        await _save_before_images(stage, kind)
        done["updated"] = await _update(stage, kind, delivery)
        done["removed"] = await _remove(stage, kind)
    for name, actions in PLANNED_AS.items():
        if done[name] != sum(planned.get(action, 0) for action in actions):
            raise _changed_meanwhile(kind)


def _changed_meanwhile(kind: Kind) -> SourceInconsistent:
    return SourceInconsistent(f"The {kind.plural} changed while they were synced. Run the sync again.")


async def _save_before_images(stage: Stage, kind: Kind) -> None:
    """Saves in the change log the values that each row has before the plan changes it."""
    await stage.run(
        f"""INSERT INTO sis_change (district_id, id, run_id, kind, row_id, action, before)
            SELECT :district, {fresh_id("change " + kind.name, "p.id::text")}, :run, '{kind.name}', p.id,
                   p.action, to_jsonb(t)
            FROM {stage.of_run("plan", kind.name)} AS p
            JOIN {kind.table} AS t ON t.district_id = :district AND t.{kind.key} = p.id
            WHERE p.action IN {TOUCHED}{key_filter_sql(stage, kind, TOUCHED)}
            ON CONFLICT DO NOTHING"""
    )


async def _create(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    plan = stage.of_run("plan", kind.name)
    columns = [column for column, _ in plan_columns(kind, delivery)]
    values = [f"p.{column}" for column in columns]
    joined = ""
    for field in kind.fields:
        if field.column not in columns and field.default != "NULL":
            columns.append(field.column)
            values.append(field.default)
    for ref in kind.refs:
        if ref.many and ref.column not in columns:
            columns.append(ref.column)
            values.append("'{}'")
    if kind.pinnable:
        columns.append("pinned")
        values.append("'{}'")
    if kind.about is not None:
        columns.append("school_ids")
        values.append("o.school_ids")
        joined = f"JOIN person AS o ON o.district_id = :district AND o.id = p.{_about(kind)}"
    if kind.own_alias:
        columns += ["source_id", "sourced_id"]
        values += [":source", "p.sourced_id"]
    elif kind.key == "person_id":
        columns.append("source_id")
        values.append(":source")
    else:
        await stage.run(
            f"""INSERT INTO external_id (district_id, source_id, kind, sourced_id, row_id)
                SELECT :district, :source, '{kind.name}', p.sourced_id, p.id FROM {plan} AS p
                WHERE p.action = 'create' ON CONFLICT DO NOTHING"""
        )
    # No ON CONFLICT: it would look into every unique index first, which makes up a seventh of the insertion's cost.
    return await stage.count(
        f"""WITH made AS (
            INSERT INTO {kind.table} (district_id, {kind.key}, arrived_in, {", ".join(columns)})
            SELECT :district, p.id, :run, {", ".join(values)} FROM {plan} AS p {joined}
            WHERE p.action = 'create' RETURNING 1)
        SELECT count(*) FROM made"""
    )


def _about(kind: Kind) -> str:
    """Returns the name of the plan's column that has the id of a row's student."""
    return "id" if kind.about == kind.key else str(kind.about)


async def _update(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    def value(column: str) -> str:
        unless_pinned = f"CASE WHEN '{pin_of(column)}' = ANY (t.pinned) THEN t.{column} ELSE p.{column} END"
        return unless_pinned if kind.pinnable else f"p.{column}"

    columns = [column for column, _ in plan_columns(kind, delivery)]
    sets, joined = "".join(f", {column} = {value(column)}" for column in columns), ""
    if kind.about in columns:
        # A row that now belongs to another student gets that student's schools.
        sets += ", school_ids = o.school_ids"
        joined = f"JOIN person AS o ON o.district_id = :district AND o.id = p.{kind.about}"
    return await stage.count(
        f"""WITH changed AS (
            UPDATE {kind.table} AS t SET removed_at = NULL{kind.note_change}{sets}
            FROM {stage.of_run("plan", kind.name)} AS p {joined}
            WHERE t.district_id = :district AND t.{kind.key} = p.id
              AND p.action IN {KEPT}{key_filter_sql(stage, kind, KEPT)} RETURNING 1)
        SELECT count(*) FROM changed"""
    )


async def _remove(stage: Stage, kind: Kind) -> int:
    return await stage.count(
        f"""WITH gone AS (
            UPDATE {kind.table} AS t SET removed_at = :now{kind.note_change} FROM {stage.of_run("plan", kind.name)} AS p
            WHERE t.district_id = :district AND t.{kind.key} = p.id
              AND p.action IN {report.WENT}{key_filter_sql(stage, kind, report.WENT)} AND t.removed_at IS NULL
            RETURNING 1)
        SELECT count(*) FROM gone"""
    )


async def update_memberships(stage: Stage) -> None:
    """Ends the school memberships of people who left a school, and creates memberships for people who joined one.

    At the first load of a source, memberships begin with the school year instead of the day of the import.
    """
    plan = stage.of_run("plan", "person")
    planned_people = f"""{plan} AS p JOIN person AS o ON o.district_id = :district AND o.id = p.id"""
    await stage.run(
        f"""UPDATE school_membership AS m SET ends_on = greatest(m.begins_on, :today) FROM {planned_people}
            WHERE m.district_id = :district AND m.person_id = p.id
              AND p.action IN ('update', 'restore', 'remove', 'absent') AND m.ends_on IS NULL
              AND (o.removed_at IS NOT NULL OR NOT m.school_id = ANY (o.school_ids))"""
    )
    await stage.run(
        f"""UPDATE school_membership AS m SET is_student = o.is_student FROM {planned_people}
            WHERE m.district_id = :district AND m.person_id = p.id
              AND p.action IN ('update', 'restore') AND m.is_student IS DISTINCT FROM o.is_student"""
    )
    await stage.run(
        f"""INSERT INTO school_membership (district_id, id, person_id, school_id, is_student, begins_on)
            SELECT :district, {fresh_id("membership", "p.id::text || s.id::text")}, p.id, s.id, p.is_student,
                   CASE WHEN f.is_first THEN coalesce(f.year_began, :today) ELSE :today END
            FROM (SELECT p.id, o.is_student, unnest(o.school_ids) AS school_id FROM {planned_people}
                  WHERE p.action IN ('create', 'update', 'restore') OFFSET 0) AS p
            JOIN org AS s ON s.district_id = :district AND s.id = p.school_id AND s.type = 'school'
            CROSS JOIN (
                SELECT NOT EXISTS (SELECT FROM sis_run AS r WHERE r.district_id = :district
                                   AND r.source_id = :source AND r.state = '{RunState.APPLIED}') AS is_first,
                       (SELECT coalesce(max(a.starts_on) FILTER (WHERE a.type = 'schoolYear'), min(a.starts_on))
                        FROM academic_session AS a WHERE a.district_id = :district AND a.removed_at IS NULL
                         AND a.starts_on <= :today AND a.ends_on > :today) AS year_began) AS f
            WHERE NOT EXISTS (SELECT FROM school_membership AS m
                              WHERE m.district_id = :district AND m.person_id = p.id
                                AND m.school_id = s.id AND m.ends_on IS NULL)
            ON CONFLICT DO NOTHING"""
    )


async def write_school_weeks(stage: Stage) -> None:
    """Creates a row for each week of the school year that a school does not have yet.

    A week's number `n` counts from 1 in every school year. A week whose weekdays all lie in breaks is not
    instructional. Existing rows are not changed.
    """
    # The lock keeps other transactions from saving a break meanwhile, which these weeks would not include.
    await stage.run(WAIT.replace(":name", f"'{DistrictLock.SCHOOL_BREAK}'"))
    await stage.run(
        f"""INSERT INTO school_week (district_id, school_id, monday, instructional, n)
            SELECT DISTINCT ON (o.id, w.monday) :district, o.id, w.monday::date,
                   NOT {is_break_week("o.id", "w.monday::date")},
                   ((w.monday::date - date_trunc('week', y.starts_on)::date) / 7 + 1)::integer
            FROM org AS o
            CROSS JOIN (
                SELECT a.starts_on, a.ends_on FROM academic_session AS a
                WHERE a.district_id = :district AND a.removed_at IS NULL AND a.type = 'schoolYear'
                UNION
                SELECT min(a.starts_on), max(a.ends_on) FROM academic_session AS a
                WHERE a.district_id = :district AND a.removed_at IS NULL
                HAVING NOT bool_or(a.type = 'schoolYear')) AS y
            CROSS JOIN LATERAL generate_series(
                date_trunc('week', y.starts_on::timestamp),
                (least(y.ends_on, y.starts_on + {MAX_YEAR_DAYS}) - 1)::timestamp, interval '7 days') AS w (monday)
            WHERE o.district_id = :district AND o.type = 'school' AND o.removed_at IS NULL
              AND NOT EXISTS (SELECT FROM school_week AS k WHERE k.district_id = :district
                              AND k.school_id = o.id AND k.monday = w.monday::date)
            ORDER BY o.id, w.monday, y.starts_on DESC
            ON CONFLICT DO NOTHING"""
    )


async def students_of_results(stage: Stage) -> set[UUID]:
    """Returns the students whose results in the gradebook this run has changed."""
    planned = stage.planned_rows.get("result")  # not counted when a kept plan is applied, or a run is undone
    if planned is not None and not any(planned.values()):
        return set()
    plan = stage.of_run("plan", "result")
    # The plan itself names the students of new results, which may be a million.
    rows = await stage.rows(
        f"""SELECT DISTINCT p.student_id FROM {plan} AS p WHERE p.action = 'create'
            UNION
            SELECT t.student_id FROM {plan} AS p JOIN result AS t ON t.district_id = :district AND t.id = p.id
            WHERE p.action IN {TOUCHED}{key_filter_sql(stage, BY_NAME["result"], TOUCHED)}"""
    )
    return {row["student_id"] for row in rows}
