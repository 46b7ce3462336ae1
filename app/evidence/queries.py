"""Owns the reads of scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import and_, any_, cast, or_, select

from app.access.listing import schools_of_list
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.evidence.models import Score, ScoreChange
from app.evidence.rules import BASELINE_SCORES
from app.roster.lookup import IdList, page_by_id, within_reach


@dataclass(frozen=True, slots=True)
class ScoreFilter:
    """Which scores: all of these hold."""

    student_id: UUID | None = None
    measure_id: UUID | None = None
    since: date | None = None
    until: date | None = None


@needs(Can.READ_SCORES)
async def scores(work: Work, keyset: Keyset, wanted: ScoreFilter) -> Page[Score]:
    """A page of scores in the order in which they were recorded."""
    query = select(Score).where(
        Score.district_id == work.district_id, Score.removed_at.is_(None), within_reach(work, Score.student_id)
    )
    if wanted.student_id is not None:
        query = query.where(Score.student_id == wanted.student_id)
    if wanted.measure_id is not None:
        query = query.where(Score.measure_id == wanted.measure_id)
    if wanted.since is not None:
        query = query.where(Score.taken_on >= wanted.since)
    if wanted.until is not None:
        query = query.where(Score.taken_on <= wanted.until)
    schools = None if wanted.student_id is not None else schools_of_list(work, None)
    page: Page[Score] = await page_by_id(work, keyset, query, Score.id, schools)
    work.disclose("score", (score.student_id for score in page.rows))
    return page


@needs(Can.READ_SCORES)
async def score(work: Work, score_id: UUID) -> Score:
    """One score; raises `NotFound`."""
    row = await work.db.scalar(
        select(Score).where(Score.district_id == work.district_id, Score.id == score_id, Score.removed_at.is_(None))
    )
    if row is None:
        raise NotFound("score")
    work.disclose("score", [row.student_id])
    return row


@needs(Can.READ_SCORES)
async def changes_of(work: Work, score_id: UUID) -> list[ScoreChange]:
    """What became of a score, oldest first; raises `NotFound` for a score that is not there, not for a removed one."""
    whose = await work.db.scalar(
        select(Score.student_id).where(Score.district_id == work.district_id, Score.id == score_id)
    )
    if whose is None:
        raise NotFound("score")
    work.disclose("score", [whose])
    rows = await work.db.scalars(
        select(ScoreChange)
        .where(ScoreChange.district_id == work.district_id, ScoreChange.score_id == score_id)
        .order_by(ScoreChange.version)
    )
    return list(rows)


@needs(Can.READ_SCORES)
async def scores_of(work: Work, student_ids: Sequence[UUID]) -> dict[UUID, list[Score]]:
    """Every score of these students, by student, oldest first."""
    rows = await work.db.scalars(
        select(Score)
        .where(
            Score.district_id == work.district_id,
            Score.student_id == any_(cast(list(student_ids), IdList)),
            Score.removed_at.is_(None),
        )
        .order_by(Score.taken_on, Score.attempt, Score.id)
    )
    found: dict[UUID, list[Score]] = {student_id: [] for student_id in student_ids}
    for score in rows:
        found[score.student_id].append(score)
    work.disclose("score", (student_id for student_id, rows in found.items() if rows))
    return found


@needs(Can.READ_SCORES)
async def series(work: Work, student_id: UUID, measure_id: UUID, begins: date, ends: date | None) -> list[Score]:
    """The scores of a phase, oldest first; baseline scores are not part of it, `ends` is exclusive."""
    query = select(Score).where(
        Score.district_id == work.district_id,
        Score.student_id == student_id,
        Score.measure_id == measure_id,
        Score.taken_on >= begins,
        Score.purpose != "baseline",
        Score.removed_at.is_(None),
    )
    if ends is not None:
        query = query.where(Score.taken_on < ends)
    return list(await work.db.scalars(query.order_by(Score.taken_on, Score.attempt, Score.id)))


@needs(Can.READ_SCORES)
async def last_values(work: Work, student_id: UUID, measure_id: UUID, until: date) -> list[float]:
    """The last three values before a day, oldest first: what a baseline is made of.

    Of the day itself only baseline scores count: the others belong to the series that begins there.
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
