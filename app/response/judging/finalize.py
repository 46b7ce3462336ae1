"""Owns settling: a verdict in a request is provisional; when a cohort's week is in, its series are judged again.

What is to settle is a row, claimed with a lease; all weeks of a measure at a school that are due are settled together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, and_, any_, cast, or_, select, true
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import Due, districts_due
from app.access.permission import Can
from app.access.principal import house_principal
from app.access.work import Work, needs, unit
from app.core.clock import monday_of, now
from app.core.crypto import Keyring
from app.core.ids import new_id
from app.core.lease import Claimed, Lease, Settled, claim, settle
from app.core.log import job_context
from app.playbook.models import Measure
from app.response.judging.judge import JudgingMode, judge_selected
from app.response.judging.load import LoadedSeries, SeriesSelection, first_school
from app.response.judging.series import Cohort, Line
from app.response.models import Settlement
from app.roster.lookup import IdList
from app.support.models import Support

WEEK, RULES = "week", "rules"
Week = tuple[UUID, UUID, date]
"""A measure, a school, a Monday."""
DISTRICTS, AT_ONCE, TRIES = 16, 64, 5
ROUND = 100
"""Attempts are counted for good, so that no two claims share a number; each laying begins the next hundred."""
OVER = time(6)
"""A week that is not complete is settled on the Monday after it, at this time in UTC."""
LATE = timedelta(seconds=2)
"""Scores of a week that is over come in batches: wait for the batch."""


def _table(model: type[Settlement] | type[Measure]) -> Table:
    table = model.__table__
    if not isinstance(table, Table):
        raise TypeError("A leased model must be a table.")
    return table


LEASE = Lease(_table(Settlement), "measure_id", _table(Measure), at_once=AT_ONCE, length=timedelta(minutes=10))


@needs(Can.JUDGE)
async def schedule(work: Work, loaded: LoadedSeries, days: Collection[tuple[UUID, UUID, date]], *, quiet: bool) -> None:
    """Lays what is to settle after scores were written, as (student, measure, day)."""
    await schedule_weeks(work, weeks_to_finalize(loaded, days), quiet=quiet)


def weeks_to_finalize(loaded: LoadedSeries, days: Collection[tuple[UUID, UUID, date]]) -> dict[Week, datetime]:
    """Returns the weeks of measures at schools that scores of these days belong to, with the instant each is due."""
    asked: dict[tuple[UUID, UUID], set[date]] = {}
    for student_id, measure_id, day in days:
        asked.setdefault((student_id, measure_id), set()).add(monday_of(day))
    weeks: dict[Week, datetime] = {}
    complete = _complete(loaded.running)
    for one in loaded.wanted.values():
        support = one.support
        for monday in asked.get((support.student_id, support.measure_id), ()) if support.school_ids else ():
            due = _due(monday, whole=monday in complete[one.line.cohort])
            weeks[support.measure_id, support.school_ids[0], monday] = due
    return weeks


@needs(Can.JUDGE)
async def schedule_weeks(work: Work, weeks: Mapping[Week, datetime], *, quiet: bool) -> None:
    """Schedules weeks to be finalized; they are written at the end of the transaction."""
    _schedule(work, WEEK, weeks, quiet=quiet)


@needs(Can.JUDGE)
async def schedule_rules(
    work: Work, *, quiet: bool, school_ids: Collection[UUID] | None = None, measure_id: UUID | None = None
) -> int:
    """Lays every followed measure at every school to be judged as the playbook and the calendar are now; how many.

    With schools: where a student of one of them is followed. With a measure: that one alone.
    """
    school = first_school().label("school")
    some = true() if school_ids is None else Support.school_ids.overlap(cast(list(school_ids), IdList))
    rows = await work.db.execute(
        select(Support.measure_id, school)
        .where(
            Support.district_id == work.district_id,
            Support.state == "active",
            some,
            true() if measure_id is None else Support.measure_id == measure_id,
        )
        .distinct()
    )
    at, monday = now(), monday_of(now().date())
    found = {(measure_id, school_id, monday): at for measure_id, school_id in rows}
    _schedule(work, RULES, found, quiet=quiet)
    return len(found)


def _schedule(work: Work, kind: str, weeks: Mapping[Week, datetime], *, quiet: bool) -> None:
    """Schedules weeks to be written at the end of the transaction, with those of its other commands.

    One transaction may hold several commands, and each names weeks in its own order: written at once, they are locked
    in one order by everybody.
    """
    if weeks:
        work.pending_weeks += [(kind, week, due, quiet) for week, due in weeks.items()]
        work.before_commit("weeks", _write_weeks)


async def _write_weeks(work: Work) -> None:
    """Writes the weeks that the transaction's commands scheduled, in the order in which everybody locks them."""
    if not work.pending_weeks:
        return
    pending, work.pending_weeks = work.pending_weeks, []
    merged: dict[tuple[Week, str], tuple[datetime, bool]] = {}
    for kind, week, due, quiet in pending:
        _, others_quiet = merged.get((week, kind), (due, True))
        merged[week, kind] = due, quiet and others_quiet
    rows = [
        {
            "district_id": work.district_id,
            "id": new_id(),
            "kind": kind,
            "measure_id": measure_id,
            "school_id": school_id,
            "monday": monday,
            "quiet": quiet,
            "state": "pending",
            "due": due,
            "attempts": 0,
            "leased_until": None,
            "ended_at": None,
        }
        for ((measure_id, school_id, monday), kind), (due, quiet) in sorted(merged.items())
    ]
    added = upsert(Settlement)
    # Whoever is at it now is fenced off, and what has just come is settled after it.
    changed: dict[str, Any] = {name: added.excluded[name] for name in ("state", "due", "leased_until", "ended_at")}
    # A backfill never silences a week in which others were scored; rules stay loud until they were judged.
    told = or_(Settlement.kind == WEEK, Settlement.state == "pending")
    changed["quiet"] = and_(added.excluded.quiet, or_(Settlement.quiet, ~told))
    changed["attempts"] = (Settlement.attempts + (ROUND - 1)) // ROUND * ROUND
    keys = [getattr(Settlement, name) for name in ("district_id", "kind", "measure_id", "school_id", "monday")]
    await work.db.execute(added.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def _complete(every: Iterable[Line]) -> dict[Cohort, set[date]]:
    """By cohort the weeks, as Mondays, of which every classmate has a score."""
    found: dict[Cohort, set[date]] = {}
    for one in every:
        mondays = {monday_of(day) for day in one.scores.days}
        found[one.cohort] = found[one.cohort] & mondays if one.cohort in found else mondays
    return found


def _due(monday: date, *, whole: bool) -> datetime:
    """At once where every classmate has a score of the week; else when the week is over."""
    at = now()
    over = datetime.combine(monday + timedelta(weeks=1), OVER, UTC)
    return at if whole else max(over, at + LATE)


async def finalize_due(engine: AsyncEngine, keyring: Keyring, only: Collection[UUID] | None = None) -> int:
    """Settles what is due, in all districts or in some; how many weeks were settled."""
    done = 0
    for district_id in await districts_due(engine, Due.SETTLEMENTS, DISTRICTS) if only is None else only:
        with job_context("settling", district_id):
            done += await _settle_district(engine, keyring, district_id)
    return done


async def _settle_district(engine: AsyncEngine, keyring: Keyring, district_id: UUID) -> int:
    done, principal = 0, house_principal(district_id, "settling")
    async with unit(engine, principal, keyring, "settle") as work:
        claimed = await _claim(work)
    groups: dict[tuple[str, UUID, UUID, bool], list[Claimed]] = {}
    for one in claimed:
        row = one.row
        quiet = row["kind"] == RULES and row["quiet"]
        groups.setdefault((row["kind"], row["measure_id"], row["school_id"], quiet), []).append(one)
    for group in groups.values():
        async with unit(engine, principal, keyring, "settle") as work:
            done += await _settle(work, group)
    return done


@needs(Can.JUDGE)
async def _claim(work: Work) -> list[Claimed]:
    return await claim(work.db, LEASE, work.district_id, AT_ONCE)


@needs(Can.JUDGE)
async def _settle(work: Work, group: Sequence[Claimed]) -> int:
    """Judges what rows of one measure and school ask for, all their weeks at once; how many were settled.

    A row that workers die over is taken up again, and given up at last.
    """
    tried = [one for one in group if (one.number - 1) % ROUND < TRIES]
    if tried:
        row = tried[0].row
        wanted = SeriesSelection(measure_id=row["measure_id"], school_id=row["school_id"])
        if row["kind"] == RULES:
            how = JudgingMode(quiet=row["quiet"], amended=True, loud=not row["quiet"])
        else:
            mondays = frozenset(one.row["monday"] for one in tried)
            how = JudgingMode(settles=mondays, backfilled=await _backfilled(work, wanted, min(mondays)))
        await judge_selected(work, wanted, how)
    await _lock_settlements(work, [one.id for one in group])
    ends = [Settled(one, "settled" if one in tried else "failed") for one in group]
    written = await settle(work.db, LEASE, work.district_id, ends)
    return len(written & {one.id for one in tried})


async def _lock_settlements(work: Work, ids: Collection[UUID]) -> None:
    """Locks rows in the order in which `_write_weeks` writes them: a command may be writing two of them."""
    rows = select(Settlement.id).where(
        Settlement.district_id == work.district_id, Settlement.id == any_(cast(list(ids), IdList))
    )
    order = (Settlement.measure_id, Settlement.school_id, Settlement.monday)
    await work.db.execute(rows.order_by(*order).with_for_update(key_share=True))


async def _backfilled(work: Work, wanted: SeriesSelection, since: date) -> frozenset[date]:
    """The weeks of a measure at a school, from one on, of which nothing but backfills has come."""
    rows = await work.db.scalars(
        select(Settlement.monday).where(
            Settlement.district_id == work.district_id,
            Settlement.kind == WEEK,
            Settlement.measure_id == wanted.measure_id,
            Settlement.school_id == wanted.school_id,
            Settlement.monday >= since,
            Settlement.quiet,
        )
    )
    return frozenset(rows)
