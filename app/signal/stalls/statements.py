"""Holds the SQL that compares grades between two screening windows and writes core stalls.

A core stall is a grade whose share of students at the benchmark fell.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from typing import Final

from app.evidence.screening.classified import CLASSIFIED
from app.signal.stalls.rules import SMALLEST, StallState

OPEN_WINDOW: Final = f"""
{CLASSIFIED},
outcome AS (SELECT c.student_id, c.school_id, c.grade, c.measure_id, c.level FROM classified AS c)"""
"""The students' levels in an open window, computed from their scores."""
CLOSED_WINDOW: Final = """
outcome AS (
    SELECT x.student_id, x.school_ids[1] AS school_id, x.grade, x.measure_id, x.level
    FROM screening_result AS x WHERE x.district_id = :district AND x.window_id = :window)"""
"""The students' levels in a closed window, as stored in `screening_result`."""
CANDIDATES: Final = f"""
rule_in_force AS MATERIALIZED (
    SELECT u.* FROM jsonb_to_recordset(CAST(:rules AS jsonb)) AS u (
        rule_id uuid, measure_id uuid, points integer, days integer)),
measured AS MATERIALIZED (
    SELECT m.* FROM jsonb_to_recordset(CAST(:measured AS jsonb)) AS m (
        measure_id uuid, area_id uuid, secured text, window_before_id uuid)),
{{outcome}},
both_windows AS (
    SELECT m.measure_id, o.school_id, o.grade, o.level, b.level AS level_before, b.school_ids[1] AS school_before,
           b.grade AS grade_before
    FROM measured AS m
    JOIN outcome AS o ON o.measure_id = m.measure_id
    LEFT JOIN screening_result AS b ON b.district_id = :district AND b.window_id = m.window_before_id
     AND b.measure_id = m.measure_id AND b.student_id = o.student_id),
now_counted AS MATERIALIZED (
    SELECT w.measure_id, w.grade, w.school_id, grouping(w.school_id) = 1 AS is_district, count(*) AS expected,
           count(*) FILTER (WHERE w.level IS NOT NULL AND w.level_before IS NOT NULL) AS counted,
           count(*) FILTER (WHERE w.level IS NOT NULL AND w.level_before <= :core) AS reached_before,
           count(*) FILTER (WHERE w.level <= :core AND w.level_before IS NOT NULL) AS reached
    FROM both_windows AS w
    GROUP BY GROUPING SETS ((w.measure_id, w.grade), (w.measure_id, w.grade, w.school_id))),
before_counted AS MATERIALIZED (
    SELECT b.measure_id, b.grade, b.school_ids[1] AS school_id, grouping(b.school_ids[1]) = 1 AS is_district,
           count(*) AS expected, count(b.level) AS leveled
    FROM measured AS m
    JOIN screening_result AS b ON b.district_id = :district AND b.window_id = m.window_before_id
     AND b.measure_id = m.measure_id
    GROUP BY GROUPING SETS ((b.measure_id, b.grade), (b.measure_id, b.grade, b.school_ids[1]))),
fallen AS MATERIALIZED (
    SELECT n.measure_id, n.grade, n.school_id,
           100 * (n.reached_before - n.reached) / n.counted AS fell_by,
           least(n.counted, e.expected - {SMALLEST}, n.expected - {SMALLEST}) / 10 * 10 AS counted_at_least
    FROM now_counted AS n
    JOIN before_counted AS e ON e.measure_id = n.measure_id AND e.grade = n.grade AND e.is_district = n.is_district
     AND e.school_id IS NOT DISTINCT FROM n.school_id
    WHERE least(n.reached_before, n.counted - n.reached_before, n.reached, n.counted - n.reached) >= {SMALLEST}
      AND 2 * n.counted >= e.leveled AND (n.school_id IS NOT NULL OR n.is_district) AND n.grade IS NOT NULL{{cells}}),
candidate AS MATERIALIZED (
    SELECT DISTINCT ON (f.measure_id, f.grade, f.school_id) u.rule_id, m.window_before_id, f.measure_id, m.area_id,
           m.secured, f.school_id, f.grade, CAST(f.fell_by AS integer) AS fell_by,
           CAST(f.counted_at_least AS integer) AS counted_at_least,
           md5('core_stall ' || concat_ws(' ', CAST(:window AS uuid), f.measure_id, f.school_id, f.grade)) AS digest
    FROM fallen AS f
    JOIN measured AS m ON m.measure_id = f.measure_id
    JOIN rule_in_force AS u ON (u.measure_id IS NULL OR u.measure_id = f.measure_id)
     AND CAST(:closes AS date) + u.days > CAST(:today AS date) AND f.fell_by >= u.points
    ORDER BY f.measure_id, f.grade, f.school_id, u.rule_id)"""
"""The SQL for the grades, of each school and of the whole district, for which a rule suggests a core stall.

The rule sets a number of percentage points. A rule suggests a core stall if the share of students who reach the
benchmark fell by at least this number. `{outcome}` is the SQL for the levels in the window. `{cells}` is an additional
condition on the grades, which have the alias `n`.
"""
COUNT: Final = f"WITH {CANDIDATES}\nSELECT count(*) FROM candidate AS c"
"""Counts the grades for which a rule would suggest a core stall, for the preview of the rule."""
WRITE: Final = f"""
WITH {CANDIDATES},
compared AS MATERIALIZED (
    SELECT s.id, s.state, c.rule_id, c.window_before_id, c.measure_id, c.area_id, c.secured, c.school_id, c.grade,
           c.fell_by, c.counted_at_least, c.digest, c.digest IS NOT NULL AS holds
    FROM candidate AS c
    FULL JOIN (
        SELECT o.id, o.digest, o.state FROM core_stall AS o
        WHERE o.district_id = :district AND o.window_id = :window) AS s ON s.digest = c.digest),
changing AS MATERIALIZED (
    SELECT c.* FROM compared AS c
    WHERE c.id IS NULL OR (c.state = '{StallState.LAPSED}' AND c.holds)
       OR (c.state = '{StallState.SUGGESTED}' AND NOT c.holds)),
updated AS (
    UPDATE core_stall AS s
    SET state = CASE WHEN c.holds THEN '{StallState.SUGGESTED}' ELSE '{StallState.LAPSED}' END,
        seen_on = CASE WHEN c.holds THEN CAST(:today AS date) ELSE s.seen_on END,
        rule_id = CASE WHEN c.holds THEN c.rule_id ELSE s.rule_id END,
        fell_by = CASE WHEN c.holds THEN c.fell_by ELSE s.fell_by END,
        counted_at_least = CASE WHEN c.holds THEN c.counted_at_least ELSE s.counted_at_least END,
        version = s.version + 1, updated_at = CAST(:now AS timestamptz)
    FROM changing AS c WHERE s.district_id = :district AND s.id = c.id
    RETURNING s.id, s.window_id, s.school_id, s.secured_area, s.version, s.state),
added AS (
    INSERT INTO core_stall (district_id, id, rule_id, window_id, window_before_id, measure_id, area_id, secured_area,
                            school_id, grade, state, digest, seen_on, fell_by, counted_at_least, created_at,
                            updated_at, version)
    SELECT CAST(:district AS uuid),
           CAST(overlay(overlay(md5(CAST(:salt AS text) || c.digest)
                placing CAST(:stamp AS text) from 1 for 13) placing '8' from 17 for 1) AS uuid),
           c.rule_id, CAST(:window AS uuid), c.window_before_id, c.measure_id, c.area_id, c.secured, c.school_id,
           c.grade, '{StallState.SUGGESTED}', c.digest, CAST(:today AS date), c.fell_by, c.counted_at_least,
           CAST(:now AS timestamptz), CAST(:now AS timestamptz), 1
    FROM changing AS c WHERE c.id IS NULL
    ON CONFLICT DO NOTHING RETURNING id, window_id, school_id, secured_area, version, state)
SELECT w.id, w.window_id, w.school_id, w.secured_area, w.version, w.state FROM (
    SELECT u.id, u.window_id, u.school_id, u.secured_area, u.version, u.state FROM updated AS u
    UNION ALL SELECT a.id, a.window_id, a.school_id, a.secured_area, a.version, a.state FROM added AS a) AS w
ORDER BY w.id"""
"""Writes the new, returned and lapsed core stalls of a window, and returns them."""
LAPSE_BEYOND: Final = f"""
UPDATE core_stall AS s
SET state = '{StallState.LAPSED}', version = s.version + 1, updated_at = CAST(:now AS timestamptz)
WHERE s.district_id = :district AND s.state = '{StallState.SUGGESTED}' AND NOT s.window_id = ANY (:windows)
RETURNING s.id"""
"""Lets suggested core stalls lapse if no rule reads their window any more."""
