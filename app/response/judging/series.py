"""Owns what a series is to judging: a phase's line, its scores, its rule, what was delivered. Reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from app.core.clock import monday_of
from app.playbook.models import Measure
from app.playbook.queries import ChosenRule
from app.response.rules import series
from app.roster.calendar import Weeks, weeks_between
from app.support.dosage import Dosage, DosageWeek
from app.support.models import Phase, Support

Cohort = tuple[UUID, UUID, str | None]
"""Who takes the same forms in the same weeks: one measure, school and grade. Who has no school, has nobody."""


@dataclass(frozen=True, slots=True)
class Scores:
    """A phase's scores, oldest first, column by column: ids, days, instructional weeks, values, forms ("": none)."""

    ids: tuple[UUID, ...] = ()
    days: tuple[date, ...] = ()
    weeks: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    forms: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def upto(self, week: int) -> Scores:
        """Those up to the end of an instructional week."""
        if not self.weeks or self.weeks[-1] <= week:
            return self
        known = [at for at, taken in enumerate(self.weeks) if taken <= week]
        return Scores(
            ids=tuple([self.ids[at] for at in known]),
            days=tuple([self.days[at] for at in known]),
            weeks=tuple([self.weeks[at] for at in known]),
            values=tuple([self.values[at] for at in known]),
            forms=tuple([self.forms[at] for at in known]),
        )


@dataclass(frozen=True, slots=True)
class ScoreSeries:
    """A phase with its aimline and its scores: what a student's series says, to its rule and of its classmates' forms.

    goal_week: a goal within the first instructional week counts as one week away.
    """

    support_id: UUID
    number: int
    begins_on: date
    baseline: float
    goal: float
    goal_week: int
    measure: Measure
    cohort: Cohort
    scores: Scores
    weeks: Weeks

    @property
    def grade(self) -> str | None:
        return self.cohort[2]

    @property
    def last_week(self) -> int:
        """The instructional week of the last score; 0 where there is none."""
        return self.scores.weeks[-1] if self.scores.weeks else 0

    @property
    def last_on(self) -> date | None:
        """The day of the last score."""
        return self.scores.days[-1] if self.scores.days else None

    def week_of(self, day: date) -> int:
        """Instructional weeks since the phase began."""
        return weeks_between(self.weeks, self.begins_on, day)

    def monday_of_week(self, week: int) -> date:
        """The first Monday of an instructional week of this phase."""
        monday = begins = monday_of(self.begins_on)
        while self.week_of(monday) < week:
            monday += timedelta(weeks=1)
        return max(monday, begins)


@dataclass(frozen=True, slots=True)
class MonitoredSeries:
    """A support's running phase with all that its rule needs."""

    line: ScoreSeries
    support: Support
    phase: Phase
    chosen: ChosenRule
    dosage: series.DeliveredMinutes | None = None


@dataclass(frozen=True, slots=True)
class WeeklyDelivery(series.DeliveredMinutes):
    """The dosage of a phase's weeks, each with its instructional week; the lesser share of sessions and minutes."""

    whole: Dosage | None = None
    by_number: tuple[tuple[int, DosageWeek], ...] = ()

    def share(self, after: int, upto: int) -> float | None:
        """Delivered over planned after one week up to another; from the phase's first day on where `after` is 0.

        None where under half of the planned sessions have a record: unknown is not missed.
        """
        if self.whole is None:
            return None
        first = after + 1 if after else 0
        weeks = tuple(week for number, week in self.by_number if first <= number <= upto)
        return Dosage(self.whole.since, self.whole.until, weeks).share
