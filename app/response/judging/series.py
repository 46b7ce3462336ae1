"""Defines a series in the form that judging uses: a phase's aimline, scores, rule and dosage. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import UUID

from app.core.clock import monday_of
from app.playbook.measures.noise import sem_for
from app.playbook.models import Measure
from app.playbook.queries import ChosenRule
from app.response.rules import series
from app.response.rules.series import Observation
from app.roster.calendar import Weeks, weeks_between
from app.support.dosage import Dosage, DosageWeek
from app.support.models import Phase, Support

Cohort = tuple[UUID, UUID, str | None]
"""The key of a cohort: measure, school and grade. A cohort is the students who take the same forms in the same weeks.

The cohort of a support without a school contains no other support.
"""


@dataclass(frozen=True, slots=True)
class Scores:
    """The points of a phase as columns, oldest first: ids, days, instructional weeks, values and forms.

    * `forms` has the version of the test from which each point comes, or an empty text if it is unknown.
    * A point is the median of a day's scores. Its id is the id of the first of these scores; `same_day` has the ids of
      the other scores of the day, keyed by the id of the point.
    """

    ids: tuple[UUID, ...] = ()
    days: tuple[date, ...] = ()
    weeks: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    forms: tuple[str, ...] = ()
    same_day: Mapping[UUID, tuple[UUID, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def upto(self, week: int) -> Scores:
        """Returns the points up to the end of an instructional week."""
        if not self.weeks or self.weeks[-1] <= week:
            return self
        positions = [position for position, score_week in enumerate(self.weeks) if score_week <= week]
        return Scores(
            ids=tuple([self.ids[position] for position in positions]),
            days=tuple([self.days[position] for position in positions]),
            weeks=tuple([self.weeks[position] for position in positions]),
            values=tuple([self.values[position] for position in positions]),
            forms=tuple([self.forms[position] for position in positions]),
            same_day=self.same_day,
        )

    def until(self, day: date) -> Scores:
        """Returns the points up to a day, which is included."""
        count = bisect_right(self.days, day)
        if count == len(self.days):
            return self
        return Scores(
            self.ids[:count],
            self.days[:count],
            self.weeks[:count],
            self.values[:count],
            self.forms[:count],
            self.same_day,
        )

    def observations(self) -> tuple[Observation, ...]:
        """Returns the points as `Observation`s, which the rules take."""
        if not self.same_day:
            return tuple(map(Observation, self.weeks, self.values, self.ids))
        others = [self.same_day.get(score_id, ()) for score_id in self.ids]
        return tuple(map(Observation, self.weeks, self.values, self.ids, others))


@dataclass(frozen=True, slots=True)
class ScoreSeries:
    """A phase with its aimline and scores.

    * `series_id` is the id of the support or, for an additional measure, the id of the measure's `SupportMeasure`.
    * `scores` end with the goal date `goal_on` if the series itself is to be judged, because later scores are not
      judged. A series of a classmate has all scores of the phase, because it only shows how difficult the forms
      (versions of the test) were.
    * `before` has the points of the baseline, oldest first. It is filled only if the series is to be judged and is in
      the first phase of its support.
    * `goal_week` is at least 1, even if the goal date is in the first instructional week.
    """

    series_id: UUID
    number: int
    begins_on: date
    baseline: float
    goal: float
    goal_week: int
    measure: Measure
    cohort: Cohort
    scores: Scores
    weeks: Weeks
    before: tuple[float, ...] = ()
    goal_on: date | None = None

    @property
    def grade(self) -> str | None:
        return self.cohort[2]

    @property
    def sem(self) -> float | None:
        """Returns the standard error of measurement (SEM) for the student's grade and the baseline of the phase."""
        return sem_for(self.measure.sem, self.measure.sems or (), self.grade, self.baseline)

    @property
    def last_week(self) -> int:
        """Returns the instructional week of the last score, or 0 if there is no score."""
        return self.scores.weeks[-1] if self.scores.weeks else 0

    @property
    def last_on(self) -> date | None:
        """Returns the day of the last score, or None if there is no score."""
        return self.scores.days[-1] if self.scores.days else None

    def week_of(self, day: date) -> int:
        """Returns the number of instructional weeks from the beginning of the phase to a day."""
        return weeks_between(self.weeks, self.begins_on, day)

    def monday_of_week(self, week: int) -> date:
        """Returns the Monday of the phase's instructional week number `week`.

        During a break the number stays the same; the first Monday with this number is returned.
        """
        monday = begins = monday_of(self.begins_on)
        while self.week_of(monday) < week:
            monday += timedelta(weeks=1)
        return max(monday, begins)


@dataclass(frozen=True, slots=True)
class MonitoredSeries:
    """One measure's series in the current phase of a support, with everything that the decision rule needs.

    * `measures` is the number of measures of the support. The monitor divides the stated false-alarm rate by this
      number, so that a support with many measures does not get more false alarms.
    * `offset` is the number of instructional weeks between the beginning of the phase and the beginning of this series.
    """

    score_series: ScoreSeries
    support: Support
    phase: Phase
    chosen: ChosenRule
    dosage: series.DeliveredMinutes | None = None
    measures: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class WeeklyDelivery(series.DeliveredMinutes):
    """The dosage of a phase by instructional week.

    The delivered share of the planned dose is computed from sessions and from minutes; the smaller result is used.
    """

    whole: Dosage | None = None
    by_number: tuple[tuple[int, DosageWeek], ...] = ()

    def share(self, after: int, upto: int) -> float | None:
        """Returns the delivered share of the dosage planned after the week `after` and up to the week `upto`.

        With `after` = 0, all weeks from the beginning of the phase are counted, also week 0, in which it began. Returns
        None if fewer than half of the planned sessions have a record, because the sessions without a record may have
        been delivered too.
        """
        if self.whole is None:
            return None
        first = after + 1 if after else 0
        weeks = tuple(week for number, week in self.by_number if first <= number <= upto)
        return Dosage(self.whole.since, self.whole.until, weeks).share

    def adherence(self) -> tuple[float, int] | None:
        """Returns the share of checklist parts that were done, and the number of checked sessions.

        Only sessions up to the last score count. Returns None if none of these sessions was checked.
        """
        share = None if self.whole is None else self.whole.adherence
        return None if self.whole is None or share is None else (share, self.whole.checked_sessions)

    def weekly_shares(self, upto: int) -> tuple[float, ...]:
        """Returns the delivered share of each week's planned dose, from week 1 to the week `upto`.

        A share is the delivered share of sessions or that of minutes, whichever is smaller. A session without a record
        counts as delivered. The sessions of week 0, the week in which the phase began, count in week 1.
        """
        weeks: dict[int, list[DosageWeek]] = {}
        for number, week in self.by_number:
            weeks.setdefault(max(number, 1), []).append(week)
        return tuple([_assumed_share(weeks.get(number, ())) for number in range(1, upto + 1)])


def _assumed_share(weeks: Sequence[DosageWeek]) -> float:
    """Returns the delivered share of the dose of these weeks. Sessions without a record count as delivered."""
    sessions, minutes = sum(week.planned_sessions for week in weeks), sum(week.planned_minutes for week in weeks)
    if not sessions or not minutes:
        return 1.0
    unrecorded = sum(week.planned_minutes - week.known_minutes for week in weeks)
    delivered_sessions = sum(week.delivered_sessions + week.unknown_sessions for week in weeks)
    delivered_minutes = sum(week.delivered_minutes for week in weeks) + unrecorded
    return min(delivered_sessions / sessions, delivered_minutes / minutes, 1.0)
