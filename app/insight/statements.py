"""Holds the SQL of the reports of a window: each student's result while it is open, and what is kept of it.

A closed window has the same columns as an open one, so that one statement reads both.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from typing import Final

from app.evidence.screening.classified import CLASSIFIED

SERVING: Final = "('planned', 'active', 'suspended')"
OPEN_RESULTS: Final = f"""
{CLASSIFIED},
area_of AS MATERIALIZED (
    SELECT a.measure_id, a.area_id FROM jsonb_to_recordset(CAST(:areas AS jsonb)) AS a (measure_id uuid, area_id uuid)),
serving AS MATERIALIZED (
    SELECT DISTINCT s.student_id, a.measure_id FROM support AS s JOIN area_of AS a ON a.area_id = s.area_id
    WHERE s.district_id = :district AND s.state IN {SERVING}),
before AS MATERIALIZED (
    SELECT DISTINCT ON (r.student_id, r.measure_id) r.student_id, r.measure_id, r.level
    FROM screening_result AS r
    JOIN screening_window AS w ON w.district_id = :district AND w.id = r.window_id
    WHERE r.district_id = :district AND r.measure_id = ANY (:measures) AND r.level IS NOT NULL
      AND w.closes_on <= :opens
    ORDER BY r.student_id, r.measure_id, w.closes_on DESC, r.id DESC),
outcome AS MATERIALIZED (
    SELECT c.student_id, c.school_ids, c.school_id, c.grade, c.measure_id, c.score_id, c.value, c.has_cut, c.level,
           c.percentile, b.level AS level_before, s.student_id IS NOT NULL AS served
    FROM classified AS c
    LEFT JOIN before AS b ON b.student_id = c.student_id AND b.measure_id = c.measure_id
    LEFT JOIN serving AS s ON s.student_id = c.student_id AND s.measure_id = c.measure_id)"""
"""The results of an open window. `before` has the level of each student's last closed window by the same measure."""
KEPT_RESULTS: Final = """
outcome AS (
    SELECT r.student_id, r.school_ids, r.school_ids[1] AS school_id, r.grade, r.measure_id, r.score_id, r.value,
           true AS has_cut, r.level, r.percentile, r.level_before, r.served
    FROM screening_result AS r JOIN person AS p ON p.district_id = :district AND p.id = r.student_id
    WHERE r.district_id = :district AND r.window_id = :window{students})"""
"""The results of a closed window, as they were kept."""
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
PAGE: Final = """
WITH {results}
SELECT r.student_id, r.school_id, r.grade, r.measure_id, r.score_id, r.value, r.level, r.percentile, r.level_before,
       r.served
FROM outcome AS r
WHERE {shown}{after}
ORDER BY r.student_id, r.measure_id LIMIT :limit"""
ATOMS: Final = """
WITH {results}
SELECT r.measure_id, coalesce(CAST(r.school_id AS text), '') AS school, r.grade,
       CASE WHEN r.score_id IS NULL THEN 'not_screened' WHEN r.level IS NULL THEN 'no_cut'
            ELSE CAST(r.level AS text) END AS level,
       {group} AS group_value, count(*) AS students
FROM outcome AS r{join}
GROUP BY 1, 2, 3, 4, 5"""
"""Counts the students by measure and by all four dimensions. These counts are never shown."""
EXPECTED_STUDENTS: Final = """
WITH {results}
SELECT DISTINCT e.student_id FROM expected AS e"""
"""Reads the students whom an open window expects, to lock them. The other parts of the results are not run."""
KEEP: Final = """
WITH {results}
INSERT INTO screening_result (district_id, id, student_id, school_ids, secured_area, window_id, measure_id, grade,
                              score_id, value, level, percentile, level_before, served)
SELECT CAST(:district AS uuid),
       CAST(overlay(overlay(md5(CAST(:salt AS text) || r.student_id || r.measure_id)
            placing CAST(:stamp AS text) from 1 for 13) placing '8' from 17 for 1) AS uuid),
       r.student_id, r.school_ids, a.secured, :window, r.measure_id, r.grade, r.score_id, r.value, r.level,
       r.percentile, r.level_before, r.served
FROM outcome AS r
JOIN jsonb_to_recordset(CAST(:secured AS jsonb)) AS a (measure_id uuid, secured text) ON a.measure_id = r.measure_id
ON CONFLICT DO NOTHING RETURNING 1"""
