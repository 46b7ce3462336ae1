"""Judges series again when a week has ended, or when all students of a cohort have a score in it.

This finalizes the week: its provisional verdicts become final. A job judges the series of one measure at one school for
one week. A worker claims the job with a lease. All due weeks of a measure at a school are judged together. A job that
fails is attempted again after a wait.

This file exceeds 250 lines so that the scheduling and the execution of a week are in one place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Table, any_, cast, select, true, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import Principal, system_principal
from app.access.work import Work, needs, unit
from app.core.clock import monday_of, now
from app.core.crypto import Keyring
from app.core.fault_report import FaultSummary, describe_fault, summarize_fault
from app.core.ids import new_id
from app.core.jobs import ClaimedJob, JobOutcome, JobTable, RetryPolicy, claim, save_outcomes
from app.events.outbox import write_weeks_last
from app.playbook.models import Measure
from app.response.judging.judge import JudgingMode, judge_selected
from app.response.judging.load import LoadedSeries, SeriesSelection, first_school, has_measure
from app.response.judging.series import Cohort, ScoreSeries
from app.response.models import FinalizationJob, FinalizationState
from app.roster.lookup import IdList, moved_day_of
from app.support.models import Support

log = structlog.get_logger()
WEEK, RULES = "week", "rules"
Week = tuple[UUID, UUID, date]
"""A week of a measure at a school: the id of the measure, the id of the school, and the week's Monday."""
AT_ONCE = 64
RETRIES = RetryPolicy(attempts=5, first=timedelta(seconds=2), longest=timedelta(minutes=5))
WEEK_ENDS_AT = time(6)
"""The time of day (UTC) on the following Monday at which a week is finalized even if scores are missing."""
BATCH_WAIT = timedelta(seconds=2)
"""The wait before a past week is finalized, because scores of a past week usually arrive in several batches."""
UNTIL_MOVED = timedelta(days=3650)
"""The wait before a week is finalized if, on the test clock, the week has not ended. Moving the clock ends the wait."""


def _table(model: type[FinalizationJob] | type[Measure]) -> Table:
    table = model.__table__
    if not isinstance(table, Table):
        raise TypeError("A job table's model must be a table.")
    return table


FINALIZATIONS = JobTable(
    _table(FinalizationJob), "measure_id", _table(Measure), at_once=AT_ONCE, length=timedelta(minutes=10)
)


@needs(Can.JUDGE)
async def schedule(work: Work, loaded: LoadedSeries, days: Collection[tuple[UUID, UUID, date]], *, quiet: bool) -> None:
    """Schedules the final judging (finalization) of the weeks for which scores were written.

    `days` has triples of student, measure and day, one for each day with new scores. With `quiet`, the judging raises
    no alert.
    """
    await schedule_weeks(work, weeks_to_finalize(loaded, days, await moved_day_of(work)), quiet=quiet)


def weeks_to_finalize(
    loaded: LoadedSeries, days: Collection[tuple[UUID, UUID, date]], moved_to: date | None = None
) -> dict[Week, datetime]:
    """Returns the weeks that contain these days, each with the instant at which its verdicts become final.

    `days` has triples of student, measure and day, for the scores that were written. `moved_to` is the day to which a
    sandbox's test clock was moved.
    """
    mondays: dict[tuple[UUID, UUID], set[date]] = {}
    for student_id, measure_id, day in days:
        mondays.setdefault((student_id, measure_id), set()).add(monday_of(day))
    weeks: dict[Week, datetime] = {}
    complete_weeks = _complete_weeks(loaded.running)
    for monitored in loaded.requested.values():
        support, measure_id = monitored.support, monitored.score_series.measure.id
        for monday in mondays.get((support.student_id, measure_id), ()) if support.school_ids else ():
            is_complete = monday in complete_weeks[monitored.score_series.cohort]
            due = _due_at(monday, is_complete=is_complete, moved_to=moved_to)
            weeks[measure_id, support.school_ids[0], monday] = due
    return weeks


@needs(Can.JUDGE)
async def schedule_weeks(work: Work, weeks: Mapping[Week, datetime], *, quiet: bool) -> None:
    """Schedules the final judging of weeks, each at its instant in `weeks`.

    The jobs are written at the end of the transaction. With `quiet`, the judging raises no alert.
    """
    _schedule(work, WEEK, weeks, quiet=quiet)


@needs(Can.JUDGE)
async def schedule_rules(
    work: Work, *, quiet: bool, school_ids: Collection[UUID] | None = None, measure_id: UUID | None = None
) -> int:
    """Schedules jobs that judge all monitored measures by the rules in force. Returns the number of jobs.

    With `school_ids`, the jobs judge only the measures of active supports at these schools. With `measure_id`, they
    judge only this measure. With `quiet`, the judging raises no alert.
    """
    school = first_school().label("school")
    at_schools = true() if school_ids is None else Support.school_ids.overlap(cast(list(school_ids), IdList))
    rows = await work.db.execute(
        select(Support.measure_id, school, Support.more_measures)
        .where(
            Support.district_id == work.district_id,
            Support.state == "active",
            at_schools,
            Support.measure_id.is_not(None) if measure_id is None else has_measure([measure_id]),
        )
        .distinct()
    )
    at, monday = now(), monday_of(now().date())
    weeks = {
        (measure, school_id, monday): at
        for first, school_id, more in rows
        for measure in (first, *more)
        if measure_id in (None, measure)
    }
    _schedule(work, RULES, weeks, quiet=quiet)
    return len(weeks)


def _schedule(work: Work, kind: str, weeks: Mapping[Week, datetime], *, quiet: bool) -> None:
    """Schedules one job of this kind for each week in `weeks`. The values of `weeks` are the times of the jobs.

    The jobs of a transaction are written together at its end, so that all transactions lock them in the same order.
    """
    if weeks:
        work.pending_weeks += [(kind, week, due, quiet) for week, due in weeks.items()]
        work.before_commit("weeks", _merge_weeks)
        write_weeks_last(work)


async def _merge_weeks(work: Work) -> None:
    """Prepares the rows of the jobs that this transaction's commands scheduled, with one row for each week and kind.

    The rows are sorted in the order in which every transaction locks job rows. They are written at the end of the
    transaction. If a worker is judging one of these weeks at that time, the worker loses its claim, and the week is
    judged again with the new scores.

    A job is quiet only if everything that scheduled it is quiet. For example, a backfill does not silence a week in
    which other scores were recorded. A quiet change of the rules does not silence an earlier change that is to raise
    alerts and has not been judged yet.
    """
    pending, work.pending_weeks = work.pending_weeks, []
    merged: dict[tuple[Week, str], tuple[datetime, bool]] = {}
    for kind, week, due, quiet in pending:
        _, others_quiet = merged.get((week, kind), (due, True))
        merged[week, kind] = due, quiet and others_quiet
    work.week_rows += [
        {
            "id": new_id(),
            "kind": kind,
            "measure_id": measure_id,
            "school_id": school_id,
            "monday": monday,
            "quiet": quiet,
            "state": FinalizationState.PENDING.value,
            "due": due,
        }
        for ((measure_id, school_id, monday), kind), (due, quiet) in sorted(merged.items())
    ]


def _complete_weeks(all_series: Iterable[ScoreSeries]) -> dict[Cohort, set[date]]:
    """Returns the Mondays of the complete weeks of each cohort.

    A week is complete if every student of the cohort has a score in it. Students whose goal date has passed are not
    counted.
    """
    scored: dict[Cohort, list[tuple[set[date], date]]] = {}
    for score_series in all_series:
        mondays = {monday_of(day) for day in score_series.scores.days}
        scored.setdefault(score_series.cohort, []).append((mondays, score_series.goal_on or date.max))
    return {
        cohort: {
            monday
            for monday in set().union(*(mondays for mondays, _ in series))
            if all(monday in mondays or monday > goal_on for mondays, goal_on in series)
        }
        for cohort, series in scored.items()
    }


def _due_at(monday: date, *, is_complete: bool, moved_to: date | None) -> datetime:
    """Returns the instant at which the week that begins on `monday` gets its final verdicts.

    A week is complete if every student of the cohort has a score in it. A complete week is due at once, and any other
    week at its end. With a test clock, a week ends when the clock is moved past its last day.
    """
    present = now()
    if moved_to is not None and not is_complete:
        return present + (BATCH_WAIT if moved_to >= monday + timedelta(weeks=1) else UNTIL_MOVED)
    end_of_week = datetime.combine(monday + timedelta(weeks=1), WEEK_ENDS_AT, UTC)
    return present if is_complete else max(end_of_week, present + BATCH_WAIT)


@needs(Can.JUDGE)
async def end_waits(work: Work, today: date) -> None:
    """Sets the time of the final judging (finalization) to now for each pending week that ended before the day `today`.

    `today` is the day to which a test clock was moved.
    """
    waits = select(FinalizationJob.id).where(
        FinalizationJob.district_id == work.district_id,
        FinalizationJob.state == FinalizationState.PENDING.value,
        FinalizationJob.monday <= today - timedelta(weeks=1),
        FinalizationJob.due > now(),
    )
    ids = list(await work.db.scalars(waits))
    await _lock_jobs(work, ids)
    of_weeks = (FinalizationJob.district_id == work.district_id, FinalizationJob.id == any_(cast(ids, IdList)))
    await work.db.execute(update(FinalizationJob).where(*of_weeks).values(due=now()))


async def finalize_district(engine: AsyncEngine, keyring: Keyring, district_id: UUID) -> int:
    """Judges the series of a district for all weeks whose final judging is due. Returns the number of these weeks.

    The weeks are judged in groups. A fault in one group neither delays nor undoes the others.
    """
    finalized, principal = 0, system_principal(district_id, "finalizing")
    async with unit(engine, principal, keyring, "finalize") as work:
        claimed = await _claim(work)
    groups: dict[tuple[str, UUID, UUID, bool], list[ClaimedJob]] = {}
    for job in claimed:
        row = job.row
        quiet = row["kind"] == RULES and row["quiet"]
        groups.setdefault((row["kind"], row["measure_id"], row["school_id"], quiet), []).append(job)
    for group in groups.values():
        try:
            async with unit(engine, principal, keyring, "finalize") as work:
                finalized += await _finalize_group(work, group)
        except Exception as error:
            await _postpone(engine, principal, keyring, group, error)
    return finalized


async def _postpone(
    engine: AsyncEngine, principal: Principal, keyring: Keyring, group: Sequence[ClaimedJob], error: Exception
) -> None:
    """Postpones failed jobs to their next attempt. A job that has no attempt left fails for good.

    If the postponement itself cannot be saved, the leases end, and another worker claims the jobs.
    """
    fault, outcomes = summarize_fault(error), []
    for job in group:
        wait = RETRIES.wait_after(job.attempts)
        state = FinalizationState.FAILED if wait is None else FinalizationState.PENDING
        outcomes.append(JobOutcome(job, state, wait, fault))
        log.error(
            "finalizations.failed" if wait is None else "finalizations.retried",
            finalization=str(job.id),
            attempt=job.attempts,
            wait=None if wait is None else round(wait.total_seconds(), 1),
            worker=job.row["worker"],
            **describe_fault(error),
        )
    async with unit(engine, principal, keyring, "finalize") as work:
        await _save(work, outcomes)


@needs(Can.JUDGE)
async def _claim(work: Work) -> list[ClaimedJob]:
    return await claim(work.db, FINALIZATIONS, work.district_id, AT_ONCE)


@needs(Can.JUDGE)
async def _finalize_group(work: Work, group: Sequence[ClaimedJob]) -> int:
    """Judges the series of one measure at one school for the weeks of a group of jobs.

    The verdicts of these weeks are then final. Returns the number of weeks. If the worker died in every attempt of a
    job, the job fails for good.
    """
    attempted = [job for job in group if job.attempts <= RETRIES.attempts]
    if attempted:
        row = attempted[0].row
        selection = SeriesSelection(measure_id=row["measure_id"], school_id=row["school_id"])
        if row["kind"] == RULES:
            mode = JudgingMode(quiet=row["quiet"], amended=True, raise_alerts=not row["quiet"], by_rules=True)
        else:
            mondays = frozenset(job.row["monday"] for job in attempted)
            mode = JudgingMode(finalizes=mondays, backfilled=await _backfilled_weeks(work, selection, min(mondays)))
        await judge_selected(work, selection, mode)
    outcomes = [JobOutcome(job, FinalizationState.FINALIZED) for job in attempted]
    for job in group:
        if job not in attempted:
            lost = FaultSummary(job.row["fault"], job.row["fault_place"])
            outcomes.append(JobOutcome(job, FinalizationState.FAILED, fault=lost))
            log.error("finalizations.failed", finalization=str(job.id), attempt=job.attempts, kind=lost.error)
    saved = await _save(work, outcomes)
    return len(saved & {job.id for job in attempted})


@needs(Can.JUDGE)
async def _save(work: Work, outcomes: Sequence[JobOutcome]) -> set[UUID]:
    await _lock_jobs(work, [outcome.claimed.id for outcome in outcomes])
    return await save_outcomes(work.db, FINALIZATIONS, work.district_id, outcomes)


async def _lock_jobs(work: Work, ids: Collection[UUID]) -> None:
    """Locks these jobs in the order in which `_merge_weeks` sorts jobs.

    If the orders differed, this transaction and a command that writes several of the jobs could wait for each other
    (deadlock).
    """
    rows = select(FinalizationJob.id).where(
        FinalizationJob.district_id == work.district_id, FinalizationJob.id == any_(cast(list(ids), IdList))
    )
    order = (FinalizationJob.measure_id, FinalizationJob.school_id, FinalizationJob.monday)
    await work.db.execute(rows.order_by(*order).with_for_update(key_share=True))


async def _backfilled_weeks(work: Work, selection: SeriesSelection, since: date) -> frozenset[date]:
    """Returns the Mondays, from `since` on, of the weeks in which all scores come from backfills.

    Only scores of the selected measure and school are considered.
    """
    rows = await work.db.scalars(
        select(FinalizationJob.monday).where(
            FinalizationJob.district_id == work.district_id,
            FinalizationJob.kind == WEEK,
            FinalizationJob.measure_id == selection.measure_id,
            FinalizationJob.school_id == selection.school_id,
            FinalizationJob.monday >= since,
            FinalizationJob.quiet,
        )
    )
    return frozenset(rows)
