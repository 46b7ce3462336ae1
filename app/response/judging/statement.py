"""Builds the one statement that reads everything on which the verdicts of some series depend, and defines its rows.

Each row of the result is a phase with its scores as arrays: a requested phase, a classmate's phase, or an ended phase
of the cohort. The statement looks up rows by their keys, through lateral subqueries, because the planner of PostgreSQL
knows hardly anything about a district that was just loaded. This module judges nothing.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from enum import IntEnum
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from app.core.arrays import rows_of
from app.response.judging.points import ScoreColumns
from app.response.judging.series import Cohort

NO_SCORES: Final[ScoreColumns] = ((), (), (), ())
BASELINE_DAYS: Final = 84
"""The scores of this many days before a support count as points of its baseline. These points may show a trend."""


class PhaseRole(IntEnum):
    """Why a phase is read.

    * `REQUESTED`: the phase itself was requested. `CLASSMATE`: it is the current phase of a classmate.
    * `ENDED`: it is an ended phase of the same cohort. Without cohorts, every phase has this role.
    """

    REQUESTED = 0
    CLASSMATE = 1
    ENDED = 2


class StoredVerdict(NamedTuple):
    """The columns of a stored verdict on which the next verdict depends."""

    id: UUID
    number: int
    phase_id: UUID
    measures: int
    last_week: int | None
    state: str
    kind: str | None
    because: Any
    sentence: str
    statistic: float | None
    threshold: float | None
    rate: float | None
    rate_low: float | None
    rate_high: float | None
    odds: float | None
    slow: float | None
    short: float | None
    on_pace: float | None
    label: str
    stated_far: float | None
    required_rate: float
    change_week: int | None
    rule: str
    rule_version: int
    parameters: Any
    score_ids: Sequence[UUID]
    playbook_version_id: UUID
    calibration_id: UUID | None
    sem: float | None


class PhaseRow(NamedTuple):
    """One row of the result of `series_statement`: a phase of a support with the scores of one of its measures.

    The measure is the support's first one or an additional one. For an additional measure, `series_id` is the id of the
    `SupportMeasure` instead of the support, and `begins_on` and the goal come from the `PhaseGoal`.

    Only the first row of the result has the weeks of all schools, the playbook in force, the newest calibrations, and
    the measures with their versions. The last five fields are tuples, each of which `of` builds from several columns of
    the result.
    """

    role: int
    support_id: UUID
    student_id: UUID
    measure_id: UUID
    school_ids: list[UUID]
    secured_area: str | None
    area_id: UUID
    version: int
    suspended_on: list[date]
    resumed_on: list[date]
    phase_id: UUID
    number: int
    begins_on: date
    ends_on: date | None
    baseline: float
    goal: float
    goal_on: date
    minutes_per_session: int
    sessions_per_week: int
    grades: list[str]
    series_id: UUID
    first_measure_id: UUID
    more_measures: list[UUID]
    phase_begins_on: date
    score_ids: list[UUID] | None
    days: list[date] | None
    numbers: list[float] | None
    forms: list[str] | None
    baseline_ids: list[UUID] | None
    baseline_days: list[date] | None
    baseline_numbers: list[float] | None
    verdict_id: UUID | None
    state: str
    state_kind: str | None
    last_number: int
    since: Any
    since_on: Any
    memory: Any
    alert_id: UUID | None
    alert_week: int | None
    alert_measure_id: UUID | None
    settled_on: date | None
    week_schools: list[UUID] | None
    week_mondays: list[date] | None
    week_instructional: list[bool] | None
    playbook_version_id: UUID | None
    verdict: tuple[Any, ...] | None
    delivered: Sequence[tuple[date, int, int, int, int, int, str | None, int, int, int]]
    verdicts: Sequence[tuple[UUID, UUID, UUID, str, str | None, float | None]]
    calibrations: Sequence[tuple[UUID, str | None, UUID, dict[str, Any]]]
    measures: Sequence[tuple[UUID, int, datetime]]

    @classmethod
    def of(cls, record: Sequence[Any]) -> PhaseRow:
        """Builds a `PhaseRow` from one record of the query result.

        Each of the last five fields is built from several columns of the record.
        """
        verdict = tuple(record[_PLAIN:_VERDICT])
        lists = [rows_of(record[begin:end]) for begin, end in _LISTS]
        return cls._make([*record[:_PLAIN], None if verdict[0] is None else verdict, *lists])

    @property
    def cohort(self) -> Cohort:
        """Returns the cohort of the row: its measure, its first school, and the student's first grade level.

        Without a school, `series_id` takes the place of the school, and the cohort has only this support.
        """
        school = self.school_ids[0] if self.school_ids else self.series_id
        return self.measure_id, school, self.grades[0] if self.grades else None

    @property
    def scores(self) -> ScoreColumns:
        """Returns the progress scores of the phase, oldest first."""
        if self.score_ids is None:
            return NO_SCORES
        return (
            tuple(self.score_ids),
            tuple(self.days or ()),
            tuple(self.numbers or ()),
            tuple(self.forms or ()),
        )

    @property
    def baseline_scores(self) -> ScoreColumns:
        """Returns the scores that count as points of the baseline, oldest first, without the version of the test."""
        if self.baseline_ids is None:
            return NO_SCORES
        ids, forms = tuple(self.baseline_ids), ("",) * len(self.baseline_ids)
        return ids, tuple(self.baseline_days or ()), tuple(self.baseline_numbers or ()), forms


_PLAIN: Final = PhaseRow._fields.index("verdict")
"""The number of fields that have one column each."""
_VERDICT: Final = _PLAIN + len(StoredVerdict._fields)
_LISTS: Final = tuple(
    (begin, begin + width)
    for begin, width in ((_VERDICT, 10), (_VERDICT + 10, 6), (_VERDICT + 16, 4), (_VERDICT + 20, 3))
)
"""The columns of each list of a row, in the order of the fields: the first column, and the one after the last."""

_OF_ROW: Final = """s.id, s.student_id, {measure} AS measure_id, s.school_ids, s.secured_area, s.area_id, s.version,
    s.suspended_on, s.resumed_on, p.id AS phase_id, p.number, {goal}.begins_on, p.ends_on, {goal}.baseline, {goal}.goal,
    {goal}.goal_on, p.minutes_per_session, p.sessions_per_week, o.grades, {series} AS series_id,
    s.measure_id AS first_measure_id, s.more_measures, p.begins_on AS phase_begins_on"""
_PHASE: Final = _OF_ROW.format(measure="s.measure_id", goal="p", series="s.id")
_FURTHER: Final = _OF_ROW.format(measure="g.measure_id", goal="g", series="g.support_measure_id")
_GOAL: Final = """JOIN LATERAL (
        SELECT * FROM phase_goal AS g
        WHERE g.district_id = $1 AND g.phase_id = p.id AND {goals} OFFSET 0) AS g ON true"""
_OF_SUPPORT: Final = """JOIN LATERAL (
        SELECT * FROM phase AS p WHERE p.district_id = $1 AND p.support_id = s.id AND {phases} OFFSET 0) AS p ON true
    JOIN LATERAL (
        SELECT o.grades FROM person AS o WHERE o.district_id = $1 AND o.id = s.student_id OFFSET 0) AS o ON true"""
_COHORTS: Final = f"""
cohort AS MATERIALIZED (
    SELECT DISTINCT r.measure_id, r.school_ids[1] AS school_id, r.grades[1] AS grade
    FROM requested AS r WHERE r.school_ids[1] IS NOT NULL),
member AS MATERIALIZED (
    SELECT {_PHASE}, c.grade
    FROM cohort AS c
    JOIN LATERAL (
        SELECT * FROM support AS s
        WHERE s.district_id = $1 AND s.school_id = c.school_id AND s.measure_id = c.measure_id OFFSET 0) AS s ON true
    {_OF_SUPPORT.format(phases="(p.ends_on IS NOT NULL OR s.state = 'active')")}
    WHERE o.grades[1] IS NOT DISTINCT FROM c.grade
    UNION ALL
    SELECT {_FURTHER}, c.grade
    FROM cohort AS c
    JOIN LATERAL (
        SELECT * FROM support AS s
        WHERE s.district_id = $1 AND s.school_id = c.school_id AND cardinality(s.more_measures) > 0
          AND c.measure_id = ANY (s.more_measures) OFFSET 0) AS s ON true
    {_OF_SUPPORT.format(phases="(p.ends_on IS NOT NULL OR s.state = 'active')")}
    {_GOAL.format(goals="g.measure_id = c.measure_id")}
    WHERE o.grades[1] IS NOT DISTINCT FROM c.grade),
first_day AS MATERIALIZED (
    SELECT b.measure_id, b.school_id, b.grade, min(b.begins_on) AS day
    FROM (SELECT r.measure_id, r.school_ids[1] AS school_id, r.grades[1] AS grade, r.begins_on FROM requested AS r
          UNION ALL SELECT m.measure_id, m.school_ids[1], m.grades[1], m.begins_on FROM member AS m
          WHERE m.ends_on IS NULL) AS b
    GROUP BY 1, 2, 3),
chosen AS MATERIALIZED (
    SELECT 0 AS role, r.* FROM requested AS r
    UNION ALL SELECT 1, m.* FROM (SELECT {{columns}} FROM member) AS m
    WHERE m.ends_on IS NULL AND m.series_id NOT IN (SELECT r.series_id FROM requested AS r)
    UNION ALL SELECT 2, m.* FROM (SELECT {{columns}} FROM member) AS m
    WHERE m.ends_on > (SELECT f.day FROM first_day AS f WHERE f.measure_id = m.measure_id
                       AND f.school_id = m.school_ids[1] AND f.grade IS NOT DISTINCT FROM m.grades[1])),
"""
_STATEMENT: Final = """
WITH requested AS MATERIALIZED (
    SELECT {phase} FROM {supports}
    {of_support}
    WHERE {condition}
    UNION ALL SELECT {further} FROM {further_supports}
    {of_support}
    {goal}
    WHERE {further_condition}),
{cohorts}
taken AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY c.role, c.id, c.series_id, c.number) AS place, c.*,
           x.ids, x.days, x.numbers, x.forms
    FROM chosen AS c
    JOIN LATERAL (
        SELECT array_agg(t.id ORDER BY t.taken_on, t.attempt, t.id) AS ids,
               array_agg(t.taken_on ORDER BY t.taken_on, t.attempt, t.id) AS days,
               array_agg(t.value ORDER BY t.taken_on, t.attempt, t.id) AS numbers,
               array_agg(coalesce(t.form, '') ORDER BY t.taken_on, t.attempt, t.id) AS forms
        FROM score AS t
        WHERE t.district_id = $1 AND t.student_id = c.student_id AND t.measure_id = c.measure_id
          AND t.removed_at IS NULL AND t.taken_on >= c.begins_on AND (c.ends_on IS NULL OR t.taken_on < c.ends_on)
          AND t.purpose = 'progress' OFFSET 0) AS x ON true)
SELECT t.role, {columns}, t.ids, t.days, t.numbers, t.forms, b.ids, b.days, b.numbers,
    v.verdict_id, v.state, v.kind, v.last_number, v.since, v.since_on, v.memory, v.alert_id, v.alert_week,
    v.alert_measure_id, v.settled_on, w.schools, w.mondays, w.instructional,
    CASE WHEN t.place = 1 THEN (
        SELECT y.id FROM playbook_version AS y WHERE y.district_id = $1 ORDER BY y.number DESC LIMIT 1) END,
    {verdict}, d.*, v.ids, v.measures, v.phases, v.states, v.kinds, v.on_paces, k.*, m.*
FROM taken AS t
LEFT JOIN LATERAL (
    SELECT array_agg(c.id ORDER BY c.taken_on, c.attempt, c.id) AS ids,
           array_agg(c.taken_on ORDER BY c.taken_on, c.attempt, c.id) AS days,
           array_agg(c.value ORDER BY c.taken_on, c.attempt, c.id) AS numbers
    FROM score AS c
    WHERE t.role = 0 AND t.number = 1 AND c.district_id = $1 AND c.student_id = t.student_id
      AND c.measure_id = t.measure_id AND c.removed_at IS NULL AND c.taken_on >= t.begins_on - {baseline_days}
      AND c.taken_on <= t.begins_on AND (c.taken_on < t.begins_on OR c.purpose = 'baseline')
      AND c.purpose <> 'screening' OFFSET 0) AS b ON true
LEFT JOIN LATERAL (
    SELECT array_agg(z.monday), array_agg(z.planned), array_agg(z.delivered), array_agg(z.planned_minutes),
           array_agg(z.delivered_minutes), array_agg(z.lost), array_agg(z.because), array_agg(z.checked),
           array_agg(z.done), array_agg(z.parts)
    FROM (
        SELECT date_trunc('week', e.held_on::timestamp)::date AS monday, e.lost_because AS because,
               count(*) FILTER (WHERE e.planned_minutes > 0) AS planned,
               count(*) FILTER (WHERE e.delivered_minutes > 0) AS delivered,
               sum(e.planned_minutes) AS planned_minutes, sum(e.delivered_minutes) AS delivered_minutes,
               sum(greatest(e.planned_minutes - e.delivered_minutes, 0)) AS lost,
               count(*) FILTER (WHERE e.done_parts IS NOT NULL AND e.delivered_minutes > 0) AS checked,
               coalesce(sum(cardinality(e.done_parts)) FILTER (WHERE e.delivered_minutes > 0), 0) AS done,
               coalesce(sum(e.checklist_size) FILTER (WHERE e.delivered_minutes > 0), 0) AS parts
        FROM session AS e
        WHERE t.role = 0 AND e.district_id = $1 AND e.support_id = t.id AND e.held_on >= t.begins_on
          AND e.held_on <= (SELECT max(a.day) FROM unnest(t.days) AS a (day) WHERE a.day <= t.goal_on)
          AND e.removed_at IS NULL
        GROUP BY 1, 2) AS z OFFSET 0) AS d ON true
LEFT JOIN LATERAL (
    SELECT r.verdict_ids, r.verdict_id, r.state, r.kind, r.since, r.since_on, r.memory, r.alert_id, r.settled_on,
           a.last_week AS alert_week, a.measure_id AS alert_measure_id,
           (SELECT max(q.number) FROM verdict AS q WHERE q.district_id = $1 AND q.support_id = r.support_id)
           AS last_number, c.*
    FROM response_state AS r
    LEFT JOIN LATERAL (
        SELECT array_agg(q.id) AS ids, array_agg(q.measure_id) AS measures, array_agg(q.phase_id) AS phases,
               array_agg(q.state) AS states, array_agg(q.kind) AS kinds, array_agg(q.on_pace) AS on_paces
        FROM verdict AS q WHERE q.district_id = $1 AND q.id = ANY (r.verdict_ids) OFFSET 0) AS c ON true
    LEFT JOIN LATERAL (
        SELECT q.last_week, q.measure_id FROM verdict AS q WHERE q.district_id = $1 AND q.id = r.alert_id OFFSET 0) AS a
        ON true
    WHERE t.role = 0 AND r.district_id = $1 AND r.support_id = t.id OFFSET 0) AS v ON true
LEFT JOIN LATERAL (
    SELECT * FROM verdict AS q
    WHERE q.district_id = $1 AND q.id = ANY (v.verdict_ids) AND q.measure_id = t.measure_id OFFSET 0) AS q ON true
LEFT JOIN LATERAL (
    SELECT array_agg(w.school_id ORDER BY w.monday) AS schools, array_agg(w.monday ORDER BY w.monday) AS mondays,
           array_agg(w.instructional ORDER BY w.monday) AS instructional
    FROM school_week AS w
    WHERE t.place = 1 AND w.district_id = $1
      AND w.school_id = ANY (ARRAY (SELECT unnest(n.school_ids) FROM taken AS n))
      AND w.monday >= (SELECT date_trunc('week', min(n.phase_begins_on)::timestamp)::date FROM taken AS n)
      AND w.monday <= (SELECT greatest(max(n.goal_on), max(n.days[cardinality(n.days)])) FROM taken AS n) OFFSET 0) AS w
    ON true
LEFT JOIN LATERAL (
    SELECT array_agg(k.measure_id), array_agg(k.grade), array_agg(k.id), array_agg(k.estimates) FROM (
        SELECT DISTINCT ON (k.measure_id, k.grade) k.* FROM calibration AS k
        WHERE t.place = 1 AND k.district_id = $1
          AND k.measure_id = ANY (ARRAY (SELECT n.measure_id FROM taken AS n))
        ORDER BY k.measure_id, k.grade, k.number DESC) AS k
    WHERE NOT k.published OFFSET 0) AS k ON true
LEFT JOIN LATERAL (
    SELECT array_agg(m.id), array_agg(m.version), array_agg(m.updated_at) FROM measure AS m
    WHERE t.place = 1 AND m.district_id = $1
      AND m.id = ANY (ARRAY (SELECT n.measure_id FROM taken AS n)) OFFSET 0) AS m ON true
ORDER BY t.place
"""
_NAMES: Final = PhaseRow._fields[1 : PhaseRow._fields.index("score_ids")]
_ALONE: Final = "chosen AS MATERIALIZED (SELECT 2 AS role, r.* FROM requested AS r),"
ACTIVE: Final = "s.district_id = $1 AND s.measure_id IS NOT NULL AND s.state = 'active'"
# The LIMIT leaves nothing out. Without it, PostgreSQL estimates ten rows as long as it does not know the arrays, and
# then plans the statement for its values each time, which takes several times as long as running it.
BY_PAIRS: Final = f"""(
        SELECT * FROM unnest($2::uuid[], $3::uuid[]) AS a (student_id, measure_id)
        LIMIT cardinality($2::uuid[])) AS pair
    JOIN LATERAL (
        SELECT * FROM support AS s
        WHERE s.student_id = pair.student_id AND s.measure_id = pair.measure_id AND {ACTIVE} OFFSET 0) AS s ON true"""
FURTHER_BY_PAIRS: Final = f"""(
        SELECT * FROM unnest($2::uuid[], $3::uuid[]) AS a (student_id, measure_id)
        LIMIT cardinality($2::uuid[])) AS pair
    JOIN LATERAL (
        SELECT * FROM support AS s
        WHERE s.student_id = pair.student_id AND pair.measure_id = ANY (s.more_measures)
          AND cardinality(s.more_measures) > 0 AND {ACTIVE} OFFSET 0) AS s ON true"""
BY_IDS: Final = f"""(SELECT * FROM unnest($2::uuid[]) AS a (id) LIMIT cardinality($2::uuid[])) AS chosen_id
    JOIN LATERAL (
        SELECT * FROM support AS s WHERE s.id = chosen_id.id AND {ACTIVE} OFFSET 0) AS s ON true"""


FURTHER: Final = "cardinality(s.more_measures) > 0"
OF_PAIR, FOLLOWED = "g.measure_id = pair.measure_id", "g.measure_id = ANY (s.more_measures)"
"""Conditions that select the goals `g` of additional measures.

`OF_PAIR` selects the goals for the measure of a pair. `FOLLOWED` selects the goals for all additional measures of the
support.
"""


@cache
def series_statement(
    supports: str,
    condition: str,
    *,
    further_supports: str | None = None,
    further_condition: str | None = None,
    goals: str = FOLLOWED,
    phases: str = "p.ends_on IS NULL",
    cohorts: bool = True,
) -> str:
    """Returns the statement that reads the phases of certain supports, with a row for each phase and measure.

    A support has a first measure and may have additional measures (`further`).

    * `supports` and `condition` are SQL that selects the supports `s` whose first measure is read.
    * `further_supports` and `further_condition` select the supports `s` whose additional measures are read. By default,
      these are the supports selected by `supports` and `condition` that have additional measures.
    * `goals` is a condition on the goals `g` of the additional measures.
    * `phases` is a condition on the phases `p`.
    * With `cohorts`, the other phases of the same cohorts are read too.
    * `$1` is the district.
    """
    columns = ", ".join("id" if name == "support_id" else name for name in _NAMES)
    return _STATEMENT.format(
        phase=_PHASE,
        further=_FURTHER,
        supports=supports,
        further_supports=further_supports or supports,
        of_support=_OF_SUPPORT.format(phases=phases),
        goal=_GOAL.format(goals=goals),
        condition=condition,
        further_condition=f"{condition} AND {FURTHER}" if further_condition is None else further_condition,
        cohorts=_COHORTS.format(columns=columns) if cohorts else _ALONE,
        columns=", ".join(f"t.{name}" for name in columns.split(", ")),
        baseline_days=BASELINE_DAYS,
        verdict=", ".join(f"q.{name}" for name in StoredVerdict._fields),
    )
