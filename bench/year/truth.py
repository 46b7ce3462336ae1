"""Computes what must be on a team's agenda on a day, from what the benchmark has done and observed.

No rule of the product is used here, and no data are read from it except the verdicts on supports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from bench.year.records import ALARMS, ConcernRecord, Subject, SupportRecord, TeamRecord
from bench.year.state import Year

ORDER: Final = (
    *("unserved", "not_responding", "decision_due", "off_track", "under_delivered", "unled", "goal_passed", "goal_due"),
    *(
        "hypothesis_due",
        "action_due",
        "new_concern",
        "signal",
        "core_stall",
        "check_overdue",
        "goal_met",
        "ready_to_fade",
        "own",
    ),
)
"""The order of the kinds that the playbook of a new district has."""
RESTING: Final = (
    *("off_track", "not_responding", "under_delivered", "goal_due", "goal_met", "ready_to_fade"),
    "core_stall",
)
"""The kinds that need no answer: a discussed item returns only with another occasion."""
UNSERVED_DAYS, DECISION_DAYS, CHECK_DAYS = 10, 14, 21
"""After how many days at school an unserved concern, a decision and a score are due in a new district."""
NOTICE: Final = timedelta(days=14)
STALL_DAYS: Final = timedelta(days=120)
"""How long an accepted core stall is on the agendas of the teams that serve the grade."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An item that must be on an agenda.

    `since` is None if the benchmark cannot know the day exactly.
    """

    kind: str
    subject: str
    student: str | None
    since: date | None
    occasion: str
    codes: frozenset[str]

    @property
    def key(self) -> Subject:
        """Returns a key that identifies why the item is on the agenda. For an alarm, the key is the same before and
        after a decision is due.
        """
        kind = self.occasion.split()[0] if self.kind == "decision_due" else self.kind
        return kind, self.subject, self.occasion


def serves(year: Year, team: TeamRecord, student: str | None) -> bool:
    """Returns whether a team serves a student today. If `student` is None (no student), returns True."""
    if student is None:
        return True
    if student in year.away or student in year.roster.gone:
        return False
    return student in team.named or (team.grade and student not in year.roster.moved)


def expected_items(year: Year, team: TeamRecord) -> list[Expected]:
    """Returns the items that must be on the agenda of a team today."""
    items = [*_of_concerns(year), *_of_supports(year), *_of_signals(year), *_of_stalls(year, team)]
    items += _of_tasks(year, team)
    return [each for each in items if serves(year, team, each.student) and not _rests(team, each)]


def _rests(team: TeamRecord, item: Expected) -> bool:
    """Returns whether an item is off the agenda for now: it was dropped or discussed.

    An alarm that was discussed without a decision returns when the decision is due.
    """
    return item.key in team.dropped or (item.key in team.resting and "decision_due" not in item.codes)


def _item(
    kind: str, subject: str, student: str | None, since: date | None, *codes: str, occasion: str | None = None
) -> Expected:
    return Expected(kind, subject, student, since, occasion or str(since), frozenset(codes or (kind,)))


def is_unserved(year: Year, concern: ConcernRecord) -> bool:
    """Returns whether a concern is accepted and has no active support, and its student has not left."""
    return concern.unserved_since is not None and concern.student not in year.away


def _of_concerns(year: Year) -> Iterator[Expected]:
    for concern in year.concerns.values():
        if concern.state == "raised":
            yield _item("new_concern", concern.id, concern.student, concern.raised_on)
        elif concern.unserved_since and year.days_of_school(concern.unserved_since) >= UNSERVED_DAYS:
            yield _item("unserved", concern.id, concern.student, concern.unserved_since)


def is_active(year: Year, record: SupportRecord) -> bool:
    """Returns whether a support is being given at present, to a student who is on the roster."""
    return bool(record.id) and expected_state(year, record) == "active"


def expected_state(year: Year, record: SupportRecord) -> str:
    """Returns the state in which a support must be today."""
    if record.is_ended:
        return "ended"
    if record.student in year.away:
        return "suspended"
    return "active" if record.starts_on <= year.today else "planned"


def _of_supports(year: Year) -> Iterator[Expected]:
    for record in year.present():
        state = expected_state(year, record)
        if record.unled_since is not None and state in ("planned", "active"):
            yield _item("unled", record.id, record.student, record.unled_since)
        if state == "active":
            yield from _of_verdict(year, record)
            yield from _of_goal(year, record)
            yield from _of_checks(year, record)


def _of_verdict(year: Year, record: SupportRecord) -> Iterator[Expected]:
    state, since = record.state_of_verdict, record.verdict_since
    if state in ALARMS and not record.is_decided:
        yield _of_alarm(str(state), record, since, is_due=year.days_of_school(since) >= DECISION_DAYS)
    if state == "under_delivered" and not record.is_decided:
        yield _item(state, record.id, record.student, since)
    if state == "goal_met" and not _is_ready_to_fade(year, record):
        yield _item(state, record.id, record.student, since)


def _of_alarm(state: str, record: SupportRecord, since: date, *, is_due: bool) -> Expected:
    """Returns the agenda item about an alarm.

    If a decision is due, the item has two reasons: the state of the alarm and `decision_due`. Its kind is then the
    reason that comes first in the agenda's order.
    """
    kind = min(state, "decision_due", key=ORDER.index) if is_due else state
    codes = (state, "decision_due") if is_due else (state,)
    return Expected(kind, record.id, record.student, since, f"{state} {since}", frozenset(codes))


def _is_ready_to_fade(year: Year, record: SupportRecord) -> bool:
    """Returns whether there is an open signal that the support is ready to fade."""
    signals = [each for each in year.signals.values() if each.support is record and each.state == "suggested"]
    return any(each.key.kind == "ready_to_fade" for each in signals)


def _of_goal(year: Year, record: SupportRecord) -> Iterator[Expected]:
    goal_on, review_on = record.goal_on, record.review_on
    if goal_on is None and review_on is not None and review_on <= year.today:
        yield _item("goal_passed", record.id, record.student, review_on, "review_due")
    if goal_on is not None and record.state_of_verdict != "goal_met":
        if goal_on <= year.today:
            yield _item("goal_passed", record.id, record.student, goal_on)
        elif goal_on <= year.today + NOTICE:
            yield _item("goal_due", record.id, record.student, goal_on)


def overdue_checks(year: Year, record: SupportRecord) -> list[date]:
    """Returns the day of the last score of each measure that has had no score for too long."""
    if record.goal_on is None or record.goal_on < year.today:
        return []
    days = [record.last_check(followed.measure) for followed in record.child.plan.measures]
    return sorted(day for day in days if year.days_of_school(day) >= CHECK_DAYS)


def _of_checks(year: Year, record: SupportRecord) -> Iterator[Expected]:
    for day in overdue_checks(year, record)[:1]:
        yield _item("check_overdue", record.id, record.student, day)


def _of_signals(year: Year) -> Iterator[Expected]:
    for signal in year.signals.values():
        # That a goal is met before its day, or that its day is past, is an item about the support.
        if signal.state == "suggested" and signal.key.kind not in ("ahead_of_goal", "unmet_goal"):
            kind = "ready_to_fade" if signal.key.kind == "ready_to_fade" else "signal"
            yield _item(kind, signal.id, signal.key.student, None, signal.key.kind, occasion="signal")


def _of_stalls(year: Year, team: TeamRecord) -> Iterator[Expected]:
    for stall in year.stalls:
        seen_on = date.fromisoformat(stall.seen_on)
        if team.grade and stall.state == "accepted" and year.today < seen_on + STALL_DAYS:
            yield _item("core_stall", stall.id, None, seen_on, occasion="stall")


def _of_tasks(year: Year, team: TeamRecord) -> Iterator[Expected]:
    for hypothesis in year.hypotheses:
        if hypothesis.due_because is not None:
            student = hypothesis.record.student
            yield _item("hypothesis_due", hypothesis.id, student, None, hypothesis.due_because, occasion="due")
    for action in year.actions:
        if action.team == team.id and action.state == "open" and action.due_on <= year.today:
            yield _item("action_due", action.id, action.student, action.due_on)
    for own in team.own:
        if not own.is_settled:
            yield _item("own", own.text, own.student, own.since, occasion="own")
