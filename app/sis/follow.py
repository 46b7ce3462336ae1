"""Owns what follows from a synced roster: memberships, the schools on a student's records, school weeks.

Never touches a row whose student stayed where they were.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from app.sis.stage import Stage, fresh_id

NOT_FOLLOWING = ("event", "disclosure")
"""What happened, and what was shown, stays where it happened."""
LONGEST_YEAR = 400  # days: a session that claims more is no school year


async def note_moves(stage: Stage) -> None:
    """Before people change: who will be in other schools, or come back to some."""
    moved = await stage.make("moved", "person", "id uuid")
    await stage.run(
        f"""INSERT INTO {moved} (district_id, id)
            SELECT :district, t.id FROM {stage.table("plan", "person")} AS p
            JOIN person AS t ON t.district_id = :district AND t.id = p.id
            WHERE p.district_id = :district AND p.action IN ('update', 'restore')
              AND t.school_ids IS DISTINCT FROM p.school_ids AND NOT 'school_ids' = ANY (t.pinned)
            ON CONFLICT DO NOTHING"""
    )


async def follow_moves(stage: Stage) -> None:
    """After people changed: every record of a student who moved is in the student's schools."""
    moved = stage.table("moved", "person")
    if not await stage.count(f"SELECT count(*) FROM {moved} WHERE district_id = :district"):
        return
    # The catalogue knows every table of every room, loaded or not; one that the worker may not update fails here.
    found = await stage.rows(
        """SELECT c.relname AS name FROM pg_class AS c
           JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
            AND a.attname IN ('student_id', 'school_ids')
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
           GROUP BY c.relname HAVING count(*) = 2 ORDER BY c.relname"""
    )
    tables = [(row["name"], "student_id") for row in found if row["name"] not in NOT_FOLLOWING]
    for table, student in [*tables, ("demographics", "person_id")]:
        await stage.run(
            f"""UPDATE "{table}" AS t SET school_ids = p.school_ids
                FROM {moved} AS m JOIN person AS p ON p.district_id = :district AND p.id = m.id
                WHERE t.district_id = :district AND m.district_id = :district AND t.{student} = m.id
                  AND t.school_ids IS DISTINCT FROM p.school_ids"""
        )


async def keep_memberships(stage: Stage) -> None:
    """Closes the memberships of people who left a school today, and opens those of people who came.

    A source's first load opens them at the start of the school year: nobody came on the day of the import.
    """
    plan = stage.table("plan", "person")
    acted = f"""{plan} AS p JOIN person AS o ON o.district_id = :district AND o.id = p.id"""
    await stage.run(
        f"""UPDATE school_membership AS m SET ends_on = greatest(m.begins_on, :today) FROM {acted}
            WHERE m.district_id = :district AND p.district_id = :district AND m.person_id = p.id
              AND p.action IN ('update', 'restore', 'remove', 'absent') AND m.ends_on IS NULL
              AND (o.removed_at IS NOT NULL OR NOT m.school_id = ANY (o.school_ids))"""
    )
    await stage.run(
        f"""UPDATE school_membership AS m SET is_student = o.is_student FROM {acted}
            WHERE m.district_id = :district AND p.district_id = :district AND m.person_id = p.id
              AND p.action IN ('update', 'restore') AND m.is_student IS DISTINCT FROM o.is_student"""
    )
    await stage.run(
        f"""INSERT INTO school_membership (district_id, id, person_id, school_id, is_student, begins_on)
            SELECT :district, {fresh_id("membership", "p.id::text || s.id::text")}, p.id, s.id, p.is_student,
                   CASE WHEN f.is_first THEN coalesce(f.year_began, :today) ELSE :today END
            FROM (SELECT p.id, o.is_student, unnest(o.school_ids) AS school_id FROM {acted}
                  WHERE p.district_id = :district AND p.action IN ('create', 'update', 'restore') OFFSET 0) AS p
            JOIN org AS s ON s.district_id = :district AND s.id = p.school_id AND s.type = 'school'
            CROSS JOIN (
                SELECT NOT EXISTS (SELECT FROM sis_run AS r WHERE r.district_id = :district
                                   AND r.source_id = :source AND r.state = 'applied') AS is_first,
                       (SELECT coalesce(max(a.starts_on) FILTER (WHERE a.type = 'schoolYear'), min(a.starts_on))
                        FROM academic_session AS a WHERE a.district_id = :district AND a.removed_at IS NULL
                         AND a.starts_on <= :today AND a.ends_on > :today) AS year_began) AS f
            WHERE NOT EXISTS (SELECT FROM school_membership AS m
                              WHERE m.district_id = :district AND m.person_id = p.id
                                AND m.school_id = s.id AND m.ends_on IS NULL)
            ON CONFLICT DO NOTHING"""
    )


async def lay_school_weeks(stage: Stage) -> None:
    """A row for each week of each school's year that is missing one; `n` counts from 1 in every school year."""
    await stage.run(
        f"""INSERT INTO school_week (district_id, school_id, monday, instructional, n)
            SELECT DISTINCT ON (o.id, w.monday) :district, o.id, w.monday::date, true,
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
                (least(y.ends_on, y.starts_on + {LONGEST_YEAR}) - 1)::timestamp, interval '7 days') AS w (monday)
            WHERE o.district_id = :district AND o.type = 'school' AND o.removed_at IS NULL
              AND NOT EXISTS (SELECT FROM school_week AS k WHERE k.district_id = :district
                              AND k.school_id = o.id AND k.monday = w.monday::date)
            ORDER BY o.id, w.monday, y.starts_on DESC
            ON CONFLICT DO NOTHING"""
    )
