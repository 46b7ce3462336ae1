"""Holds the SQL of the reports about a screening window, and of the report on the supports that students get.

The results of an open and of a closed window have the same columns, so the same statements can read both.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from typing import Final

from app.evidence.screening.classified import CLASSIFIED, PERCENTILE
from app.signal.rules import SignalState

SERVING: Final = "('planned', 'active', 'suspended')"
OPEN_RESULTS: Final = f"""
{CLASSIFIED},
area_of AS MATERIALIZED (
    SELECT a.measure_id, a.area_id FROM jsonb_to_recordset(CAST(:areas AS jsonb)) AS a (measure_id uuid, area_id uuid)),
earlier AS MATERIALIZED (
    SELECT array_agg(w.id ORDER BY w.closes_on DESC, w.id DESC) AS windows FROM screening_window AS w
    WHERE w.district_id = :district AND w.closes_on <= :opens),
outcome AS (
    SELECT c.student_id, c.school_id, c.grade, c.measure_id, c.score_id, c.value, c.level,
           {PERCENTILE} AS percentile,
           CASE WHEN (SELECT e.windows FROM earlier AS e) IS NOT NULL THEN (
               SELECT b.level FROM screening_result AS b
               WHERE b.district_id = :district AND b.student_id = c.student_id AND b.measure_id = c.measure_id
                 AND b.level IS NOT NULL AND b.window_id = ANY (CAST((SELECT e.windows FROM earlier AS e) AS uuid[]))
               ORDER BY array_position((SELECT e.windows FROM earlier AS e), b.window_id) LIMIT 1) END AS level_before,
           (c.student_id, c.measure_id) IN (
               SELECT s.student_id, a.measure_id FROM support AS s JOIN area_of AS a ON a.area_id = s.area_id
               WHERE s.district_id = :district AND s.state IN {SERVING}) AS served
    FROM (SELECT x.* FROM classified AS x WHERE true{{listed}} ORDER BY x.student_id, x.measure_id OFFSET 0) AS c)"""
"""The results of an open window.

`level_before` is the student's level by the same measure in an earlier window. If the student had a level in several
earlier windows, it is the level of the latest of these windows.

`{listed}` is a further condition on the results `x`. It limits the results that are listed, but not the results that
are counted.

The subquery `outcome` adds columns to `classified`. Its rows are already in the order of a page, so PostgreSQL computes
these columns only for the rows of the requested page.
"""
KEPT_RESULTS: Final = """
outcome AS (
    SELECT x.student_id, x.school_ids[1] AS school_id, x.grade, x.measure_id, x.score_id, x.value, x.level,
           x.percentile, x.level_before, x.served
    FROM screening_result AS x JOIN person AS p ON p.district_id = :district AND p.id = x.student_id
    WHERE x.district_id = :district AND x.window_id = :window{students}{listed})"""
"""The results of a closed window, as they were stored when the window was closed.

`{listed}` is a further condition on the results `x`.
"""
SHOWN: Final = {
    "all": "true",
    "not_screened": "r.score_id IS NULL",
    "under_cut": "r.level > :core",
    "unserved": "r.level > :core AND NOT r.served",
    "improved": "r.level < r.level_before",
    "declined": "r.level > r.level_before",
    "attention": "(r.score_id IS NULL OR (r.level > :core AND NOT r.served) OR r.level <> r.level_before)",
}
"""The SQL conditions on the results that a report lists, by the value of `show`."""
LISTED: Final = """
SELECT r.student_id, r.school_id, r.grade, r.measure_id, r.score_id, r.value, r.level, r.percentile, r.level_before,
       r.served
FROM outcome AS r
WHERE {shown}
ORDER BY r.student_id, r.measure_id LIMIT :limit"""
COUNTED: Final = """
SELECT r.measure_id, r.school_id, r.grade, r.score_id IS NOT NULL AS screened, r.level, {group} AS group_value,
       count(*) AS students
FROM {counted} AS r{join}
GROUP BY 1, 2, 3, 4, 5, 6"""
ATOMS: Final = f"WITH {{results}}{COUNTED}"
"""Counts the students by measure and by all four dimensions (`insight.rules.Dimension`).

These counts are shown to nobody. The published counts are computed from them.
"""
PAGE: Final = f"WITH {{results}}{LISTED}"
"""Lists the results of a page."""
ATOMS_AND_PAGE: Final = f"""
WITH {{results}},
atom AS ({COUNTED}),
page AS ({LISTED})
SELECT a.measure_id, a.school_id, a.grade, a.level, a.screened, a.group_value, a.students,
       CAST(NULL AS uuid) AS student_id, CAST(NULL AS uuid) AS score_id, CAST(NULL AS double precision) AS value,
       CAST(NULL AS double precision) AS percentile, CAST(NULL AS integer) AS level_before,
       CAST(NULL AS boolean) AS served
FROM atom AS a
UNION ALL
SELECT g.measure_id, g.school_id, g.grade, g.level, NULL, NULL, NULL, g.student_id, g.score_id, g.value, g.percentile,
       g.level_before, g.served
FROM page AS g
ORDER BY student_id, measure_id"""
"""Counts the students and lists a page of their results in one statement, which reads the window's scores only once.

In the rows with counts, `student_id` is null.
"""
EXPECTED_STUDENTS: Final = """
WITH {results}
SELECT DISTINCT e.student_id FROM expected AS e"""
"""Reads the students whom an open window expects, so that they can be locked.

PostgreSQL does not compute the other subqueries of `{results}`.
"""
KEEP: Final = """
WITH {results}
INSERT INTO screening_result (district_id, id, student_id, school_ids, secured_area, window_id, measure_id, grade,
                              score_id, value, level, percentile, level_before, served)
SELECT CAST(:district AS uuid),
       CAST(overlay(overlay(md5(CAST(:salt AS text) || r.student_id || r.measure_id)
            placing CAST(:stamp AS text) from 1 for 13) placing '8' from 17 for 1) AS uuid),
       r.student_id, k.school_ids, a.secured, :window, r.measure_id, r.grade, r.score_id, r.value, r.level,
       r.percentile, r.level_before, r.served
FROM outcome AS r
JOIN jsonb_to_recordset(CAST(:secured AS jsonb)) AS a (measure_id uuid, secured text) ON a.measure_id = r.measure_id
JOIN person AS k ON k.district_id = :district AND k.id = r.student_id
ON CONFLICT DO NOTHING RETURNING 1"""
FIRST_SESSIONS: Final = f"""
first_signal AS MATERIALIZED (
    SELECT DISTINCT ON (s.student_id, s.area_id) s.student_id, s.area_id, s.concern_id, s.seen_on
    FROM signal AS s
    WHERE s.district_id = :district AND s.state = '{SignalState.ACCEPTED}' AND s.concern_id IS NOT NULL
      AND s.seen_on >= CAST(:since AS date)
    ORDER BY s.student_id, s.area_id, s.seen_on, s.id),
first_session AS MATERIALIZED (
    SELECT DISTINCT ON (g.student_id, g.area_id) g.area_id, l.rank, n.held_on - g.seen_on AS days
    FROM first_signal AS g
    JOIN support_concern AS c ON c.district_id = :district AND c.concern_id = g.concern_id
    JOIN support AS u ON u.district_id = :district AND u.id = c.support_id
    JOIN level AS l ON l.district_id = :district AND l.id = u.level_id
    JOIN session AS n ON n.district_id = :district AND n.support_id = u.id AND n.attended AND n.removed_at IS NULL
     AND n.held_on >= g.seen_on
    ORDER BY g.student_id, g.area_id, n.held_on, n.id)"""
"""Finds each student's first accepted signal in an area, and the days from this signal to the first session.

Only attended sessions of a support for the signal's concern count.
"""
AREA_DAYS: Final = f"""
WITH {FIRST_SESSIONS}
SELECT f.area_id, f.rank, count(*) AS students, percentile_cont(0.5) WITHIN GROUP (ORDER BY f.days) AS days
FROM first_session AS f GROUP BY GROUPING SETS ((f.area_id, f.rank), (f.area_id))
ORDER BY f.area_id, f.rank NULLS FIRST"""
"""Computes the median of the days until the first session, by area and level, and by area alone.

Each student has only one first signal in an area, so `students` counts each student once.
"""
GRADES_AND_LEVELS: Final = """
WITH highest AS MATERIALIZED (
    SELECT u.student_id, max(l.rank) AS rank FROM support AS u
    JOIN level AS l ON l.district_id = :district AND l.id = u.level_id
    WHERE u.district_id = :district AND u.state = 'active' GROUP BY u.student_id)
SELECT coalesce(p.grade, '') AS grade, h.rank, count(*) AS students
FROM person AS p LEFT JOIN highest AS h ON h.student_id = p.id
WHERE p.district_id = :district AND p.is_student AND p.removed_at IS NULL AND p.merged_into IS NULL
GROUP BY 1, 2"""
"""Counts the students by grade and by the rank of the highest level of their active supports.

The rank is null for students without an active support.
"""
