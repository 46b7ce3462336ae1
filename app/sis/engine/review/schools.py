"""Keeps students in their schools where a delivery names no org for them, while they stay in classes.

Does not change the roster.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from collections.abc import Mapping

from app.sis.engine.report import CAME, WENT, Counts
from app.sis.engine.stage import Stage, fresh_id
from app.sis.port import Delivery


async def keep_in_schools(stage: Stage, kinds: Mapping[str, Counts], deliveries: Mapping[str, Delivery]) -> None:
    """Puts the rows of students without any org into quarantine, if the students are known in a school and will be in
    classes. A student whose roles of OneRoster 1.2 have all ended is in no school.
    """
    people = deliveries.get("person")
    if people is None or "orgSourcedIds" not in people.header:
        return
    if not stage.planned_rows.get("person", {}).get("update"):
        return
    plan = stage.table("plan", "person")
    leaving = f"SELECT g.id FROM {stage.of_run('plan', 'enrollment')} AS g WHERE g.action IN {WENT}"
    kept = f"""p.district_id = :district AND p.run_id = :run AND p.action = 'update' AND p.is_student
        AND p.school_ids = '{{}}' AND p.row_number IS NOT NULL AND EXISTS (
            SELECT FROM person AS t WHERE t.district_id = :district AND t.id = p.id AND t.school_ids <> '{{}}')
        AND EXISTS (
            SELECT FROM enrollment AS e WHERE e.district_id = :district AND e.person_id = p.id AND e.is_student
             AND e.removed_at IS NULL AND (e.ends_on IS NULL OR e.ends_on > :today) AND e.id NOT IN ({leaving}))
        {_current_role_sql(stage) if "role" in deliveries else ""}"""
    await stage.run(
        f"""INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, field, code)
            SELECT :district, {fresh_id("quarantine person", "p.row_number::text")}, :run, 'person',
                   '{people.file}', p.row_number + 1, 'orgSourcedIds', 'value.missing'
            FROM {plan} AS p WHERE {kept} ON CONFLICT DO NOTHING"""
    )
    rows = await stage.run(f"DELETE FROM {plan} AS p WHERE {kept}")
    kinds["person"].take("update", rows)
    kinds["person"].quarantined += rows


def _current_role_sql(stage: Stage) -> str:
    """Returns an SQL condition for a planned person `p` who will have a role that has not ended."""
    planned = stage.of_run("plan", "role")
    return f"""AND (
        EXISTS (SELECT FROM {planned} AS r WHERE r.action IN {CAME} AND r.person_id = p.id
                 AND (r.ends_on IS NULL OR r.ends_on > :today))
        OR EXISTS (SELECT FROM person_role AS k WHERE k.district_id = :district AND k.person_id = p.id
                    AND k.removed_at IS NULL AND (k.ends_on IS NULL OR k.ends_on > :today)
                    AND k.id NOT IN (SELECT r.id FROM {planned} AS r)))"""
