"""Owns what dosage is: what was planned and what was delivered, the known apart from the unknown. Pure.

A planned session without a record is *unknown*, not missed. What a plan asks of a week is its sessions a week; of a
week that a window cuts, its share of the five school days, rounded half up; of a week without instruction, nothing.
A week with more records than the plan asked for has as many planned sessions as records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from app.core.clock import monday_of

LOST_BECAUSE = ("absent", "no_provider", "schedule", "event", "school_closed", "other")
"""Why minutes were lost. Codes only: a free text here would be about a child. `event` is a drill, a test, a trip."""

LEAST_KNOWN = 0.5
"""Below this share of planned sessions with a record, nothing is said of the dosage."""

SCHOOL_DAYS = 5


@dataclass(frozen=True, slots=True)
class DeliveredSessions:
    """Sessions of one week that share a reason (or have none), summed up. `monday` is the week's.

    planned_sessions: those with planned minutes; one that makes up for another is planned with none.
    """

    monday: date
    planned_sessions: int
    delivered_sessions: int
    planned_minutes: int
    delivered_minutes: int
    lost_minutes: int = 0
    lost_because: str | None = None


@dataclass(frozen=True, slots=True)
class DosageWeek:
    """One week: sessions and minutes. `known_minutes` are the planned minutes of the sessions with a record."""

    monday: date
    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int


@dataclass(frozen=True, slots=True)
class Dosage:
    """What was planned and delivered from `since` to `until`, both days included; sums of its weeks.

    `lost` are minutes by reason. The shares rest on the sessions with a record alone.
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
        """Whether at least half of the planned sessions have a record."""
        return self.known_minutes > 0 and self.known_sessions >= LEAST_KNOWN * self.planned_sessions

    @property
    def session_share(self) -> float | None:
        """Delivered of the known planned sessions; None while the dosage is unknown."""
        return self.delivered_sessions / self.known_sessions if self.is_known else None

    @property
    def minute_share(self) -> float | None:
        """Delivered of the known planned minutes; None while the dosage is unknown."""
        return self.delivered_minutes / self.known_minutes if self.is_known else None

    @property
    def share(self) -> float | None:
        """The lesser of both shares, which the dosage gate reads (DOMAIN: sessions or minutes); None: no gate."""
        shares = [share for share in (self.session_share, self.minute_share) if share is not None]
        return min(shares, default=None)


def school_days(since: date, until: date, off: Collection[date]) -> dict[date, int]:
    """School days by the Monday of each week in a window, both days included; none in the weeks that are `off`."""
    found: dict[date, int] = {}
    monday = monday_of(since)
    while monday <= until:
        first, last = max(monday, since), min(monday + timedelta(days=SCHOOL_DAYS - 1), until)
        found[monday] = 0 if monday in off else max((last - first).days + 1, 0)
        monday += timedelta(weeks=1)
    return found


def planned_in(days: int, sessions_per_week: int) -> int:
    """Sessions that a plan asks of so many school days of one week."""
    return (2 * sessions_per_week * days + SCHOOL_DAYS) // (2 * SCHOOL_DAYS)


def dosage(
    since: date,
    until: date,
    off: Collection[date],
    delivered: Iterable[DeliveredSessions],
    *,
    minutes_per_session: int,
    sessions_per_week: int,
) -> Dosage:
    """The dosage of one plan in a window; `off` are the Mondays of weeks without instruction."""
    planned = _planned(since, until, frozenset(off), minutes_per_session, sessions_per_week)
    records: dict[date, list[DeliveredSessions]] = {}
    lost: dict[str, int] = {}
    for one in delivered:
        records.setdefault(one.monday, []).append(one)
        if one.lost_minutes:
            reason = one.lost_because or "other"
            lost[reason] = lost.get(reason, 0) + one.lost_minutes
    weeks = []
    for days, week in planned:
        if of_week := records.get(week.monday):
            weeks.append(_recorded(week, of_week, minutes_per_session))
        elif days:
            weeks.append(week)
    return Dosage(since, until, tuple(weeks), dict(sorted(lost.items())))


@lru_cache(maxsize=4096)
def _planned(
    since: date, until: date, off: frozenset[date], minutes_per_session: int, sessions_per_week: int
) -> tuple[tuple[int, DosageWeek], ...]:
    """Each week of a window, with its school days, while nothing is known of it: the same for all who share a plan."""
    found = []
    for monday, days in school_days(since, until, off).items():
        sessions = planned_in(days, sessions_per_week)
        found.append((days, DosageWeek(monday, sessions, 0, sessions, sessions * minutes_per_session, 0, 0)))
    return tuple(found)


def _recorded(week: DosageWeek, records: Iterable[DeliveredSessions], minutes_per_session: int) -> DosageWeek:
    """The week with the sessions that have a record."""
    of_week = list(records)
    known = sum(one.planned_sessions for one in of_week)
    unknown = max(week.planned_sessions - known, 0)
    known_minutes = sum(one.planned_minutes for one in of_week)
    return DosageWeek(
        monday=week.monday,
        planned_sessions=known + unknown,
        delivered_sessions=sum(one.delivered_sessions for one in of_week),
        unknown_sessions=unknown,
        planned_minutes=known_minutes + unknown * minutes_per_session,
        known_minutes=known_minutes,
        delivered_minutes=sum(one.delivered_minutes for one in of_week),
    )


def combine_dosages(since: date, until: date, parts: Iterable[Dosage]) -> Dosage:
    """Several phases' dosage as one; a week that two phases share is one week."""
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
                sum(getattr(one, name) for one in weeks[monday])
                for name in DosageWeek.__slots__  # in the order of the fields
                if name != "monday"
            ),
        )
        for monday in sorted(weeks)
    )
    return Dosage(since, until, summed, dict(sorted(lost.items())))
