"""Records scores, supports and sessions, and judges the affected series in the same transaction.

The package `judging` implements the judging. It adds a verdict only if the verdict differs from the current verdict.
Each change of state emits one event.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.inputs import About
from app.core.text import Text
from app.events.catalogue import RESPONSE_ENDED, RESPONSE_SUPERSEDED, EventType
from app.evidence import amend
from app.evidence import service as evidence
from app.evidence.amend import AmendedScore, Amendment
from app.evidence.models import Score
from app.evidence.service import NewScore, RecordedScore
from app.response.judging import finalize
from app.response.judging.close import close_alerts
from app.response.judging.judge import JudgingMode, JudgingOutcome, judge_selected
from app.response.judging.load import SeriesSelection
from app.roster.lookup import moved_day_of
from app.support import measures
from app.support import service as supports
from app.support import session as sessions
from app.support.changes.intensity import PhaseVerb
from app.support.measures import NewSupportMeasure
from app.support.models import Phase, Session, Support
from app.support.service import BECAUSE, NewSupport, SupportChange
from app.support.session import NewSession, RecordedSession

JUDGED_AT_ONCE = 5000  # the number of pairs of student and measure in one statement
Day = tuple[UUID, UUID, date]
"""A student, a measure, and a day on which the student has a score of this measure."""


@needs(Can.RECORD_SCORES)
async def record_scores(
    work: Work,
    new: Sequence[NewScore],
    *,
    at: str = "/scores",
    positions: Sequence[int] | None = None,
    backfill: Annotated[
        bool, About("Whether these are scores of the past: they are judged, but raise no alerts.", False)
    ] = False,
) -> list[RecordedScore]:
    """Records scores as `evidence.service.record_scores` does, and judges every series to which they belong.

    The scores of a backfill are judged, but raise no alerts.
    """
    results = await evidence.record_scores(work, new, at=at, positions=positions, saves_days=False)
    days = {
        (result.score.student_id, result.score.measure_id, day)
        for result in results
        if result.score is not None and result.outcome != "unchanged"
        for day in {result.score.taken_on, result.was_on or result.score.taken_on}
    }
    amended = any(result.outcome == "amended" for result in results)
    if days:
        async with work.as_district("judging"):
            await judge_days(work, days, quiet=backfill, amended=amended, written=evidence.days_of_recorded(results))
    return results


@needs(Can.RECORD_SCORES)
async def amend_score(work: Work, score_id: UUID, amendment: Amendment) -> Score:
    """Amends a score, and judges its series again. An alert that the new scores do not support is retracted."""
    return await _judge_change(work, await amend.amend_score(work, score_id, amendment))


@needs(Can.RECORD_SCORES)
async def remove_score(
    work: Work,
    score_id: UUID,
    because: Annotated[str, Text(min=1, max=500), About("Why it is removed.", "Another child's paper")],
    by: Annotated[
        str | None,
        About(
            "The person who requests it: an id, or an external id `sis:<source>:<sourcedId>`.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None,
) -> Score:
    """Removes a score from its series, with the reason, and judges the series again."""
    return await _judge_change(work, await amend.remove_score(work, score_id, because, by))


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def plan_support(work: Work, new: NewSupport) -> Support:
    """Plans a support. If its first day is not in the future, also starts it and judges its scores."""
    support = await supports.plan_support(work, new)
    if support.state == "active":
        await _judge_as_district(work, support.id)
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def start_support(
    work: Work,
    support_id: UUID,
    on: Annotated[date | None, About("The first day; by default, the planned one.", date(2026, 9, 21))] = None,
    confirm_rate: Annotated[
        bool,
        About("Whether the goal is meant although a later start requires more growth than the norms allow.", False),
    ] = False,
) -> Support:
    """Starts a support, and judges its scores, which may have been recorded before the start."""
    support = await supports.start_support(work, support_id, on, confirm_rate)
    await _judge_as_district(work, support_id)
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def change_support(work: Work, support_id: UUID, change: SupportChange) -> Phase:
    """Begins a new phase of a support, closes the open alert, and judges the scores of the new phase.

    The new phase has verdicts of its own. The verdicts of the earlier phases do not change.
    """
    return await begin_phase(work, support_id, change, PhaseVerb.CHANGE)


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def begin_phase(work: Work, support_id: UUID, change: SupportChange, verb: PhaseVerb) -> Phase:
    """Begins a new phase of a support as `change_support` does. `verb` is the team's decision that led to it."""
    phase = await supports.change_support(work, support_id, change, verb)
    await _close_as_district(work, support_id, RESPONSE_SUPERSEDED)
    await _judge_as_district(work, support_id)
    return phase


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def follow_measure(
    work: Work, support_id: UUID, new: Annotated[NewSupportMeasure, About("The measure, with its goal.")]
) -> Support:
    """Adds a measure to a support, and judges all its measures. The false-alarm rate is divided among them."""
    support = await measures.follow_measure(work, support_id, new)
    await _judge_as_district(work, support_id, amended=True)
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def stop_measure(
    work: Work, support_id: UUID, measure: Annotated[str, About("The measure: a code or an id.", "maze")]
) -> Support:
    """Removes an additional measure from a support, and judges the remaining measures.

    The false-alarm rate is divided among the remaining measures. If the removed measure opened an alert, the alert is
    closed.
    """
    support = await measures.stop_measure(work, support_id, measure)
    async with work.as_district("judging"):
        await close_alerts(work, [support_id], RESPONSE_SUPERSEDED, of_measures_outside=support.measure_ids)
    await _judge_as_district(work, support_id, amended=True)
    return support


@needs(Can.PLAN_SUPPORT)
async def end_support(
    work: Work,
    support_id: UUID,
    because: Annotated[str, BECAUSE, About("Why it ends.", "The goal is met.")],
    on: Annotated[date | None, About("The last day; by default, today.", date(2027, 2, 12))] = None,
) -> Support:
    """Ends a planned or active support, and closes its open alert."""
    support = await supports.end_support(work, support_id, because, on)
    await _close_as_district(work, support_id, RESPONSE_ENDED)
    return support


@needs(Can.RECORD_SESSIONS)
async def record_sessions(
    work: Work,
    support_id: UUID,
    new: Sequence[NewSession],
    *,
    at: str = "/sessions",
    positions: Sequence[int] | None = None,
) -> list[RecordedSession]:
    """Records sessions as `support.session` does, and judges the support again, because the dosage has changed."""
    results = await sessions.record_sessions(work, support_id, new, at=at, positions=positions)
    if any(result.outcome in ("recorded", "amended") for result in results):
        await _judge_as_district(work, support_id, amended=True)
    return results


@needs(Can.RECORD_SESSIONS)
async def judge_delivery(work: Work, support_ids: Collection[UUID]) -> None:
    """Judges these supports again, because their sessions were recorded or amended."""
    async with work.as_district("judging"):
        await judge_selected(work, SeriesSelection(support_ids=list(support_ids)), JudgingMode(amended=True))


@needs(Can.RECORD_SESSIONS)
async def amend_session(work: Work, session_id: UUID, amendment: sessions.SessionAmendment) -> Session:
    """Amends a session and judges the support again."""
    row = await sessions.amend_session(work, session_id, amendment)
    await _judge_as_district(work, row.support_id, amended=True)
    return row


@needs(Can.RECORD_SESSIONS)
async def remove_session(work: Work, session_id: UUID) -> Session:
    """Removes a session and judges the support again."""
    row = await sessions.remove_session(work, session_id)
    await _judge_as_district(work, row.support_id, amended=True)
    return row


@needs(Can.JUDGE)
async def judge_days(
    work: Work,
    days: Collection[Day],
    *,
    quiet: bool = False,
    amended: bool = False,
    written: Mapping[UUID, date] | None = None,
) -> JudgingOutcome:
    """Judges every active support that has scores on these days.

    Also schedules the final judging of the weeks that contain these days.

    `written` has the day of the last newly recorded score of each student. The day is saved with the verdicts.

    In a block of `Work.as_district`, the caller acts for the whole district. A call with `written` must be the last
    step of such a block, because the statement that saves the verdicts also ends the block.
    """
    pairs = {(student_id, measure_id) for student_id, measure_id, _ in days}
    mode = JudgingMode(quiet=quiet, amended=amended)
    outcome = await judge_selected(work, SeriesSelection(pairs=pairs), mode, written)
    await finalize.schedule(work, outcome.loaded, days, quiet=quiet)
    return outcome


@needs(Can.JUDGE)
async def judge_many(
    work: Work, pairs: Collection[tuple[UUID, UUID]] | None = None, *, quiet: bool = False
) -> JudgingOutcome:
    """Judges all active supports of the district together.

    With `pairs`, judges only the supports with these pairs of student and measure. With `quiet`, no alerts are raised.
    """
    return await judge_selected(work, SeriesSelection(pairs=pairs), JudgingMode(quiet=quiet, amended=True))


@needs(Can.JUDGE)
async def judge_written(work: Work, days: Mapping[tuple[UUID, UUID], Collection[date]], *, quiet: bool = False) -> None:
    """Judges the series that got scores from an SQL statement, which can write many rows at once.

    Also schedules the final judging of the weeks in which the students took these scores.

    `days` has the days of the written scores, keyed by student and measure.
    """
    pairs = sorted(days)
    weeks: dict[finalize.Week, datetime] = {}
    for begin in range(0, len(pairs), JUDGED_AT_ONCE):
        chunk = pairs[begin : begin + JUDGED_AT_ONCE]
        outcome = await judge_many(work, chunk, quiet=quiet)
        touched = [(*pair, day) for pair in chunk for day in days[pair]]
        weeks |= finalize.weeks_to_finalize(outcome.loaded, touched, await moved_day_of(work))
    # All weeks are scheduled together, so that they are locked in the order that every command uses.
    await finalize.schedule_weeks(work, weeks, quiet=quiet)


async def _judge_as_district(work: Work, support_id: UUID, *, amended: bool = False) -> None:
    async with work.as_district("judging"):
        await judge_selected(work, SeriesSelection(support_ids=[support_id]), JudgingMode(amended=amended))


async def _close_as_district(work: Work, support_id: UUID, event: EventType) -> None:
    async with work.as_district("judging"):
        await close_alerts(work, [support_id], event)


async def _judge_change(work: Work, amended: AmendedScore) -> Score:
    score = amended.score
    if amended.days:
        async with work.as_district("judging"):
            days = {(score.student_id, score.measure_id, day) for day in amended.days}
            await judge_days(work, days, amended=True)
    return score
