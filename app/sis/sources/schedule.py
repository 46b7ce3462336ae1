"""Computes when a source is synced next, and whether a run must be a full one.

The times follow from the source's cron expressions, from its jitter (a fixed delay, so that not all sources begin at
once), and from its freeze, the dates on which no run begins.

A cron expression has five fields, and is in the district's time zone.

* If a change of clocks skips a scheduled time, the run begins right after the change.
* If a scheduled time occurs twice, there is one run, as in Debian's cron.
* Neither of these two rules applies to expressions in which the minute or the hour is a star.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

SILENCE = timedelta(hours=26)  # The time after which a source without a run is overdue.
GRACE = timedelta(hours=2)  # The time after a scheduled run, if the schedule has gaps of more than a day.
MAX_FREEZE = timedelta(days=3660)  # Counted from now on; a freeze that ends later counts as endless.
LAST_SECOND = time(23, 59, 59)
Freeze = Sequence[tuple[date, date]]
"""The periods in which no run begins. Each is a pair of its first and its last day, both included."""


def is_cron(expression: str) -> bool:
    """Returns whether a text is a cron expression of five fields that matches at least one time."""
    if len(expression.split()) != 5:
        return False
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration, AssertionError):
        return False
    return True


def has_run(cron: str, freeze: Freeze, after: datetime) -> bool:
    """Returns whether a schedule has at least one run after the instant `after` that is not within a freeze."""
    try:
        next_run(cron, "UTC", after, freeze=freeze)
    except ValueError:
        return False
    return True


def jitter_of(source_id: UUID, minutes: int) -> timedelta:
    """Returns how long after a scheduled time the runs of a source begin.

    The delay is shorter than `minutes`, and is the same for every run of the source.
    """
    number = int.from_bytes(hashlib.sha256(source_id.bytes).digest()[:8])
    return timedelta(seconds=number % (minutes * 60)) if minutes else timedelta(0)


def next_run(cron: str, zone: str, after: datetime, jitter: timedelta = timedelta(0), freeze: Freeze = ()) -> datetime:
    """Returns, in UTC, the first scheduled instant that is after `after` and not within a freeze.

    Raises `ValueError` if the freezes leave no such instant, or if the search for it reaches the last year that can be
    computed.
    """
    local = ZoneInfo(zone)
    begin = (after - jitter).astimezone(local)
    try:
        for _ in range(len(freeze) + 1):
            at = _first_after(after, CronSim(cron, begin), jitter)
            until = max((last for first, last in freeze if first <= at.astimezone(local).date() <= last), default=None)
            if until is None:
                return at
            if until > (after + MAX_FREEZE).date():
                break
            # Skips all scheduled times within the freeze at once, however many there are.
            begin = datetime.combine(until, LAST_SECOND, local) - jitter
    except (OverflowError, StopIteration):
        pass  # CronSim ends after fifty years, and Python's calendar with the year 9999
    raise ValueError("The freeze dates leave no run.")


def _first_after(after: datetime, ticks: CronSim, jitter: timedelta) -> datetime:
    while True:
        # In an hour that occurs twice, CronSim may return a time that is not after the previous one.
        at: datetime = next(ticks).astimezone(UTC) + jitter
        if at > after:
            return at


def is_frozen(day: date, freeze: Freeze) -> bool:
    """Returns whether this day is in one of the periods in which no run begins."""
    return any(first <= day <= last for first, last in freeze)


def is_full_due(full_cron: str | None, zone: str, full_at: datetime | None, at: datetime) -> bool:
    """Returns whether a run at the instant `at` must be a full one.

    A run must be full if no full run was applied yet, or if a scheduled time of full runs has passed since `full_at`,
    the time of the last full run. Without a schedule for full runs, every run is full, because a delta cannot prove
    that a row is gone.
    """
    return full_cron is None or full_at is None or next_run(full_cron, zone, full_at) <= at


def overdue_at(cron: str, zone: str, last: datetime, jitter: timedelta = timedelta(0), freeze: Freeze = ()) -> datetime:
    """Returns the instant from which a source is overdue if its last run began at `last`.

    The source is overdue 26 hours after `last`, or two hours after the next scheduled time if that is later.
    """
    return max(last + SILENCE, next_run(cron, zone, last, jitter, freeze) + GRACE)
