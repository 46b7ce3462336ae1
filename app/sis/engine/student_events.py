"""Owns what a run tells: which students entered a school, left one or came back, and its counts. Changes no roster row.

A source's first load tells of no student: nobody came on the day of the import.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from dataclasses import asdict

from app.events.catalogue import STUDENT_ENTERED, STUDENT_LEFT, STUDENT_RETURNED
from app.sis.engine.report import Report
from app.sis.engine.stage import Stage

COUNTED = ("fetched", "created", "updated", "restored", "removed", "absent", "quarantined")


async def emit_student_events(stage: Stage) -> None:
    """After people changed and before their memberships do: what is about to change is what is told."""
    if not await stage.count(
        "SELECT count(*) FROM sis_run WHERE district_id = :district AND source_id = :source AND state = 'applied'"
    ):
        return
    acted = f"""{stage.table("plan", "person")} AS p
                JOIN person AS o ON o.district_id = :district AND o.id = p.id AND o.is_student"""
    left = await stage.rows(
        f"""SELECT DISTINCT m.person_id AS student, m.school_id AS school
            FROM {acted} JOIN school_membership AS m ON m.district_id = :district AND m.person_id = p.id
            WHERE p.district_id = :district AND p.action IN ('update', 'restore', 'remove', 'absent')
              AND m.ends_on IS NULL AND (o.removed_at IS NOT NULL OR NOT m.school_id = ANY (o.school_ids))"""
    )
    came = await stage.rows(
        f"""SELECT DISTINCT c.id AS student, s.id AS school,
                   EXISTS (SELECT FROM school_membership AS m WHERE m.district_id = :district
                           AND m.person_id = c.id AND m.school_id = s.id) AS again
            FROM (SELECT o.id, unnest(o.school_ids) AS school_id FROM {acted}
                  WHERE p.district_id = :district AND p.action IN ('create', 'update', 'restore') OFFSET 0) AS c
            JOIN org AS s ON s.district_id = :district AND s.id = c.school_id AND s.type = 'school'
            WHERE NOT EXISTS (SELECT FROM school_membership AS m
                              WHERE m.district_id = :district AND m.person_id = c.id
                                AND m.school_id = s.id AND m.ends_on IS NULL)"""
    )
    stage.emit(STUDENT_LEFT, [(row["student"], row["school"]) for row in left])
    stage.emit(STUDENT_ENTERED, [(row["student"], row["school"]) for row in came if not row["again"]])
    stage.emit(STUDENT_RETURNED, [(row["student"], row["school"]) for row in came if row["again"]])


def count_events(report: Report) -> dict[str, dict[str, int]]:
    """The numbers of a run by kind, for its event: of what came, or was there."""
    return {
        name: {what: getattr(counts, what) for what in COUNTED}
        for name, counts in report.kinds.items()
        if any(value for what, value in asdict(counts).items() if what in COUNTED)
    }
