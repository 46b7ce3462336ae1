"""Computes the dosage of a support: how many sessions were planned, were delivered, and have no record.

A planned session without a record is *unknown*, not missed. The number of planned sessions of a week is:

* in a full week, the sessions per week of the plan;
* in a week that is only partly in the requested period, a number in proportion to the school days in the period,
  rounded half up;
* in a week without instruction, zero;
* in a week with more records than planned sessions, the number of records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from app.core.clock import monday_of

LOST_BECAUSE = ("absent", "no_provider", "schedule", "event", "school_closed", "other")
"""The reasons for lost minutes. They are codes, because free text could contain facts about a child.

`event` is a drill, a test or a trip.
"""

MIN_KNOWN_SHARE = 0.5
"""The share of planned sessions that must have a record; below it the dosage is unknown."""

SCHOOL_DAYS = 5


@dataclass(frozen=True, slots=True)
class DeliveredSessions:
    """The totals of some sessions of one week. All of them have the same reason for lost minutes, or none has a reason.

    `monday` is the first day of the week, and `lost_because` the reason. `planned_sessions` counts the sessions with
    planned minutes. A make-up session has no planned minutes, so it is not counted.
    """

    monday: date
    planned_sessions: int
    delivered_sessions: int
    planned_minutes: int
    delivered_minutes: int
    lost_minutes: int = 0
    lost_because: str | None = None
    checked_sessions: int = 0
    done_parts: int = 0
    checklist_parts: int = 0


@dataclass(frozen=True, slots=True)
class DosageWeek:
    """The planned and the delivered sessions and minutes of one week.

    `known_minutes` are the planned minutes of the sessions that have a record. `checked_sessions` is the number of
    delivered sessions with marks on a checklist. Their checklists had `checklist_parts` parts in total, of which
    `done_parts` were done.
    """

    monday: date
    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int
    checked_sessions: int = 0
    done_parts: int = 0
    checklist_parts: int = 0


@dataclass(frozen=True, slots=True)
class Dosage:
    """The dosage of a period: the sums, over its weeks, of planned and delivered sessions and minutes.

    The period includes `since` and `until`. `lost` has the lost minutes by reason. The shares are computed only from
    planned sessions that have a record.
    """

    since: date
    until: date
    weeks: tuple[DosageWeek, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def planned_sessions(self) -> int:
        return sum(week.planned_sessions for week in self.weeks)

    @property
    def delivered_sessions(self) -> int:
        return sum(week.delivered_sessions for week in self.weeks)

    @property
    def unknown_sessions(self) -> int:
        return sum(week.unknown_sessions for week in self.weeks)

    @property
    def known_sessions(self) -> int:
        return self.planned_sessions - self.unknown_sessions

    @property
    def planned_minutes(self) -> int:
        return sum(week.planned_minutes for week in self.weeks)

    @property
    def known_minutes(self) -> int:
        return sum(week.known_minutes for week in self.weeks)

    @property
    def delivered_minutes(self) -> int:
        return sum(week.delivered_minutes for week in self.weeks)

    @property
    def is_known(self) -> bool:
        """Returns whether enough planned sessions have a record.

        At least half of the planned sessions must have a record, and the records must have planned minutes.
        """
        return self.known_minutes > 0 and self.known_sessions >= MIN_KNOWN_SHARE * self.planned_sessions

    @property
    def session_share(self) -> float | None:
        """Returns the delivered sessions divided by the planned sessions that have a record.

        Returns None while the dosage is unknown.
        """
        return self.delivered_sessions / self.known_sessions if self.is_known else None

    @property
    def minute_share(self) -> float | None:
        """Returns the delivered minutes divided by the planned minutes of the sessions that have a record.

        Returns None while the dosage is unknown.
        """
        return self.delivered_minutes / self.known_minutes if self.is_known else None

    @property
    def checked_sessions(self) -> int:
        return sum(week.checked_sessions for week in self.weeks)

    @property
    def adherence(self) -> float | None:
        """Returns the share of checklist parts that were done, or None if there was no checklist."""
        parts = sum(week.checklist_parts for week in self.weeks)
        return sum(week.done_parts for week in self.weeks) / parts if parts else None

    @property
    def share(self) -> float | None:
        """Returns the lower of `session_share` and `minute_share`, or None while the dosage is unknown.

        Decision rules compare this share with the lowest share that they accept.
        """
        shares = [share for share in (self.session_share, self.minute_share) if share is not None]
        return min(shares, default=None)


Days = tuple[date, date]
"""A first day and a last day, both included."""


def school_days(since: date, until: date, off: Collection[date], suspended: Collection[Days] = ()) -> dict[date, int]:
    """Returns the number of school days in each week from `since` to `until`, keyed by the week's Monday.

    `until` is included. `off` has the Mondays of weeks without instruction, which have no school days. Days
    within `suspended` do not count as school days either, because nothing is planned while a student is away.
    """
    days_by_monday: dict[date, int] = {}
    monday = monday_of(since)
    while monday <= until:
        first, last = max(monday, since), min(monday + timedelta(days=SCHOOL_DAYS - 1), until)
        days = 0 if monday in off else max((last - first).days + 1, 0)
        lost = (min(last, end) - max(first, begin) for begin, end in suspended)
        days_by_monday[monday] = max(days - sum(max(part.days + 1, 0) for part in lost), 0)
        monday += timedelta(weeks=1)
    return days_by_monday


def planned_in(days: int, sessions_per_week: int) -> int:
    """Returns how many sessions are planned in a week that has `days` school days in the requested period."""
    return (2 * sessions_per_week * days + SCHOOL_DAYS) // (2 * SCHOOL_DAYS)


def dosage(
    since: date,
    until: date,
    off: Collection[date],
    delivered: Iterable[DeliveredSessions],
    suspended: tuple[Days, ...] = (),
    /,
    *,
    minutes_per_session: int,
    sessions_per_week: int,
) -> Dosage:
    """Returns the dosage from `since` to `until` under one plan, including the delivered sessions.

    `off` has the Mondays of weeks without instruction, `suspended` the ranges of days on which nothing was planned.
    """
    planned = _planned_weeks(since, until, frozenset(off), minutes_per_session, sessions_per_week, suspended)
    records: dict[date, list[DeliveredSessions]] = {}
    lost: dict[str, int] = {}
    for sums in delivered:
        records.setdefault(sums.monday, []).append(sums)
        if sums.lost_minutes:
            reason = sums.lost_because or "other"
            lost[reason] = lost.get(reason, 0) + sums.lost_minutes
    weeks = []
    for days, week in planned:
        if week_records := records.get(week.monday):
            weeks.append(_add_records(week, week_records, minutes_per_session))
        elif days:
            weeks.append(week)
    return Dosage(since, until, tuple(weeks), dict(sorted(lost.items())))


@lru_cache(maxsize=4096)
def _planned_weeks(
    since: date,
    until: date,
    off: frozenset[date],
    minutes_per_session: int,
    sessions_per_week: int,
    suspended: tuple[Days, ...],
) -> tuple[tuple[int, DosageWeek], ...]:
    """Returns, for each week of a period, the number of school days and a `DosageWeek` with the planned dosage.

    In each `DosageWeek`, the number of delivered sessions is zero; the caller adds them. The result is cached, because
    it is the same for all students with the same plan and period.
    """
    weeks = []
    for monday, days in school_days(since, until, off, suspended).items():
        sessions = planned_in(days, sessions_per_week)
        weeks.append((days, DosageWeek(monday, sessions, 0, sessions, sessions * minutes_per_session, 0, 0)))
    return tuple(weeks)


def _add_records(week: DosageWeek, records: Iterable[DeliveredSessions], minutes_per_session: int) -> DosageWeek:
    """Adds the recorded sessions to a planned week, and returns the completed week.

    Each item of `records` is the sum of some recorded sessions of this week.
    """
    sums = list(records)
    known_sessions = sum(part.planned_sessions for part in sums)
    unknown_sessions = max(week.planned_sessions - known_sessions, 0)
    known_minutes = sum(part.planned_minutes for part in sums)
    return DosageWeek(
        monday=week.monday,
        planned_sessions=known_sessions + unknown_sessions,
        delivered_sessions=sum(part.delivered_sessions for part in sums),
        unknown_sessions=unknown_sessions,
        planned_minutes=known_minutes + unknown_sessions * minutes_per_session,
        known_minutes=known_minutes,
        delivered_minutes=sum(part.delivered_minutes for part in sums),
        checked_sessions=sum(part.checked_sessions for part in sums),
        done_parts=sum(part.done_parts for part in sums),
        checklist_parts=sum(part.checklist_parts for part in sums),
    )


def combine_dosages(since: date, until: date, parts: Iterable[Dosage]) -> Dosage:
    """Returns the total dosage of several phases. If two phases share a week, the figures of both are added."""
    weeks: dict[date, list[DosageWeek]] = {}
    lost: dict[str, int] = {}
    for part in parts:
        for week in part.weeks:
            weeks.setdefault(week.monday, []).append(week)
        for reason, minutes in part.lost.items():
            lost[reason] = lost.get(reason, 0) + minutes
    summed = tuple(
        DosageWeek(
            monday,
            *(
                sum(getattr(week, name) for week in weeks[monday])
                for name in DosageWeek.__slots__  # The values are in the order of the fields.
                if name != "monday"
            ),
        )
        for monday in sorted(weeks)
    )
    return Dosage(since, until, summed, dict(sorted(lost.items())))
