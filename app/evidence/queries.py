"""Reads scores and their changes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import and_, any_, cast, func, or_, select

from app.access.listing import schools_of_list
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Invalid, NotFound, Violation
from app.core.page import Keyset, Page
from app.evidence.models import Score, ScoreChange
from app.evidence.rules import BASELINE_SCORES
from app.roster.lookup import IdList, page_by_id, within_reach

MAX_CHARTED: Final = 5_000
"""The largest number of scores of a chart. Twenty scores take about a millisecond."""


class ChartedScore(NamedTuple):
    """The values of a score that a chart shows."""

    id: UUID
    taken_on: date
    value: float
    purpose: str


@dataclass(frozen=True, slots=True)
class ScoreFilter:
    """The filters of a list of scores. A score must match every filter that is set.

    The days `since` and `until` are included.
    """

    student_id: UUID | None = None
    measure_id: UUID | None = None
    since: date | None = None
    until: date | None = None


@needs(Can.READ_SCORES)
async def scores(work: Work, keyset: Keyset, criteria: ScoreFilter) -> Page[Score]:
    """Returns a page of the scores that match the filters, in the order in which they were recorded."""
    query = select(Score).where(
        Score.district_id == work.district_id, Score.removed_at.is_(None), within_reach(work, Score.student_id)
    )
    if criteria.student_id is not None:
        query = query.where(Score.student_id == criteria.student_id)
    if criteria.measure_id is not None:
        query = query.where(Score.measure_id == criteria.measure_id)
    if criteria.since is not None:
        query = query.where(Score.taken_on >= criteria.since)
    if criteria.until is not None:
        query = query.where(Score.taken_on <= criteria.until)
    schools = None if criteria.student_id is not None else schools_of_list(work, None)
    page: Page[Score] = await page_by_id(work, keyset, query, Score.id, schools)
    work.disclose("score", (score.student_id for score in page.rows))
    return page


@needs(Can.READ_SCORES)
async def score(work: Work, score_id: UUID) -> Score:
    """Returns the score with this id; raises `NotFound`."""
    row = await work.db.scalar(
        select(Score).where(Score.district_id == work.district_id, Score.id == score_id, Score.removed_at.is_(None))
    )
    if row is None:
        raise NotFound("score")
    work.disclose("score", [row.student_id])
    return row


@needs(Can.READ_SCORES)
async def changes_of(work: Work, score_id: UUID) -> list[ScoreChange]:
    """Returns the logged changes of a score, oldest first, even if the score was removed.

    Raises `NotFound` if no score with this id was ever recorded, or if the caller may not see it.
    """
    student_id = await work.db.scalar(
        select(Score.student_id).where(Score.district_id == work.district_id, Score.id == score_id)
    )
    if student_id is None:
        raise NotFound("score")
    work.disclose("score", [student_id])
    rows = await work.db.scalars(
        select(ScoreChange)
        .where(ScoreChange.district_id == work.district_id, ScoreChange.score_id == score_id)
        .order_by(ScoreChange.version)
    )
    return list(rows)


@needs(Can.READ_SCORES)
async def scores_of(work: Work, student_ids: Sequence[UUID]) -> dict[UUID, list[Score]]:
    """Returns all scores of these students, oldest first, keyed by the student's id."""
    rows = await work.db.scalars(
        select(Score)
        .where(
            Score.district_id == work.district_id,
            Score.student_id == any_(cast(list(student_ids), IdList)),
            Score.removed_at.is_(None),
        )
        .order_by(Score.taken_on, Score.attempt, Score.id)
    )
    scores_by_student: dict[UUID, list[Score]] = {student_id: [] for student_id in student_ids}
    for score in rows:
        scores_by_student[score.student_id].append(score)
    work.disclose("score", (student_id for student_id, rows in scores_by_student.items() if rows))
    return scores_by_student


@needs(Can.READ_SCORES)
async def charted_scores(work: Work, student_id: UUID, measure_id: UUID, since: date) -> list[ChartedScore]:
    """Returns a student's scores by one measure from the day `since` on, oldest first.

    Raises `Invalid` if there are more than `MAX_CHARTED`.
    """
    query = (
        select(Score.id, Score.taken_on, Score.value, Score.purpose)
        .where(
            Score.district_id == work.district_id,
            Score.student_id == student_id,
            Score.measure_id == measure_id,
            Score.taken_on >= since,
            Score.removed_at.is_(None),
        )
        .order_by(Score.taken_on, Score.attempt, Score.id)
    )
    rows = (await work.db.execute(query.limit(MAX_CHARTED + 1))).all()
    _require_chartable(len(rows))
    if rows:
        work.disclose("score", [student_id])
    return [ChartedScore(*row) for row in rows]


@needs(Can.READ_SCORES)
async def daily_medians(
    work: Work, student_ids: Collection[UUID], measure_ids: Collection[UUID], since: date
) -> dict[tuple[UUID, UUID], list[tuple[date, float]]]:
    """Returns the median of each day's scores from the day `since` on, in order, keyed by student and measure.

    Screening scores are left out. Raises `Invalid` if there are more than `MAX_CHARTED` days with scores.
    """
    # The average of the two middle scores; of an odd number of scores, both are the one in the middle.
    low, high = (func.percentile_disc(0.5).within_group(order) for order in (Score.value, Score.value.desc()))
    query = (
        select(Score.student_id, Score.measure_id, Score.taken_on, (low + high) / 2)
        .where(
            Score.district_id == work.district_id,
            Score.student_id == any_(cast(list(student_ids), IdList)),
            Score.measure_id == any_(cast(list(measure_ids), IdList)),
            Score.taken_on >= since,
            Score.purpose != "screening",
            Score.removed_at.is_(None),
        )
        .group_by(Score.student_id, Score.measure_id, Score.taken_on)
        .order_by(Score.student_id, Score.measure_id, Score.taken_on)
    )
    rows = (await work.db.execute(query.limit(MAX_CHARTED + 1))).all()
    _require_chartable(len(rows))
    medians: dict[tuple[UUID, UUID], list[tuple[date, float]]] = {}
    for student_id, measure_id, day, value in rows:
        medians.setdefault((student_id, measure_id), []).append((day, float(value)))
    work.disclose("score", {student_id for student_id, _ in medians})
    return medians


def _require_chartable(number: int) -> None:
    if number > MAX_CHARTED:
        detail = f"A chart has at most {MAX_CHARTED} scores. Read the scores from their own list."
        raise Invalid([Violation("", "link.too_long", detail)])


@needs(Can.READ_SCORES)
async def series(work: Work, student_id: UUID, measure_id: UUID, begins: date, ends: date | None) -> list[Score]:
    """Returns a student's scores by one measure from the day `begins` to the day before `ends`, oldest first.

    Baseline and screening scores are left out.
    """
    query = select(Score).where(
        Score.district_id == work.district_id,
        Score.student_id == student_id,
        Score.measure_id == measure_id,
        Score.taken_on >= begins,
        Score.purpose == "progress",
        Score.removed_at.is_(None),
    )
    if ends is not None:
        query = query.where(Score.taken_on < ends)
    return list(await work.db.scalars(query.order_by(Score.taken_on, Score.attempt, Score.id)))


@needs(Can.READ_SCORES)
async def last_values(work: Work, student_id: UUID, measure_id: UUID, until: date) -> list[float]:
    """Returns the last three values up to the day `until`, oldest first. A baseline is computed from them.

    Of the scores on the day `until` itself, only baseline scores count. The other scores of that day belong to the
    series that begins then.
    """
    rows = await work.db.scalars(
        select(Score.value)
        .where(
            Score.district_id == work.district_id,
            Score.student_id == student_id,
            Score.measure_id == measure_id,
            or_(Score.taken_on < until, and_(Score.taken_on == until, Score.purpose == "baseline")),
            Score.removed_at.is_(None),
        )
        .order_by(Score.taken_on.desc(), Score.attempt.desc(), Score.id.desc())
        .limit(BASELINE_SCORES)
    )
    return list(reversed(rows.all()))
