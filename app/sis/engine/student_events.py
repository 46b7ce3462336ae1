"""Emits an event for each student who entered, left or returned to a school. Also counts the changes of a run.

Changes no roster row. For the first load of a source, no student events are emitted, because the students were at their
schools already.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from dataclasses import asdict

from app.events.catalogue import STUDENT_ENTERED, STUDENT_LEFT, STUDENT_RETURNED
from app.sis.engine.report import Report
from app.sis.engine.stage import Stage
from app.sis.rules import RunState

COUNTED = ("fetched", "created", "updated", "restored", "removed", "absent", "quarantined")


async def emit_student_events(stage: Stage) -> None:
    """Emits an event for each student who enters, leaves or returns to a school.

    The events are computed by comparing people with their memberships. Call this function after the people were changed
    and before their memberships are changed.
    """
    if not await stage.count(
        "SELECT count(*) FROM sis_run WHERE district_id = :district AND source_id = :source "
        f"AND state = '{RunState.APPLIED}'"
    ):
        return
    planned_students = f"""{stage.of_run("plan", "person")} AS p
                JOIN person AS o ON o.district_id = :district AND o.id = p.id AND o.is_student"""
    left = await stage.rows(
        f"""SELECT DISTINCT m.person_id AS student, m.school_id AS school
            FROM {planned_students} JOIN school_membership AS m ON m.district_id = :district AND m.person_id = p.id
            WHERE p.action IN ('update', 'restore', 'remove', 'absent')
              AND m.ends_on IS NULL AND (o.removed_at IS NOT NULL OR NOT m.school_id = ANY (o.school_ids))"""
    )
    came = await stage.rows(
        f"""SELECT DISTINCT c.id AS student, s.id AS school,
                   EXISTS (SELECT FROM school_membership AS m WHERE m.district_id = :district
                           AND m.person_id = c.id AND m.school_id = s.id) AS again
            FROM (SELECT o.id, unnest(o.school_ids) AS school_id FROM {planned_students}
                  WHERE p.action IN ('create', 'update', 'restore') OFFSET 0) AS c
            JOIN org AS s ON s.district_id = :district AND s.id = c.school_id AND s.type = 'school'
            WHERE NOT EXISTS (SELECT FROM school_membership AS m
                              WHERE m.district_id = :district AND m.person_id = c.id
                                AND m.school_id = s.id AND m.ends_on IS NULL)"""
    )
    stage.emit(STUDENT_LEFT, [(row["student"], row["school"]) for row in left])
    stage.emit(STUDENT_ENTERED, [(row["student"], row["school"]) for row in came if not row["again"]])
    stage.emit(STUDENT_RETURNED, [(row["student"], row["school"]) for row in came if row["again"]])


def count_events(report: Report) -> dict[str, dict[str, int]]:
    """Returns the counts for the event of a run: how many rows of each kind were created, updated and so on.

    A kind whose counts are all 0 is left out.
    """
    return {
        name: {field: getattr(counts, field) for field in COUNTED}
        for name, counts in report.kinds.items()
        if any(value for field, value in asdict(counts).items() if field in COUNTED)
    }
