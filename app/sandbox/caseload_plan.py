"""Defines the plan of the playground's caseload: thirty supports over two school years, with scores and sessions.

Each value is computed from the number of the support and the number of the week only. So a later start of the
playground can continue each series.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

GOAL_WEEKS = 26
SESSION_DAYS = (0, 2, 3)
"""The weekdays on which sessions take place: Monday, Wednesday and Thursday."""
LOST = ("absent", "schedule", "event", "no_provider")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a planned support is about: its measure and area, the usual baseline, and the intervention.

    `rate` is the weekly growth that the goal requires.
    """

    measure: str
    area: str
    baseline: float
    rate: float
    noise: float
    worry: str
    intervention: str


SUBJECTS = {
    "fluency": Subject(
        *("orf", "ela.fluency", 46, 1.5, 2.0, "Reads word by word and loses the thread."),
        "Repeated reading in a group of four",
    ),
    "comprehension": Subject(
        *("maze", "ela.comprehension", 11, 0.5, 0.8, "Reads fluently but cannot retell a paragraph."),
        "Reciprocal teaching in a small group",
    ),
    "computation": Subject(
        *("computation", "math.computation", 22, 1.2, 1.6, "Counts on fingers for facts within 20."),
        "Cover, copy, compare with daily facts",
    ),
    "behaviour": Subject(
        *("referrals", "behaviour", 5, -0.14, 0.7, "Leaves the class several times a week after transitions."),
        "Check-in, check-out with a mentor",
    ),
    "wellbeing": Subject(
        *("sel-screener", "sel", 38, 1.0, 1.5, "Withdraws from group work since the winter."),
        "Weekly social skills group",
    ),
}


@dataclass(frozen=True, slots=True)
class PlannedSupport:
    """One support of the planned caseload.

    * The support began `weeks_ago` weeks ago.
    * Until week `until`, the student grows `growth` times as fast as the goal requires; after that week, `later` times
      as fast.
    * In week `decided_in` the team takes `decision`. If the decision ends the support, the support ends in that week.
    """

    subject: str
    weeks_ago: int
    growth: float
    until: int = 99
    later: float = 0.0
    decision: str | None = None
    decided_in: int = 0
    level: int = 2
    attendance: float = 0.93
    is_started: bool = True

    @property
    def ends(self) -> bool:
        """Returns whether the decision ends the support."""
        return self.decision == "exit"


# This school year's supports, then those of the year before.
CASELOAD: tuple[PlannedSupport, ...] = (
    PlannedSupport("fluency", 18, 1.3),
    PlannedSupport("fluency", 16, 1.2, attendance=0.98),
    PlannedSupport("fluency", 20, 1.5, 10, -0.3),
    PlannedSupport("fluency", 14, 0.0),
    PlannedSupport("fluency", 22, 2.2),
    PlannedSupport("fluency", 2, 1.0),
    PlannedSupport("fluency", 20, 0.1, 9, 1.4, "intensify", 9),
    PlannedSupport("fluency", 18, 1.9, 10, 1.2, "raise_goal", 10),
    PlannedSupport("fluency", 0, 1.0, is_started=False),
    PlannedSupport("comprehension", 17, 1.3),
    PlannedSupport("comprehension", 15, -0.2),
    PlannedSupport("comprehension", 19, 1.4, 9, -0.4),
    PlannedSupport("comprehension", 22, 2.3),
    PlannedSupport("comprehension", 1, 1.0),
    PlannedSupport("computation", 18, 1.3),
    PlannedSupport("computation", 20, 0.0, attendance=0.55),
    PlannedSupport("computation", 16, 1.4, 8, -0.3),
    PlannedSupport("computation", 21, 1.6, 12, 1.0, "fade", 12, level=3),
    PlannedSupport("computation", 19, 0.0, 8, 1.3, "change", 8),
    PlannedSupport("computation", 13, 1.2, 99, 0, "continue", 11),
    PlannedSupport("behaviour", 16, 1.5),
    PlannedSupport("behaviour", 14, -0.3),
    PlannedSupport("wellbeing", 15, 1.3),
    PlannedSupport("wellbeing", 0, 1.0, is_started=False),
    PlannedSupport("fluency", 62, 1.9, 99, 0, "exit", 24),
    PlannedSupport("fluency", 60, 1.2, 12, -0.1, "exit", 22),
    PlannedSupport("comprehension", 58, 1.7, 99, 0, "exit", 25),
    PlannedSupport("computation", 61, 1.8, 99, 0, "exit", 24),
    PlannedSupport("behaviour", 59, 1.6, 99, 0, "exit", 20),
    PlannedSupport("wellbeing", 57, 1.4, 99, 0, "exit", 21),
)
OTHER_CONCERNS: tuple[tuple[str, str, int, str | None], ...] = (
    ("ela.fluency", "Guesses words from their first letter.", 3, None),
    ("math.computation", "Avoids every task with regrouping.", 6, None),
    ("attendance", "Arrived late on six mornings in two weeks.", 2, None),
    ("behaviour", "Argues with peers during group work.", 8, None),
    ("attendance", "Missed four Mondays.", 40, "The family has moved closer to the school."),
    ("math", "Failed one unit test.", 70, "The next test was at grade level."),
    ("ela", "Handed in no reading log in October.", 90, "The log was at home; the reading was done."),
)
"""The concerns that have no support.

Each is a tuple: the area, the description, how many days ago it was raised, and the reason for its dismissal or None.
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One planned support with the dates and values of its scores and sessions.

    All dates are counted from `monday`, the beginning of the week in which the district was created.
    """

    number: int
    plan: PlannedSupport
    monday: date

    @property
    def subject(self) -> Subject:
        """Returns the subject of the support."""
        return SUBJECTS[self.plan.subject]

    @property
    def begins_on(self) -> date:
        """Returns the Monday on which the support begins.

        A support that is only planned begins on the next Monday.
        """
        return self.monday - timedelta(weeks=self.plan.weeks_ago if self.plan.is_started else -1)

    @property
    def decided_on(self) -> date:
        """Returns the Friday of the week in which the team decides."""
        return self.begins_on + timedelta(weeks=self.plan.decided_in, days=4)

    def baseline(self) -> list[float]:
        """Returns the three scores that were taken before the support began."""
        rng = self._random("baseline")
        middle = self.subject.baseline + rng.randrange(-3, 4) * (abs(self.subject.rate) + 0.1)
        return [self._rounded(middle + off * self.subject.noise) for off in (-0.7, 0.0, 0.6)]

    def goal(self) -> float:
        """Returns the goal of the support."""
        return self._rounded(sorted(self.baseline())[1] + self.subject.rate * GOAL_WEEKS)

    def score(self, week: int) -> float:
        """Returns the score in this week of the support."""
        weeks_before, weeks_after = min(week, self.plan.until), max(0, week - self.plan.until)
        growth = self.subject.rate * (self.plan.growth * weeks_before + self.plan.later * weeks_after)
        value = sorted(self.baseline())[1] + growth + self._random(f"week {week}").gauss(0, self.subject.noise)
        return self._rounded(value)

    def scores(self, after: date, until: date) -> Iterator[tuple[date, float]]:
        """Yields the weekly scores after the day `after` up to the day `until`.

        After the end of the support there are no scores.
        """
        last = min(until, self.decided_on) if self.plan.ends else until
        week, taken_on = 1, self.begins_on + timedelta(weeks=1)
        while self.plan.is_started and taken_on <= last:
            if taken_on > after:
                yield taken_on, self.score(week)
            week, taken_on = week + 1, taken_on + timedelta(weeks=1)

    def sessions(self, after: date, until: date) -> Iterator[dict[str, object]]:
        """Yields the sessions after the day `after` up to the day `until`, in the form in which the API takes them."""
        last = min(until, self.decided_on) if self.plan.ends else until
        for week in range(self.plan.weeks_ago + 200):
            for day in SESSION_DAYS:
                held_on = self.begins_on + timedelta(weeks=week, days=day)
                if held_on > last or not self.plan.is_started:
                    return
                if held_on > after:
                    yield self._session(held_on)

    def _session(self, held_on: date) -> dict[str, object]:
        rng = self._random(f"session {held_on.toordinal() - self.begins_on.toordinal()}")
        if rng.random() < self.plan.attendance:
            return {"held_on": held_on.isoformat(), "attended": True}
        why = rng.choice(LOST)
        return {"held_on": held_on.isoformat(), "attended": False, "lost_because": why}

    def _rounded(self, value: float) -> float:
        return float(max(0, round(value)))

    def _random(self, of: str) -> Random:
        return Random(f"caseload {self.number} {of}")
