"""Owns the commands that are judged in the transaction that writes them. How series are judged is in `judging`.

A verdict is appended when it differs from the one that holds; a change of state is told once.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.evidence import amend
from app.evidence import service as evidence
from app.evidence.amend import AmendedScore, Amendment
from app.evidence.models import Score
from app.evidence.service import NewScore, RecordedScore
from app.response.judging import finalize
from app.response.judging.judge import JudgingMode, JudgingOutcome, judge_selected
from app.response.judging.load import SeriesSelection
from app.support import service as supports
from app.support import session as sessions
from app.support.models import Phase, Session, Support
from app.support.service import SupportChange
from app.support.session import NewSession, RecordedSession

JUDGED_AT_ONCE = 5000  # pairs: as many as a statement can name
Day = tuple[UUID, UUID, date]
"""A student, a measure, a day with a score."""


@needs(Can.RECORD_SCORES)
async def record_scores(
    work: Work, new: Sequence[NewScore], *, at: str = "/scores", backfill: bool = False
) -> list[RecordedScore]:
    """Takes scores as `evidence.service.record_scores` does, and judges every series that they belong to.

    A backfill is judged and raises no alerts.
    """
    taken = await evidence.record_scores(work, new, at=at)
    days = {
        (one.score.student_id, one.score.measure_id, day)
        for one in taken
        if one.score is not None and one.outcome != "unchanged"
        for day in {one.score.taken_on, one.was_on or one.score.taken_on}
    }
    amended = any(one.outcome == "amended" for one in taken)
    if days:
        async with work.as_district("judging"):
            await judge_days(work, days, quiet=backfill, amended=amended)
    return taken


@needs(Can.RECORD_SCORES)
async def amend_score(work: Work, score_id: UUID, amendment: Amendment) -> Score:
    """Amends a score, says who did and why, and judges again; an alert that no longer holds is retracted."""
    return await _changed(work, await amend.amend_score(work, score_id, amendment))


@needs(Can.RECORD_SCORES)
async def remove_score(work: Work, score_id: UUID, because: str, by: str | None = None) -> Score:
    """Takes a score out of its series, with the reason, and judges again."""
    return await _changed(work, await amend.remove_score(work, score_id, because, by))


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def start_support(work: Work, support_id: UUID, on: date | None = None) -> Support:
    """Starts a support; scores that are there already are judged."""
    support = await supports.start_support(work, support_id, on)
    await _judge_as_district(work, support_id)
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def change_support(work: Work, support_id: UUID, change: SupportChange) -> Phase:
    """Draws a phase line; the verdict begins anew with the phase."""
    phase = await supports.change_support(work, support_id, change)
    await _judge_as_district(work, support_id)
    return phase


@needs(Can.RECORD_SESSIONS)
async def record_sessions(
    work: Work, support_id: UUID, new: Sequence[NewSession], *, at: str = "/sessions"
) -> list[RecordedSession]:
    """Takes sessions as the support's room does, and judges again: a verdict rests on what was delivered."""
    taken = await sessions.record_sessions(work, support_id, new, at=at)
    if any(one.outcome in ("recorded", "amended") for one in taken):
        await _judge_as_district(work, support_id, amended=True)
    return taken


@needs(Can.RECORD_SESSIONS)
async def amend_session(work: Work, session_id: UUID, amendment: sessions.SessionAmendment) -> Session:
    """Sets a session right and judges again."""
    row = await sessions.amend_session(work, session_id, amendment)
    await _judge_as_district(work, row.support_id, amended=True)
    return row


@needs(Can.RECORD_SESSIONS)
async def remove_session(work: Work, session_id: UUID) -> Session:
    """Takes a session back and judges again."""
    row = await sessions.remove_session(work, session_id)
    await _judge_as_district(work, row.support_id, amended=True)
    return row


@needs(Can.JUDGE)
async def judge_days(
    work: Work, days: Collection[Day], *, quiet: bool = False, amended: bool = False
) -> JudgingOutcome:
    """Judges every active support that scores of these days belong to, and lays their weeks to be settled."""
    pairs = {(student_id, measure_id) for student_id, measure_id, _ in days}
    outcome = await judge_selected(work, SeriesSelection(pairs=pairs), JudgingMode(quiet=quiet, amended=amended))
    await finalize.schedule(work, outcome.loaded, days, quiet=quiet)
    return outcome


@needs(Can.JUDGE)
async def judge_many(
    work: Work, pairs: Collection[tuple[UUID, UUID]] | None = None, *, quiet: bool = False
) -> JudgingOutcome:
    """Judges all active supports of the district, or those of these students and measures, in arrays.

    `quiet` raises no alerts.
    """
    return await judge_selected(work, SeriesSelection(pairs=pairs), JudgingMode(quiet=quiet, amended=True))


@needs(Can.JUDGE)
async def judge_written(work: Work, days: Mapping[tuple[UUID, UUID], Collection[date]], *, quiet: bool = False) -> None:
    """As `judge_many`, for scores that were written set-based, such as a gradebook's night: the days that were touched
    by student and measure, whose weeks are laid to be settled."""
    pairs = sorted(days)
    weeks: dict[finalize.Week, datetime] = {}
    for begin in range(0, len(pairs), JUDGED_AT_ONCE):
        some = pairs[begin : begin + JUDGED_AT_ONCE]
        outcome = await judge_many(work, some, quiet=quiet)
        touched = [(*pair, day) for pair in some for day in days[pair]]
        weeks |= finalize.weeks_to_finalize(outcome.loaded, touched)
    # All at once, in their order: a command that lays some of the same weeks locks them in it as well.
    await finalize.schedule_weeks(work, weeks, quiet=quiet)


async def _judge_as_district(work: Work, support_id: UUID, *, amended: bool = False) -> None:
    async with work.as_district("judging"):
        await judge_selected(work, SeriesSelection(support_ids=[support_id]), JudgingMode(amended=amended))


async def _changed(work: Work, changed: AmendedScore) -> Score:
    score = changed.score
    if changed.days:
        async with work.as_district("judging"):
            days = {(score.student_id, score.measure_id, day) for day in changed.days}
            await judge_days(work, days, amended=True)
    return score
