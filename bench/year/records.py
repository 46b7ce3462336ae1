"""Defines what the benchmark of the simulated year stores about supports, concerns, hypotheses, signals and tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from bench.year.children import Child

ALARMS: Final = ("off_track", "not_responding")


@dataclass
class SupportRecord:
    """A support of the simulated year: what the benchmark plans for it, and what was observed of it.

    * `states` has the state of its verdict at the end of each week.
    * `scores` are the scores that were recorded, each as measure, day and value.
    * `decisions` has the kind of each decision with its week.
    * `verdict` is the state and kind of the verdict; `verdict_since` is the day on which it was first observed.
    * `verdict_tick` and `decided_tick` are numbers that show which came later: the last change of the verdict, or the
      last decision.
    * `goal_on` and `review_on` are the days that the team has set; `phase_begins` is the first day of the present
      phase.
    """

    child: Child
    student: str
    id: str = ""
    concern: str = ""
    lead: str = ""
    group: str | None = None
    level: int = 2
    starts_on: date = date.max
    goal_on: date | None = None
    review_on: date | None = None
    phase_begins: date = date.max
    is_ended: bool = False
    unled_since: date | None = None
    verdict: tuple[str, str | None] | None = None
    verdict_since: date = date.min
    verdict_tick: int = 0
    decided_tick: int = -1
    states: dict[int, str] = field(default_factory=dict)
    scores: list[tuple[str, date, float]] = field(default_factory=list)
    decisions: list[tuple[int, str]] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Returns the name of the support in the report."""
        return self.child.plan.key

    @property
    def state_of_verdict(self) -> str | None:
        """Returns the state of the verdict, or None."""
        return None if self.verdict is None else self.verdict[0]

    @property
    def is_decided(self) -> bool:
        """Returns whether the team has made a decision on the support after its verdict last changed."""
        return self.decided_tick > self.verdict_tick

    def observe(self, verdict: dict[str, Any] | None, day: date, tick: int) -> None:
        """Stores a verdict that was read.

        `verdict_since` becomes `day` if the verdict has changed, but not if one alarm has only replaced another.
        """
        seen = None if verdict is None else (str(verdict["state"]), verdict["kind"])
        both_alarms = seen is not None and seen[0] in ALARMS and self.state_of_verdict in ALARMS
        if seen != self.verdict and not both_alarms:
            self.verdict_since, self.verdict_tick = day, tick
        self.verdict = seen

    def last_check(self, measure: str) -> date:
        """Returns the day of the last score of a measure, if it is in the present phase.

        Otherwise returns the first day of the phase.
        """
        days = [day for code, day, _ in self.scores if code == measure]
        return max(self.phase_begins, *days) if days else self.phase_begins


@dataclass
class ConcernRecord:
    """A concern of the simulated year.

    `unserved_since` is the day on which the concern was accepted or lost its last active support, or None.
    `may_be_reported` is true if the concern has been unserved for the number of days that the playbook sets.
    `was_unserved_long` is true if it has been unserved one day longer; the product must then have reported it.
    """

    id: str
    student: str
    area: str
    state: str
    raised_on: date
    unserved_since: date | None = None
    was_unserved_long: bool = False
    may_be_reported: bool = False


@dataclass
class HypothesisRecord:
    """A hypothesis of the simulated year, and the support that tests it.

    `verdict` is the state of the support's verdict when the test began. `is_awaited` is true if there is a reason to
    review the hypothesis, and the product has not listed it as due yet.
    """

    id: str
    record: SupportRecord
    proposed_by: str
    verdict: str | None
    state: str = "testing"
    due_because: str | None = None
    is_awaited: bool = False


@dataclass
class ActionRecord:
    """What a member of a team has agreed to do."""

    id: str
    team: str
    student: str | None
    owner: str
    due_on: date
    state: str = "open"


@dataclass(frozen=True, slots=True)
class SignalKey:
    """Identifies a signal by its kind, the student, and what caused it.

    The cause is a screening window, a support with the day since which it has been in its state, or, for incidents, the
    number of the signals that were answered before.
    """

    kind: str
    student: str
    occasion: str


@dataclass
class SignalRecord:
    """A signal that the product suggested, and its present state."""

    id: str
    key: SignalKey
    seen_on: date
    state: str = "suggested"
    support: SupportRecord | None = None
    concern: str | None = None


@dataclass
class IncidentRecord:
    """An incident of the simulated year. `answers` is the number of answered signals about its student before it."""

    id: str
    student: str
    kind: str
    occurred_on: date
    answers: int
    is_removed: bool = False


@dataclass
class StallRecord:
    """A core stall that the product suggested, and its present state.

    A core stall is a grade in which fewer students reach the benchmark than in the last screening window. `key` has the
    window and the school.
    """

    id: str
    key: tuple[int, str | None]
    seen_on: str
    state: str


@dataclass
class NoteRecord:
    """A note on an item of an agenda, with its present text and version."""

    id: str
    item: str
    team: TeamRecord
    student: str | None
    text: str
    version: int = 1


@dataclass
class OwnItem:
    """An item that a member added to an agenda. `carried` is the number of meetings that postponed it."""

    text: str
    since: date
    student: str | None = None
    carried: int = 0
    is_settled: bool = False


Subject = tuple[str, str, str]
"""The kind of an item, the id of what it is about, and its occasion."""


@dataclass
class TeamRecord:
    """A team of the simulated year: its students, what it did with agenda items, and the figures of its meetings.

    `grade` is true if the team serves the school's grade. `named` has additional students that it serves.
    """

    name: str
    id: str
    members: tuple[str, ...]
    grade: bool
    named: set[str] = field(default_factory=set)
    resting: set[Subject] = field(default_factory=set)
    dropped: set[Subject] = field(default_factory=set)
    carried: dict[Subject, int] = field(default_factory=dict)
    own: list[OwnItem] = field(default_factory=list)
    meetings: list[dict[str, Any]] = field(default_factory=list)
