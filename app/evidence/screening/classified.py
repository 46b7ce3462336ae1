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
"""SQL for a student's grade in the form that `normal_grade` returns."""
CLASSIFIED: Final = f"""
cut AS MATERIALIZED (
    SELECT CAST(c.place AS integer) AS place, c.measure_id, c.grade, c.sign, c.risk * c.sign AS risk,
           c.goal * c.sign AS goal,
           ARRAY (SELECT CAST(v.value AS double precision)
                  FROM jsonb_array_elements_text(c.scores) WITH ORDINALITY AS v (value, n) ORDER BY v.n) AS scores,
           ARRAY (SELECT CAST(v.value AS double precision)
                  FROM jsonb_array_elements_text(c.percentiles) WITH ORDINALITY AS v (value, n)
                  ORDER BY v.n) AS percentiles
    FROM ROWS FROM (jsonb_to_recordset(CAST(:cuts AS jsonb)) AS (
        measure_id uuid, grade text, sign integer, risk double precision, goal double precision, scores jsonb,
        percentiles jsonb)) WITH ORDINALITY AS c (
        measure_id, grade, sign, risk, goal, scores, percentiles, place)),
expected AS (
    SELECT p.id AS student_id, p.school_id, p.grade AS grade_of_student, c.place, c.measure_id, c.sign, c.risk, c.goal
    FROM person AS p JOIN cut AS c ON c.grade = {NORMAL_GRADE}
    WHERE p.district_id = :district AND p.is_student AND p.removed_at IS NULL AND p.merged_into IS NULL{{students}}),
taken AS (
    SELECT DISTINCT ON (s.student_id, s.measure_id) s.student_id, s.measure_id, s.id, s.value
    FROM score AS s
    WHERE s.district_id = :district AND s.measure_id = ANY (:measures) AND s.purpose = 'screening'
      AND s.removed_at IS NULL AND s.taken_on >= :opens AND s.taken_on < :closes{{scores}}
    ORDER BY s.student_id, s.measure_id, s.taken_on DESC, s.attempt DESC, s.id DESC),
classified AS MATERIALIZED (
    SELECT e.student_id, e.school_id, e.grade_of_student AS grade, e.place, e.measure_id, t.id AS score_id, t.value,
           CASE WHEN t.value IS NULL THEN NULL
                WHEN t.value * e.sign < e.risk THEN CAST(:intensive AS integer)
                WHEN t.value * e.sign < e.goal THEN CAST(:targeted AS integer)
                WHEN e.risk IS NOT NULL OR e.goal IS NOT NULL THEN CAST(:core AS integer) END AS level
    FROM expected AS e
    LEFT JOIN taken AS t ON t.student_id = e.student_id AND t.measure_id = e.measure_id)"""
"""The expected students, each with the last screening score in the window and the level that the score suggests.

`{students}` stands for a further condition on the students `p`, and `{scores}` for a further condition on the scores
`s`. `place` is the number of the row in `cut` from which `PERCENTILE` is computed. The rows have few columns, because
there can be a row for every student of a district.
"""
PERCENTILE: Final = """(
    SELECT CASE WHEN c.value IS NULL OR cardinality(k.scores) = 0 THEN NULL
                WHEN b.below = 0 THEN k.percentiles[1]
                WHEN b.below = cardinality(k.scores) THEN k.percentiles[b.below]
                ELSE k.percentiles[b.below]
                     + (c.value * k.sign - k.scores[b.below]) * (k.percentiles[b.below + 1] - k.percentiles[b.below])
                     / (k.scores[b.below + 1] - k.scores[b.below]) END
    FROM cut AS k CROSS JOIN LATERAL (SELECT width_bucket(c.value * k.sign, k.scores) AS below OFFSET 0) AS b
    WHERE k.place = c.place)"""
"""The percentile of a row `c` of `classified`, interpolated between the known percentiles.

A score that is worse than the score of the lowest known percentile gets the lowest known percentile. A score that is
better than the score of the highest known percentile gets the highest known percentile.
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
    """Returns the parameters for the SQL statement `CLASSIFIED`, by name."""
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


def within_caseload(work: Work) -> tuple[str, str, list[BindParameter[Any]], dict[str, Any]]:
    """Returns two SQL conditions for a caller who sees only a caseload: one on the students, and one on their scores.

    The query must call the table of people `p` and the table of scores `s`. For any other caller, both conditions are
    empty. The third result has the parameters of the conditions, and the fourth has the parameters' values. Row-level
    security restricts the query anyway; the conditions let PostgreSQL use an index.
    """
    if work.principal.reach is not Reach.CASELOAD:
        return "", "", [], {}
    parameters = [bindparam("caseload", type_=IdList)]
    values = {"caseload": list(work.principal.students)}
    return " AND p.id = ANY (:caseload)", " AND s.student_id = ANY (:caseload)", parameters, values
