"""Owns when a source is to be synced: cron in the district's time zone, jitter, freeze dates, full or delta. Pure.

A cron expression has five fields. A time that a change of clocks skips runs right after it; one that comes twice runs
once (as Debian's cron does), unless minute or hour is a star.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

SILENCE = timedelta(hours=26)  # after which a source without a run is news
GRACE = timedelta(hours=2)  # after a scheduled time, where the schedule itself is silent for longer than a day
LONGEST_FREEZE = timedelta(days=3660)  # from now on: one that ends later has no end
LAST_SECOND = time(23, 59, 59)
Freeze = Sequence[tuple[date, date]]
"""First and last days on which no run begins, both included."""


def is_cron(expression: str) -> bool:
    """Whether this is a cron expression of five fields that comes to pass at some time."""
    if len(expression.split()) != 5:
        return False
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration, AssertionError):
        return False
    return True


def has_run(cron: str, freeze: Freeze, after: datetime) -> bool:
    """Whether a schedule has a run after `after` that no freeze forbids."""
    try:
        next_run(cron, "UTC", after, freeze=freeze)
    except ValueError:
        return False
    return True


def jitter_of(source_id: UUID, minutes: int) -> timedelta:
    """How much later than the others this source runs: less than `minutes`, always the same for a source."""
    number = int.from_bytes(hashlib.sha256(source_id.bytes).digest()[:8])
    return timedelta(seconds=number % (minutes * 60)) if minutes else timedelta(0)


def next_run(cron: str, zone: str, after: datetime, jitter: timedelta = timedelta(0), freeze: Freeze = ()) -> datetime:
    """The first instant after `after` at which the schedule asks for a run, in UTC.

    Raises `ValueError` where the freeze dates leave none, or the calendar ends before it.
    """
    begin, here = (after - jitter).astimezone(ZoneInfo(zone)), ZoneInfo(zone)
    try:
        for _ in range(len(freeze) + 1):
            at = _first_after(after, CronSim(cron, begin), jitter)
            until = max((last for first, last in freeze if first <= at.astimezone(here).date() <= last), default=None)
            if until is None:
                return at
            if until > (after + LONGEST_FREEZE).date():
                break
            # Every tick of a freeze is passed over at once, however many there are.
            begin = datetime.combine(until, LAST_SECOND, here) - jitter
    except (OverflowError, StopIteration):
        pass  # CronSim ends after fifty years, and the calendar with the year 9999
    raise ValueError("The freeze dates leave no run.")


def _first_after(after: datetime, ticks: CronSim, jitter: timedelta) -> datetime:
    while True:
        # Over an hour that comes twice, the same wall time may be told as not after what came before it.
        at: datetime = next(ticks).astimezone(UTC) + jitter
        if at > after:
            return at


def is_frozen(day: date, freeze: Freeze) -> bool:
    """Whether no run begins on this day of the district."""
    return any(first <= day <= last for first, last in freeze)


def is_full_due(full_cron: str | None, zone: str, full_at: datetime | None, at: datetime) -> bool:
    """Whether a run at `at` must be a full one: none was applied, or the reconcile's time has come since.

    Without a schedule for reconciles every run is full: a delta cannot prove that somebody is gone.
    """
    return full_cron is None or full_at is None or next_run(full_cron, zone, full_at) <= at


def overdue_at(cron: str, zone: str, last: datetime, jitter: timedelta = timedelta(0), freeze: Freeze = ()) -> datetime:
    """When a source whose last run began at `last` has been silent for too long.

    After 26 hours; where the schedule itself rests for longer, two hours after its next time.
    """
    return max(last + SILENCE, next_run(cron, zone, last, jitter, freeze) + GRACE)
