"""Holds the state of the simulated year: the day, the students' true growth, the supports, and what was observed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from bench.year.caller import Caller
from bench.year.children import PLANS, Child
from bench.year.installation import Installation
from bench.year.records import (
    ActionRecord,
    ConcernRecord,
    HypothesisRecord,
    IncidentRecord,
    NoteRecord,
    SignalRecord,
    StallRecord,
    SupportRecord,
    TeamRecord,
)
from bench.year.roster import Roster, external

BEGINS: Final = date(2026, 8, 31)
"""The Monday of the week in which the supports are planned."""
BREAKS: Final = {"Thanksgiving": (12, 12), "Winter": (16, 17), "Spring": (29, 29)}
"""The first and the last week of each break."""
NEWEST: Final = [f"response.{name}:2" for name in ("never", "stopped", "recovered", "retracted")]
"""The versions of the payloads that name the alert."""
OFF: Final = frozenset(week for first, last in BREAKS.values() for week in range(first, last + 1))


@dataclass
class Year:
    """The state of the simulated school year. `week` counts all school weeks from 0, `taught` only the instructional
    ones.
    """

    installation: Installation
    caller: Caller
    seed: int
    weeks: int
    roster: Roster
    week: int = 0
    taught: int = 0
    today: date = BEGINS
    supports: list[SupportRecord] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)
    group_dates: dict[str, date] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    student_ids: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    screened: dict[int, dict[str, float]] = field(default_factory=dict)
    screened_first: dict[int, dict[str, float]] = field(default_factory=dict)
    incidents: list[IncidentRecord] = field(default_factory=list)
    stalls: list[StallRecord] = field(default_factory=list)
    noted: list[NoteRecord] = field(default_factory=list)
    concerns: dict[str, ConcernRecord] = field(default_factory=dict)
    hypotheses: list[HypothesisRecord] = field(default_factory=list)
    actions: list[ActionRecord] = field(default_factory=list)
    suggested: set[str] = field(default_factory=set)
    signals: dict[str, SignalRecord] = field(default_factory=dict)
    teams: dict[str, TeamRecord] = field(default_factory=dict)
    served_at_close: dict[int, set[str]] = field(default_factory=dict)
    away_at_close: set[str] = field(default_factory=set)
    moved_on: dict[str, date] = field(default_factory=dict)
    ticks: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    cursor: str | None = None
    lessons: int = 0
    formed: int = 0
    proposed_goals: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    by_kind: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        for number, plan in enumerate(PLANS[: self.roster.students]):
            child = Child(plan, Random(f"{self.seed}/{plan.key}"))
            self.supports.append(SupportRecord(child, self.roster.student(number)))

    @property
    def monday(self) -> date:
        """Returns the Monday of the present week."""
        return BEGINS + timedelta(weeks=self.week)

    @property
    def is_off(self) -> bool:
        """Returns whether the present week is a break."""
        return self.week in OFF

    def day_of(self, week: int, weekday: int) -> date:
        """Returns a day of a week of the year."""
        return BEGINS + timedelta(weeks=week, days=weekday)

    def day(self, weekday: int) -> date:
        """Returns a day of the present week; 0 is its Monday."""
        return self.monday + timedelta(days=weekday)

    def tick(self) -> int:
        """Returns a number that is larger than every one before. It gives the order of what happens on one day."""
        self.ticks += 1
        return self.ticks

    def days_of_school(self, since: date, until: date | None = None) -> int:
        """Returns the number of days from `since` to `until`, by default today, that are not in a break."""
        days = ((until or self.today) - since).days
        return sum((since + timedelta(days=n) - BEGINS).days // 7 not in OFF for n in range(days))

    def move_to(self, day: date) -> None:
        """Moves the district's test clock, and waits until the worker has done what is then due."""
        self.today = day
        with self.caller.counting("test clock"):
            self.caller.post("/v1/test-clock", {"today": day.isoformat()})
        self.installation.jobs.finish()

    def require(self, holds: object, fault: str) -> None:
        """Records `fault` as a fault of the product, unless `holds` is true."""
        if not holds:
            self.faults.append(f"{self.week}: {fault}")

    def record(self, key: str) -> SupportRecord | None:
        """Returns the support with this key, or None if the simulated year has too few students for it."""
        return next((each for each in self.supports if each.key == key), None)

    def present(self) -> list[SupportRecord]:
        """Returns the planned supports of students who are on the roster."""
        return [each for each in self.supports if each.id and each.student not in self.away]

    def sync(self) -> dict[str, Any]:
        """Uploads the present roster, waits until the sync run is applied, and returns the run."""
        with self.caller.counting("roster"):
            path = f"/v1/sis-sources/{self.ids['source']}/roster"
            run = self.caller.wait_for_run(self.caller.upload(path, self.roster.as_zip())["id"])
        self.require(run["state"] == "applied", f"the roster's sync is {run['state']}: {run['sentence']}")
        self.installation.jobs.finish()
        return run

    def read_feed(self) -> list[dict[str, Any]]:
        """Reads the new events of the change feed, and returns them."""
        new: list[dict[str, Any]] = []
        with self.caller.counting("feed"):
            while True:
                after = {} if self.cursor is None else {"after": self.cursor}
                page = self.caller.get("/v1/events", limit=200, version=NEWEST, **after)
                new += page["items"]
                self.cursor = page["next"] or self.cursor
                if len(page["items"]) < 200:
                    break
        self.events += new
        return new

    def staff(self, name: str) -> str:
        """Returns the external id of a member of staff."""
        return external(name)
