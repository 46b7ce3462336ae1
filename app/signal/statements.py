"""Holds the SQL that computes signals: it finds what each kind of rule can report, and writes the signals.

What a rule finds in a student's data is called a candidate. Its `basis` identifies the evidence, and its digest is
computed from the kind of rule and the basis. A suggested signal without a candidate lapses, and a lapsed signal with a
candidate is suggested again.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from typing import Final

from app.evidence.screening.classified import CLASSIFIED
from app.signal.rules import SignalKind, SignalState

RULES: Final = """
rule_in_force AS MATERIALIZED (
    SELECT u.* FROM jsonb_to_recordset(CAST(:rules AS jsonb)) AS u (
        rule_id uuid, kind text, area_id uuid, secured text, measure_id uuid, percent integer, points integer,
        least integer, days integer, incident_kinds text[]))"""
SCREENED: Final = f"""
{CLASSIFIED},
measured AS MATERIALIZED (
    SELECT m.* FROM jsonb_to_recordset(CAST(:areas AS jsonb)) AS m (measure_id uuid, area_id uuid, secured text)),
candidate AS MATERIALIZED (
    SELECT u.rule_id, u.kind, c.student_id, m.area_id, m.secured, c.score_id,
           CAST(:window AS uuid) AS window_id, CAST(NULL AS uuid) AS support_id, CAST(NULL AS uuid) AS class_id,
           CAST('{{{{}}}}' AS uuid[]) AS result_ids, CAST('{{{{}}}}' AS uuid[]) AS attendance_ids,
           CAST('{{{{}}}}' AS uuid[]) AS incident_ids,
           CAST(c.score_id AS text) AS basis
    FROM classified AS c
    JOIN measured AS m ON m.measure_id = c.measure_id
    JOIN rule_in_force AS u ON u.kind = '{SignalKind.SCREENING_UNDER_CUT}'
     AND (u.measure_id IS NULL OR u.measure_id = c.measure_id)
     AND CAST(:closes AS date) + u.days > CAST(:today AS date)
    WHERE c.level > :core)"""
"""The candidates of one screening window: students whose score suggests a more intensive level than core."""
NO_PERIOD: Final = "00000000-0000-0000-0000-000000000000"
"""The id that stands for the grading period of work without a grading period.

A null is not used, because SQL does not join rows whose period is null.
"""
GRADED_AND_SERVED: Final = f"""
graded AS MATERIALIZED (
    SELECT g.id, g.student_id, coalesce(g.class_id, l.class_id) AS class_id,
           coalesce(l.grading_period_id, '{NO_PERIOD}') AS period, g.score_date, coalesce(g.missing, false) AS missing,
           100.0 * g.score / nullif(l.result_value_max, 0) AS percent
    FROM result AS g
    JOIN line_item AS l ON l.district_id = :district AND l.id = g.line_item_id AND l.removed_at IS NULL
    JOIN person AS p ON p.district_id = :district AND p.id = g.student_id AND p.removed_at IS NULL
    WHERE g.district_id = :district AND g.removed_at IS NULL AND g.score_date >= CAST(:since AS date)
      AND g.score_date <= CAST(:today AS date){{results}}),
average AS MATERIALIZED (
    SELECT u.rule_id, g.student_id, g.class_id, g.period,
           avg(g.percent) FILTER (WHERE g.score_date > CAST(:today AS date) - u.days) AS recent,
           count(g.percent) FILTER (WHERE g.score_date > CAST(:today AS date) - u.days) AS recent_results,
           avg(g.percent) FILTER (WHERE g.score_date <= CAST(:today AS date) - u.days) AS earlier,
           count(g.percent) FILTER (WHERE g.score_date <= CAST(:today AS date) - u.days) AS earlier_results,
           count(*) FILTER (WHERE g.missing AND g.score_date > CAST(:today AS date) - u.days) AS missing
    FROM graded AS g
    JOIN rule_in_force AS u
      ON u.kind IN ('{SignalKind.FAILING}', '{SignalKind.GRADE_DROP}', '{SignalKind.MISSING_WORK}')
    WHERE g.class_id IS NOT NULL
    GROUP BY u.rule_id, g.student_id, g.class_id, g.period),
concerning AS MATERIALIZED (
    SELECT u.rule_id, u.kind, u.area_id, u.secured, u.days, a.student_id, a.class_id, a.period
    FROM average AS a JOIN rule_in_force AS u ON u.rule_id = a.rule_id
    WHERE (u.kind = '{SignalKind.FAILING}' AND a.recent_results >= u.least AND a.recent < u.percent)
       OR (u.kind = '{SignalKind.GRADE_DROP}' AND a.recent_results >= u.least AND a.earlier_results >= u.least
           AND a.earlier - a.recent >= u.points)
       OR (u.kind = '{SignalKind.MISSING_WORK}' AND a.missing >= u.least)),
served AS MATERIALIZED (
    SELECT s.id, s.student_id, s.area_id, s.secured_area, s.state, s.moved_on, h.goal_on, v.state AS verdict,
           v.since_on, v.verdict_ids, s.measure_id, s.more_measures, h.id AS phase_id
    FROM support AS s
    JOIN person AS p ON p.district_id = :district AND p.id = s.student_id AND p.removed_at IS NULL
    LEFT JOIN phase AS h ON h.district_id = :district AND h.support_id = s.id AND h.ends_on IS NULL
    LEFT JOIN response_state AS v ON v.district_id = :district AND v.support_id = s.id
    WHERE s.district_id = :district AND s.state IN ('planned', 'active'){{supports}}),
unmet_goal AS MATERIALIZED (
    SELECT s.id AS support_id, s.goal_on FROM served AS s
    WHERE s.state = 'active' AND s.verdict IS DISTINCT FROM 'goal_met'
      AND (s.more_measures = '{{{{}}}}' OR NOT EXISTS (
          SELECT FROM verdict AS v
          WHERE v.district_id = :district AND v.id = ANY (s.verdict_ids) AND v.measure_id = s.measure_id
            AND v.state = 'goal_met'))
    UNION
    SELECT s.id, g.goal_on
    FROM served AS s
    JOIN support_measure AS e ON e.district_id = :district AND e.support_id = s.id AND e.followed_until IS NULL
    JOIN phase_goal AS g
      ON g.district_id = :district AND g.phase_id = s.phase_id AND g.support_measure_id = e.id
    WHERE s.state = 'active' AND s.verdict IS DISTINCT FROM 'goal_met' AND s.more_measures <> '{{{{}}}}'
      AND NOT EXISTS (
          SELECT FROM verdict AS v
          WHERE v.district_id = :district AND v.id = ANY (s.verdict_ids) AND v.measure_id = e.measure_id
            AND v.state = 'goal_met')),
absent_day AS MATERIALIZED (
    SELECT t.student_id, p.school_id, t.day,
           (array_agg(t.id ORDER BY t.id) FILTER (WHERE t.status = 'absent'))[1] AS record_id
    FROM attendance_record AS t
    JOIN person AS p ON p.district_id = :district AND p.id = t.student_id AND p.removed_at IS NULL
    WHERE t.district_id = :district AND t.removed_at IS NULL AND t.day >= CAST(:year_begins AS date)
      AND t.day <= CAST(:today AS date){{attendance}}
      AND EXISTS (SELECT FROM rule_in_force AS u WHERE u.kind = '{SignalKind.ATTENDANCE}')
    GROUP BY t.student_id, p.school_id, t.day
    HAVING coalesce(bool_or(t.status = 'absent') FILTER (WHERE t.class_id IS NULL AND t.period IS NULL),
                    2 * count(*) FILTER (WHERE t.status = 'absent') >= count(*))),
school_day AS MATERIALIZED (
    SELECT c.school_id, c.day,
           count(*) FILTER (WHERE c.is_instructional) OVER (PARTITION BY c.school_id ORDER BY c.day) AS number
    FROM (
        SELECT o.school_id, CAST(d.day AS date) AS day,
               extract(isodow FROM d.day) < 6 AND CAST(d.day AS date) >= coalesce(o.first_monday, CAST(d.day AS date))
               AND NOT EXISTS (
                   SELECT FROM school_break AS b
                   WHERE b.district_id = :district AND b.removed_at IS NULL
                     AND (b.school_id IS NULL OR b.school_id = o.school_id)
                     AND CAST(d.day AS date) BETWEEN b.begins_on AND b.ends_on) AS is_instructional
        FROM (
            SELECT a.school_id, (
                SELECT min(w.monday) FROM school_week AS w
                WHERE w.district_id = :district AND w.school_id = a.school_id AND w.instructional
                  AND w.monday > CAST(:year_begins AS date) - 7) AS first_monday
            FROM absent_day AS a GROUP BY a.school_id) AS o
        CROSS JOIN generate_series(
            CAST(:year_begins AS date), CAST(:today AS date), interval '1 day') AS d (day)) AS c),
enrolled AS MATERIALIZED (
    SELECT n.person_id, greatest(min(n.begins_on), CAST(:year_begins AS date)) AS since
    FROM enrollment AS n
    WHERE n.district_id = :district AND n.is_student AND n.removed_at IS NULL
      AND n.person_id = ANY (ARRAY (SELECT a.student_id FROM absent_day AS a))
    GROUP BY n.person_id),
absent AS MATERIALIZED (
    SELECT a.student_id, a.school_id, count(*) AS days,
           (array_agg(a.record_id ORDER BY a.day DESC, a.record_id))[1:20] AS records
    FROM absent_day AS a GROUP BY a.student_id, a.school_id),
attended AS MATERIALIZED (
    SELECT a.student_id, a.days, a.records, l.number - coalesce(f.number, 0) AS enrolled
    FROM absent AS a
    JOIN school_day AS l ON l.school_id = a.school_id AND l.day = CAST(:today AS date)
    LEFT JOIN enrolled AS e ON e.person_id = a.student_id
    LEFT JOIN school_day AS f ON f.school_id = a.school_id AND f.day = e.since - 1),
answered AS MATERIALIZED (
    SELECT s.student_id, r.incident_kinds AS kinds, max(s.settled_at) AS until
    FROM signal AS s JOIN signal_rule AS r ON r.district_id = :district AND r.id = s.rule_id
    WHERE s.district_id = :district AND s.kind = '{SignalKind.INCIDENTS}' AND s.settled_at IS NOT NULL{{answered}}
      AND NOT (s.state = '{SignalState.MERGED}' AND EXISTS (
          SELECT FROM signal AS o
          WHERE o.district_id = :district AND o.student_id = s.student_id AND o.kind = s.kind
            AND o.state = '{SignalState.SUGGESTED}' AND o.created_at <= s.settled_at))
    GROUP BY s.student_id, r.incident_kinds),
involved AS MATERIALIZED (
    SELECT u.rule_id, u.kind, u.area_id, u.secured, u.incident_kinds, i.student_id,
           (array_agg(i.id ORDER BY i.occurred_at DESC, i.id))[1:20] AS records
    FROM incident AS i
    JOIN person AS p ON p.district_id = :district AND p.id = i.student_id AND p.removed_at IS NULL
    JOIN incident_kind AS k ON k.district_id = :district AND k.id = i.kind_id
    JOIN rule_in_force AS u ON u.kind = '{SignalKind.INCIDENTS}' AND i.occurred_on > CAST(:today AS date) - u.days
     AND (u.incident_kinds = '{{{{}}}}' OR k.code = ANY (u.incident_kinds))
    WHERE i.district_id = :district AND i.removed_at IS NULL AND i.occurred_on <= CAST(:today AS date)
      AND i.occurred_on > CAST(:today AS date) - (
          SELECT max(u.days) FROM rule_in_force AS u WHERE u.kind = '{SignalKind.INCIDENTS}'){{incidents}}
      AND NOT EXISTS (
          SELECT FROM answered AS a WHERE a.student_id = i.student_id AND i.recorded_at <= a.until
             AND (a.kinds = '{{{{}}}}' OR k.code = ANY (a.kinds)))
    GROUP BY u.rule_id, u.kind, u.area_id, u.secured, u.incident_kinds, u.least, i.student_id
    HAVING count(*) >= u.least),
candidate AS MATERIALIZED (
    SELECT o.rule_id, o.kind, o.student_id, o.area_id, o.secured, CAST(NULL AS uuid) AS score_id,
           CAST(NULL AS uuid) AS window_id, CAST(NULL AS uuid) AS support_id, o.class_id,
           (array_agg(g.id ORDER BY g.score_date DESC, g.id))[1:20] AS result_ids,
           CAST('{{{{}}}}' AS uuid[]) AS attendance_ids, CAST('{{{{}}}}' AS uuid[]) AS incident_ids,
           o.class_id || coalesce(CAST(nullif(o.period, '{NO_PERIOD}') AS text), '') AS basis
    FROM concerning AS o
    JOIN graded AS g ON g.student_id = o.student_id AND g.class_id = o.class_id AND g.period = o.period
    WHERE g.score_date > CAST(:today AS date) - o.days AND (g.missing OR o.kind <> '{SignalKind.MISSING_WORK}')
    GROUP BY o.rule_id, o.kind, o.student_id, o.area_id, o.secured, o.class_id, o.period
    UNION ALL
    SELECT u.rule_id, u.kind, t.student_id, u.area_id, u.secured, NULL, NULL, NULL, NULL, CAST('{{{{}}}}' AS uuid[]),
           t.records, CAST('{{{{}}}}' AS uuid[]), CAST(CAST(:year_begins AS date) AS text)
    FROM attended AS t
    JOIN rule_in_force AS u ON u.kind = '{SignalKind.ATTENDANCE}' AND t.enrolled >= u.least
     AND 100 * t.days >= u.percent * t.enrolled
    UNION ALL
    SELECT v.rule_id, v.kind, v.student_id, v.area_id, v.secured, NULL, NULL, NULL, NULL, CAST('{{{{}}}}' AS uuid[]),
           CAST('{{{{}}}}' AS uuid[]), v.records,
           array_to_string(v.incident_kinds, ',') || coalesce(' ' || extract(epoch FROM a.until), '')
    FROM involved AS v LEFT JOIN answered AS a ON a.student_id = v.student_id AND a.kinds = v.incident_kinds
    UNION ALL
    SELECT u.rule_id, u.kind, s.student_id, coalesce(u.area_id, s.area_id), s.secured_area, NULL, NULL, s.id, NULL,
           CAST('{{{{}}}}' AS uuid[]), CAST('{{{{}}}}' AS uuid[]), CAST('{{{{}}}}' AS uuid[]),
           s.id || CAST(o.goal_on AS text)
    FROM unmet_goal AS o
    JOIN served AS s ON s.id = o.support_id
    JOIN rule_in_force AS u ON u.kind = '{SignalKind.UNMET_GOAL}' AND o.goal_on + u.days <= CAST(:today AS date)
    UNION ALL
    SELECT u.rule_id, u.kind, s.student_id, coalesce(u.area_id, s.area_id), s.secured_area, NULL, NULL, s.id, NULL,
           CAST('{{{{}}}}' AS uuid[]), CAST('{{{{}}}}' AS uuid[]), CAST('{{{{}}}}' AS uuid[]),
           s.id || CASE u.kind WHEN '{SignalKind.ARRIVED_WITH_SUPPORT}' THEN CAST(s.moved_on AS text)
                               ELSE CAST(s.since_on AS text) END
    FROM served AS s
    JOIN rule_in_force AS u ON
        (u.kind = '{SignalKind.ARRIVED_WITH_SUPPORT}' AND s.moved_on + u.days > CAST(:today AS date))
     OR (u.kind = '{SignalKind.AHEAD_OF_GOAL}' AND s.state = 'active' AND s.verdict = 'goal_met'
         AND s.since_on + u.days <= CAST(:today AS date) AND s.goal_on > CAST(:today AS date))
     OR (u.kind = '{SignalKind.READY_TO_FADE}' AND s.state = 'active' AND s.verdict IN ('responding', 'goal_met')
         AND s.since_on + u.days <= CAST(:today AS date)))"""
"""The candidates for the kinds of rules that read the gradebook, attendance, incidents, supports or verdicts.

The results of a class are listed only for a student who meets a rule's condition in this class, because listing and
sorting all results would take most of the time. After a signal about a class has been dismissed, a new signal about
the class can follow in the next grading period. Each measure of a support has a goal of its own, which can be unmet.
After a signal about an unmet goal has been dismissed, a new signal can follow if the goal date is changed, or when the
date of another measure's goal has passed. `ahead_of_goal` needs the goals of all measures: `goal_on` is the date of
the first measure's goal, which is never before that of a further measure. After a signal about incidents has been
accepted or dismissed, the incidents of its rule's kinds that had been recorded by then are not counted again by any
rule. A merged signal is no answer while a signal that was there before it is still suggested, because that one may be
the one into which it was merged.
"""
IN_FORCE: Final = """c.area_id IN (
        SELECT a.id FROM area AS a WHERE a.district_id = :district AND a.retired_at IS NULL)"""
"""The condition that the area of a candidate is in force. No concern can be raised in a retired area."""
WRITE: Final = f"""
WITH {RULES},
{{candidates}},
seen AS MATERIALIZED (
    SELECT DISTINCT ON (c.student_id, c.kind, c.basis) c.*, md5(c.kind || ' ' || c.basis) AS digest
    FROM candidate AS c WHERE {IN_FORCE} ORDER BY c.student_id, c.kind, c.basis, c.rule_id),
compared AS MATERIALIZED (
    SELECT s.id, s.state, coalesce(e.student_id, s.student_id) AS student_id, e.rule_id, e.kind, e.area_id, e.secured,
           e.score_id, e.window_id, e.support_id, e.class_id, e.result_ids, e.attendance_ids, e.incident_ids, e.digest,
           e.student_id IS NOT NULL AS holds
    FROM seen AS e
    FULL JOIN (
        SELECT o.id, o.student_id, o.kind, o.digest, o.state FROM signal AS o
        WHERE o.district_id = :district{{scope}}) AS s
      ON s.student_id = e.student_id AND s.kind = e.kind AND s.digest = e.digest),
changing AS MATERIALIZED (
    SELECT c.* FROM compared AS c
    WHERE c.id IS NULL OR (c.state = '{SignalState.LAPSED}' AND c.holds)
       OR (c.state = '{SignalState.SUGGESTED}' AND NOT c.holds)),
locked AS MATERIALIZED (
    SELECT p.id, p.school_ids FROM person AS p
    WHERE p.district_id = :district AND p.id = ANY (ARRAY (SELECT c.student_id FROM changing AS c))
    ORDER BY p.id FOR NO KEY UPDATE),
updated AS (
    UPDATE signal AS s
    SET state = CASE WHEN c.holds THEN '{SignalState.SUGGESTED}' ELSE '{SignalState.LAPSED}' END,
        seen_on = CASE WHEN c.holds THEN CAST(:today AS date) ELSE s.seen_on END,
        rule_id = CASE WHEN c.holds THEN c.rule_id ELSE s.rule_id END,
        result_ids = CASE WHEN c.holds THEN c.result_ids ELSE s.result_ids END,
        attendance_ids = CASE WHEN c.holds THEN c.attendance_ids ELSE s.attendance_ids END,
        incident_ids = CASE WHEN c.holds THEN c.incident_ids ELSE s.incident_ids END,
        version = s.version + 1, updated_at = CAST(:now AS timestamptz)
    FROM changing AS c JOIN locked AS k ON k.id = c.student_id
    WHERE s.district_id = :district AND s.id = c.id
      AND s.id = ANY (ARRAY (SELECT x.id FROM changing AS x WHERE x.id IS NOT NULL))
    RETURNING s.id, s.student_id, s.school_ids, s.secured_area, s.version, s.state),
added AS (
    INSERT INTO signal (district_id, id, student_id, school_ids, secured_area, rule_id, kind, area_id, state, digest,
                        seen_on, score_id, window_id, support_id, class_id, result_ids, attendance_ids, incident_ids,
                        created_at, updated_at, version)
    SELECT CAST(:district AS uuid),
           CAST(overlay(overlay(md5(CAST(:salt AS text) || c.student_id || c.digest)
                placing CAST(:stamp AS text) from 1 for 13) placing '8' from 17 for 1) AS uuid),
           c.student_id, k.school_ids, c.secured, c.rule_id, c.kind, c.area_id, '{SignalState.SUGGESTED}', c.digest,
           CAST(:today AS date), c.score_id, c.window_id, c.support_id, c.class_id, c.result_ids, c.attendance_ids,
           c.incident_ids, CAST(:now AS timestamptz), CAST(:now AS timestamptz), 1
    FROM changing AS c JOIN locked AS k ON k.id = c.student_id WHERE c.id IS NULL
    ON CONFLICT DO NOTHING RETURNING id, student_id, school_ids, secured_area, version, state)
SELECT w.id, w.student_id, w.school_ids, w.secured_area, w.version, w.state FROM (
    SELECT u.id, u.student_id, u.school_ids, u.secured_area, u.version, u.state FROM updated AS u
    UNION ALL SELECT a.id, a.student_id, a.school_ids, a.secured_area, a.version, a.state FROM added AS a) AS w
ORDER BY w.id"""
"""Creates new signals, suggests lapsed signals again, and lets suggested signals lapse. Returns all these signals.

A lapsed signal that is suggested again gets the results, absences and incidents that are its evidence today.
"""
COUNT: Final = f"""
WITH {RULES},
{{candidates}}
SELECT count(DISTINCT c.student_id) FROM candidate AS c WHERE {IN_FORCE}"""
"""Counts the students about whom a rule would suggest a signal, for the preview of the rule."""
LAPSE_BEYOND: Final = f"""
UPDATE signal AS s SET state = '{SignalState.LAPSED}', version = s.version + 1, updated_at = CAST(:now AS timestamptz)
FROM person AS p
WHERE s.district_id = :district AND p.district_id = :district AND p.id = s.student_id
  AND s.state = '{SignalState.SUGGESTED}'
  AND (p.removed_at IS NOT NULL
       OR (s.kind = '{SignalKind.SCREENING_UNDER_CUT}' AND NOT s.window_id = ANY (:windows))){{students}}
RETURNING s.id"""
"""Lets a suggested signal lapse if its student has left, or if it is about a window that no rule reads any more."""
