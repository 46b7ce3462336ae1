"""Holds the SQL that classifies the screening scores of a window: one row for each expected student and measure."""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import BindParameter, Date, Integer, Text, Uuid, bindparam

from app.access.principal import Reach
from app.access.work import Work
from app.evidence.screening.cuts import ExpectedInWindow, SuggestedLevels
from app.evidence.screening.models import ScreeningWindow
from app.roster.lookup import IdList

NORMAL_GRADE: Final = "coalesce(nullif(ltrim(upper(btrim(p.grade)), '0'), ''), upper(btrim(p.grade)))"
"""SQL for a student's grade in the form of `normal_grade`."""
CLASSIFIED: Final = f"""
cut AS MATERIALIZED (
    SELECT c.measure_id, c.grade, c.sign, c.risk, c.goal,
           ARRAY (SELECT CAST(v.value AS double precision)
                  FROM jsonb_array_elements_text(c.scores) WITH ORDINALITY AS v (value, n) ORDER BY v.n) AS scores,
           ARRAY (SELECT CAST(v.value AS double precision)
                  FROM jsonb_array_elements_text(c.percentiles) WITH ORDINALITY AS v (value, n)
                  ORDER BY v.n) AS percentiles
    FROM jsonb_to_recordset(CAST(:cuts AS jsonb)) AS c (
        measure_id uuid, grade text, sign integer, risk double precision, goal double precision, scores jsonb,
        percentiles jsonb)),
expected AS MATERIALIZED (
    SELECT p.id AS student_id, p.school_ids, p.school_id, p.grade AS grade_of_student, c.*
    FROM person AS p JOIN cut AS c ON c.grade = {NORMAL_GRADE}
    WHERE p.district_id = :district AND p.is_student AND p.removed_at IS NULL AND p.merged_into IS NULL{{students}}),
taken AS MATERIALIZED (
    SELECT DISTINCT ON (s.student_id, s.measure_id) s.student_id, s.measure_id, s.id, s.value
    FROM score AS s
    WHERE s.district_id = :district AND s.measure_id = ANY (:measures) AND s.purpose = 'screening'
      AND s.removed_at IS NULL AND s.taken_on >= :opens AND s.taken_on < :closes
    ORDER BY s.student_id, s.measure_id, s.taken_on DESC, s.attempt DESC, s.id DESC),
classified AS MATERIALIZED (
    SELECT e.student_id, e.school_ids, e.school_id, e.grade_of_student AS grade, e.measure_id, t.id AS score_id,
           t.value, e.risk IS NOT NULL OR e.goal IS NOT NULL AS has_cut,
           CASE WHEN t.value IS NULL THEN NULL
                WHEN t.value * e.sign < e.risk * e.sign THEN CAST(:intensive AS integer)
                WHEN t.value * e.sign < e.goal * e.sign THEN CAST(:targeted AS integer)
                WHEN e.risk IS NOT NULL OR e.goal IS NOT NULL THEN CAST(:core AS integer) END AS level,
           CASE WHEN t.value IS NULL OR cardinality(e.scores) = 0 THEN NULL
                WHEN width_bucket(t.value * e.sign, e.scores) = 0 THEN e.percentiles[1]
                WHEN width_bucket(t.value * e.sign, e.scores) = cardinality(e.scores)
                THEN e.percentiles[cardinality(e.scores)]
                ELSE e.percentiles[width_bucket(t.value * e.sign, e.scores)]
                     + (t.value * e.sign - e.scores[width_bucket(t.value * e.sign, e.scores)])
                     * (e.percentiles[width_bucket(t.value * e.sign, e.scores) + 1]
                        - e.percentiles[width_bucket(t.value * e.sign, e.scores)])
                     / (e.scores[width_bucket(t.value * e.sign, e.scores) + 1]
                        - e.scores[width_bucket(t.value * e.sign, e.scores)]) END AS percentile
    FROM expected AS e
    LEFT JOIN taken AS t ON t.student_id = e.student_id AND t.measure_id = e.measure_id)"""
"""The expected students with their last screening score in the window, the level that it suggests, and its percentile.

A score below that of the lowest known percentile has this percentile, and one above the highest has that. `{students}`
is a further condition on the students `p`.
"""
PARAMETERS: Final[tuple[BindParameter[Any], ...]] = (
    bindparam("district", type_=Uuid),
    bindparam("cuts", type_=Text),
    bindparam("measures", type_=IdList),
    bindparam("opens", type_=Date),
    bindparam("closes", type_=Date),
    *(bindparam(name, type_=Integer) for name in ("core", "targeted", "intensive")),
)


def values_of(
    work: Work, window: ScreeningWindow, expected: Sequence[ExpectedInWindow], levels: SuggestedLevels
) -> dict[str, Any]:
    """Returns the values of the parameters of `CLASSIFIED`."""
    cuts = [cut.as_json() for one in expected for cut in one.cuts]
    return {
        "district": work.district_id,
        "cuts": orjson.dumps(cuts).decode(),
        "measures": [one.measure.id for one in expected],
        "opens": window.opens_on,
        "closes": window.closes_on,
        "core": levels.core,
        "targeted": levels.targeted,
        "intensive": levels.intensive,
    }


def within_caseload(work: Work) -> tuple[str, list[BindParameter[Any]], dict[str, Any]]:
    """Returns the SQL condition on the students `p` for a caller who sees a caseload, with its parameters and values.

    Row-level security applies in addition; the condition lets an index be used.
    """
    if work.principal.reach is not Reach.CASELOAD:
        return "", [], {}
    parameters = [bindparam("caseload", type_=IdList)]
    return " AND p.id = ANY (:caseload)", parameters, {"caseload": list(work.principal.students)}
