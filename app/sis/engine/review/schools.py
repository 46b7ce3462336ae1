"""Keeps students and schools from being lost because a value is missing or unknown. Does not change the roster.

* If a delivery names no org for a student who is enrolled in a class, the student stays in the schools of the roster.
* If a delivery gives a school an unknown type of org, the school stays a school.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from collections.abc import Mapping, Sequence
from uuid import UUID

from app.sis.engine.report import CAME, WENT, Counts
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import ORG_TYPES
from app.sis.port import Delivery


async def keep_schools(stage: Stage, kinds: Mapping[str, Counts], deliveries: Mapping[str, Delivery]) -> None:
    """Quarantines each org row that would give a known school a type that OneRoster does not define.

    With such a type, the school and everybody in it would be missing from all lists by school.
    """
    orgs = deliveries.get("org")
    if orgs is None or "type" not in orgs.header or not stage.planned_rows.get("org", {}).get("update"):
        return
    types = ", ".join(f"'{name}'" for name in ORG_TYPES)
    changed = f"""p.district_id = :district AND p.run_id = :run AND p.action = 'update' AND p.type NOT IN ({types})
        AND EXISTS (SELECT FROM org AS t WHERE t.district_id = :district AND t.id = p.id AND t.type = 'school')"""
    await _quarantine_planned(stage, orgs, kinds["org"], changed, "type", "type.unknown")


async def keep_in_schools(stage: Stage, kinds: Mapping[str, Counts], deliveries: Mapping[str, Delivery]) -> None:
    """Quarantines the row of a student without an org if the student is in a school and stays enrolled in a class.

    Otherwise the student would be in no school by mistake. There is one exception: if the delivery has OneRoster 1.2
    roles and all roles of the student have ended, the row is imported, and the student is then in no school.
    """
    people = deliveries.get("person")
    if people is None or "orgSourcedIds" not in people.header:
        return
    if not stage.planned_rows.get("person", {}).get("update"):
        return
    leaving = f"SELECT g.id FROM {stage.of_run('plan', 'enrollment')} AS g WHERE g.action IN {WENT}"
    kept = f"""p.district_id = :district AND p.run_id = :run AND p.action = 'update' AND p.is_student
        AND p.school_ids = '{{}}' AND p.row_number IS NOT NULL AND EXISTS (
            SELECT FROM person AS t WHERE t.district_id = :district AND t.id = p.id AND t.school_ids <> '{{}}')
        AND EXISTS (
            SELECT FROM enrollment AS e WHERE e.district_id = :district AND e.person_id = p.id AND e.is_student
             AND e.removed_at IS NULL AND (e.ends_on IS NULL OR e.ends_on > :today) AND e.id NOT IN ({leaving}))
        {_current_role_sql(stage) if "role" in deliveries else ""}"""
    plan = stage.table("plan", "person")
    rows = await stage.rows(f"SELECT p.id FROM {plan} AS p WHERE {kept}") if "role" in deliveries else []
    await _quarantine_planned(stage, people, kinds["person"], kept, "orgSourcedIds", "value.missing")
    if rows:
        await _keep_roles(stage, deliveries["role"], kinds["role"], [row["id"] for row in rows])


async def _keep_roles(stage: Stage, delivery: Delivery, counts: Counts, people: Sequence[UUID]) -> None:
    """Deletes all changes of these people's roles from the plan.

    If a change came from a delivered row, quarantines the row.
    """
    ids = f"""(ARRAY[{", ".join(f"'{person}'" for person in people)}]::uuid[])"""
    is_theirs = f"""p.district_id = :district AND p.run_id = :run AND p.action <> 'refuse' AND (
        p.person_id = ANY {ids} OR p.id IN (
            SELECT k.id FROM person_role AS k WHERE k.district_id = :district AND k.person_id = ANY {ids}))"""
    await _insert_quarantined(stage, delivery, is_theirs, "orgSourcedId", "value.missing")
    taken = await stage.rows(
        f"""WITH taken AS (
                DELETE FROM {stage.table("plan", "role")} AS p WHERE {is_theirs} RETURNING p.action, p.row_number)
            SELECT action, count(*) AS rows, count(row_number) AS came FROM taken GROUP BY action"""
    )
    for row in taken:
        counts.take(row["action"], row["rows"])
        counts.quarantined += row["came"]


async def _quarantine_planned(
    stage: Stage, delivery: Delivery, counts: Counts, condition: str, field: str, code: str
) -> None:
    """Deletes updates from the plan and quarantines the delivered rows that caused them, with `field` and `code`.

    `condition` is an SQL condition that selects the updates. In it, `p` is the alias of a planned update.
    """
    await _insert_quarantined(stage, delivery, condition, field, code)
    rows = await stage.run(f"DELETE FROM {stage.table('plan', delivery.kind)} AS p WHERE {condition}")
    counts.take("update", rows)
    counts.quarantined += rows


async def _insert_quarantined(stage: Stage, delivery: Delivery, condition: str, field: str, code: str) -> None:
    """Quarantines the delivered rows that caused the selected changes of the plan, with `field` and `code`.

    `condition` is an SQL condition that selects the changes. In it, `p` is the alias of a planned change.
    """
    await stage.run(
        f"""INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, field, code)
            SELECT :district, {fresh_id("quarantine " + delivery.kind, "p.row_number::text")}, :run, '{delivery.kind}',
                   '{delivery.file}', p.row_number + 1, '{field}', '{code}'
            FROM {stage.table("plan", delivery.kind)} AS p WHERE {condition} AND p.row_number IS NOT NULL
            ON CONFLICT DO NOTHING"""
    )


def _current_role_sql(stage: Stage) -> str:
    """Returns SQL, beginning with AND, that is true if a person will have a current role after the run.

    In the SQL, `p` is the alias of the planned change of the person. A role is current if it has not ended.
    """
    planned = stage.of_run("plan", "role")
    return f"""AND (
        EXISTS (SELECT FROM {planned} AS r WHERE r.action IN {CAME} AND r.person_id = p.id
                 AND (r.ends_on IS NULL OR r.ends_on > :today))
        OR EXISTS (SELECT FROM person_role AS k WHERE k.district_id = :district AND k.person_id = p.id
                    AND k.removed_at IS NULL AND (k.ends_on IS NULL OR k.ends_on > :today)
                    AND k.id NOT IN (SELECT r.id FROM {planned} AS r)))"""
