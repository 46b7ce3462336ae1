"""Defines the states of a support, and validates plans and sessions. Reads no database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import starmap, zip_longest
from typing import Any, Protocol

from app.core.errors import Conflict, Invalid, Violation
from app.core.violations import Violations, broken_rules, partial_input
from app.support.dosage import LOST_BECAUSE


class SupportState(StrEnum):
    """The state of a support. It is suspended while its student is not on the roster."""

    PLANNED = "planned"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"


class Starts(StrEnum):
    """How a planned support becomes active: by itself on its first day, or when somebody starts it."""

    ON_ITS_DAY = "on_its_day"
    MANUALLY = "manually"


class LostBecause(StrEnum):
    """A reason for which minutes of a session were lost. `event` is a drill, a test or a trip."""

    ABSENT = "absent"
    NO_PROVIDER = "no_provider"
    SCHEDULE = "schedule"
    EVENT = "event"
    SCHOOL_CLOSED = "school_closed"
    OTHER = "other"


STATES = tuple(state.value for state in SupportState)
ROUNDING = 1e-6
GOAL_NOTICE = timedelta(weeks=2)
"""How long before the goal's date a decision about what happens next is due."""
MAX_PLAN_DAYS = 3 * 366
MAX_SESSION_MINUTES = 480
MAX_GROUP_SIZE = 40
_VERBS: dict[str, tuple[tuple[str, ...], str]] = {
    "start": (("planned",), "active"),
    "change": (("active",), "active"),
    "end": (("planned", "active", "suspended"), "ended"),
}


def next_state(state: str, verb: str) -> str:
    """Returns the state that a support in `state` has after the action `verb`.

    Raises `Conflict` if this action is not allowed in `state`.
    """
    required, target = _VERBS[verb]
    if state in required:
        return target
    if state == "ended":
        raise Conflict("This support has ended.", code="support.ended")
    if state == "suspended":
        raise Conflict("This support is suspended: its student has left.", code="support.suspended")
    raise Conflict(f"A support that is {state} does not allow this.", code="support.state")


@dataclass(frozen=True, slots=True)
class Plan:
    """The planned values of a phase, for validation: its baseline, goal, dates and dosage."""

    direction: str
    lowest: float
    highest: float
    begins_on: date
    baseline: float
    goal: float
    goal_on: date
    minutes_per_session: int
    sessions_per_week: int


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """The planned dates and the planned dosage of a phase without a measure, for validation."""

    begins_on: date
    review_on: date
    minutes_per_session: int
    sessions_per_week: int


def is_ahead(goal: float, baseline: float, direction: str) -> bool:
    """Returns whether the goal is better than the baseline by more than a rounding error."""
    return (goal - baseline if direction == "up" else baseline - goal) > ROUNDING * max(1.0, abs(baseline), abs(goal))


def violations_of(values: Mapping[str, Any]) -> Violations:
    """Returns the violations in the planned values of a phase. Each points to a field of the input.

    `values` has the fields of `Plan`. Rules about a missing field are skipped.
    """
    return broken_rules(_PLAN_RULES, partial_input(Plan, values))


def _baseline_in_range(plan: Plan) -> list[Violation]:
    return _in_range("baseline", plan.baseline, plan)


def _goal_in_range(plan: Plan) -> list[Violation]:
    return _in_range("goal", plan.goal, plan)


def _in_range(name: str, value: float, plan: Plan) -> list[Violation]:
    if plan.lowest <= value <= plan.highest:
        return []
    detail = f"This measure gives values from {plan.lowest:g} to {plan.highest:g}."
    return [Violation(f"/{name}", f"support.{name}", detail)]


def _goal_ahead(plan: Plan) -> list[Violation]:
    if is_ahead(plan.goal, plan.baseline, plan.direction):
        return []
    side = "above" if plan.direction == "up" else "below"
    return [Violation("/goal", "support.goal", f"The goal must lie {side} the baseline.")]


def _span(plan: Plan) -> list[Violation]:
    days = (plan.goal_on - plan.begins_on).days
    if days > MAX_PLAN_DAYS:
        return [Violation("/goal_on", "support.goal_on", "The goal lies within three years of the beginning.")]
    if days < 7:
        detail = "The goal's date must lie a week or more after the beginning."
        return [Violation("/goal_on", "support.goal_on", detail)]
    return []


def _minutes(plan: Plan | ReviewPlan) -> list[Violation]:
    if 1 <= plan.minutes_per_session <= MAX_SESSION_MINUTES:
        return []
    return [Violation("/minutes_per_session", "support.minutes", "A session lasts 1 to 480 minutes.")]


def _sessions(plan: Plan | ReviewPlan) -> list[Violation]:
    if 1 <= plan.sessions_per_week <= 25:
        return []
    return [Violation("/sessions_per_week", "support.sessions", "There are 1 to 25 sessions a week.")]


_PLAN_RULES = (_baseline_in_range, _goal_in_range, _goal_ahead, _span, _minutes, _sessions)


def violations_of_review(values: Mapping[str, Any]) -> Violations:
    """Returns the violations in the planned values of a phase without a measure. Each points to a field of the input.

    `values` has the fields of `ReviewPlan`. Rules about a missing field are skipped.
    """
    return broken_rules((_review_follows, _minutes, _sessions), partial_input(ReviewPlan, values))


def _review_follows(plan: ReviewPlan) -> list[Violation]:
    if 0 < (plan.review_on - plan.begins_on).days <= MAX_PLAN_DAYS:
        return []
    detail = "A review follows the beginning of the phase, within three years."
    return [Violation("/review_on", "support.review_on", detail)]


def check_group_size(size: int | None) -> None:
    """Raises `Invalid` unless the size is from 1 to `MAX_GROUP_SIZE`, or None."""
    if size is not None and not 1 <= size <= MAX_GROUP_SIZE:
        detail = f"A group has 1 to {MAX_GROUP_SIZE} students."
        raise Invalid([Violation("/group_size", "support.group_size", detail)])


class Change(Protocol):
    """The fields of an input that changes the goal or the review date of a support."""

    @property
    def goal(self) -> float | None: ...
    @property
    def goal_on(self) -> date | None: ...
    @property
    def baseline(self) -> float | None: ...
    @property
    def review_on(self) -> date | None: ...


class FollowUp(Change, Protocol):
    """The fields of an input that say how a support is checked: by a measure with a goal, or by a review on a date."""

    @property
    def measure(self) -> str | None: ...


def check_follow_up(new: FollowUp) -> None:
    """Raises `Invalid` unless the success of a new support can be checked, by a measure with a goal or by a review.

    A support with a measure needs a goal with its date, and has no review date. A support without a measure needs a
    review date, and has no goal, no goal date and no baseline.
    """
    if new.measure is not None:
        missing = [name for name in ("goal", "goal_on") if getattr(new, name) is None]
        violations = [
            Violation(f"/{name}", "support.goal_missing", "A support with a measure has a goal and its date.")
            for name in missing
        ]
        if new.review_on is not None:
            violations.append(unexpected_review())
    else:
        violations = _unexpected_goals(new.goal, new.goal_on, new.baseline)
        if new.review_on is None:
            detail = "A support without a measure has a review date."
            violations.append(Violation("/review_on", "support.review_missing", detail))
    if violations:
        raise Invalid(violations)


def check_change(change: Change, *, has_measure: bool) -> None:
    """Raises `Invalid` for a review date if the support has a measure, and for a goal if it has no measure."""
    if has_measure:
        violations = [] if change.review_on is None else [unexpected_review()]
    else:
        violations = _unexpected_goals(change.goal, change.goal_on, change.baseline)
    if violations:
        raise Invalid(violations)


def unexpected_review() -> Violation:
    """Returns the violation for a review date that was given although the support has a measure."""
    detail = "A support with a measure has a goal in place of a review."
    return Violation("/review_on", "support.review_with_measure", detail)


def _unexpected_goals(goal: float | None, goal_on: date | None, baseline: float | None) -> list[Violation]:
    given = {"goal": goal, "goal_on": goal_on, "baseline": baseline}
    detail = "A support without a measure has a review date in place of a goal."
    return [
        Violation(f"/{name}", "support.goal_without_measure", detail)
        for name, value in given.items()
        if value is not None
    ]


@dataclass(frozen=True, slots=True)
class Suspension:
    """A suspension of a support. It ends before the day `resumed_on`, which is None while the suspension lasts."""

    suspended_on: date
    resumed_on: date | None

    def includes(self, day: date) -> bool:
        """Returns whether the support was suspended on this day."""
        return self.suspended_on <= day and (self.resumed_on is None or day < self.resumed_on)

    def days(self, last: date) -> tuple[date, date]:
        """Returns the first and the last day of the suspension. If it has not ended, its last day is `last`."""
        return self.suspended_on, last if self.resumed_on is None else self.resumed_on - timedelta(days=1)


def suspensions_of(suspended_on: Sequence[date], resumed_on: Sequence[date]) -> tuple[Suspension, ...]:
    """Returns the suspensions of a support, oldest first, from the days on which they began and ended."""
    return tuple(starmap(Suspension, zip_longest(suspended_on, resumed_on)))


@dataclass(frozen=True, slots=True)
class SessionInput:
    """The values of a session, for validation.

    `begins_on` and `ends_on` are the first and the last day of its support.
    """

    held_on: date
    number: int
    planned_minutes: int
    delivered_minutes: int
    attended: bool
    lost_because: str | None
    begins_on: date
    ends_on: date | None
    today: date
    suspensions: tuple[Suspension, ...] = ()


def violations_of_session(values: Mapping[str, Any], at: str) -> Violations:
    """Returns the violations in the values of a session; `at` is the JSON Pointer of the session.

    `values` has the fields of `SessionInput`. Rules about a missing field are skipped.
    """
    return broken_rules(_SESSION_RULES, partial_input(SessionInput, values), at)


def _day_of_session(session: SessionInput, at: str) -> list[Violation]:
    if session.held_on > session.today:
        detail = "A session is recorded on its day or later, not in advance."
        return [Violation(f"{at}/held_on", "session.in_the_future", detail)]
    if session.held_on < session.begins_on or (session.ends_on is not None and session.held_on > session.ends_on):
        detail = "On this day the support had not begun, or had ended."
        return [Violation(f"{at}/held_on", "session.outside_support", detail)]
    if any(suspension.includes(session.held_on) for suspension in session.suspensions):
        detail = "On this day the support was suspended, because the student had left."
        return [Violation(f"{at}/held_on", "session.suspended", detail)]
    return []


def _number_of_session(session: SessionInput, at: str) -> list[Violation]:
    if session.number >= 1:
        return []
    return [Violation(f"{at}/number", "session.number", "Sessions of a day count from 1.")]


def _planned_in_range(session: SessionInput, at: str) -> list[Violation]:
    return _minutes_in_range("planned_minutes", session.planned_minutes, at)


def _delivered_in_range(session: SessionInput, at: str) -> list[Violation]:
    return _minutes_in_range("delivered_minutes", session.delivered_minutes, at)


def _minutes_in_range(name: str, minutes: int, at: str) -> list[Violation]:
    if 0 <= minutes <= MAX_SESSION_MINUTES:
        return []
    return [Violation(f"{at}/{name}", "session.minutes", f"A session lasts 0 to {MAX_SESSION_MINUTES} minutes.")]


def _delivered_to_nobody(session: SessionInput, at: str) -> list[Violation]:
    if session.delivered_minutes <= 0 or session.attended:
        return []
    detail = "Nothing is delivered to a student who does not attend: leave the minutes out, or give 0."
    return [Violation(f"{at}/delivered_minutes", "session.not_attended", detail)]


def _reason_of_loss(session: SessionInput, at: str) -> list[Violation]:
    pointer = f"{at}/lost_because"
    codes = ", ".join(LOST_BECAUSE)
    if session.lost_because is not None and session.lost_because not in LOST_BECAUSE:
        return [Violation(pointer, "session.reason", f"A reason is one of {codes}.")]
    loses_minutes = session.delivered_minutes < session.planned_minutes
    if loses_minutes and session.lost_because is None:
        return [Violation(pointer, "session.reason_missing", f"Say why minutes were lost: one of {codes}.")]
    if not loses_minutes and session.lost_because is not None:
        return [Violation(pointer, "session.nothing_lost", "No minutes were lost: leave the reason out.")]
    if session.lost_because == "absent" and session.attended:
        return [Violation(pointer, "session.reason", "A student who attended was not absent.")]
    return []


_SESSION_RULES = (
    _day_of_session,
    _number_of_session,
    _planned_in_range,
    _delivered_in_range,
    _delivered_to_nobody,
    _reason_of_loss,
)
