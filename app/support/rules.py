"""Defines the states of a support, and validates plans, required rates and sessions. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from app.core.errors import Conflict, Invalid, Violation
from app.core.violations import Violations, broken_rules, partial_input
from app.support.dosage import LOST_BECAUSE


class SupportState(StrEnum):
    """The state of a support."""

    PLANNED = "planned"
    ACTIVE = "active"
    ENDED = "ended"


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
RATE_TOLERANCE = 0.005
"""How far a required rate may lie above the realistic one, because goals are set in whole units."""
UNREALISTIC = "goal.unrealistic"
GOAL_NOTICE = timedelta(weeks=2)
"""How long before the goal's date a decision about what follows is due."""
MAX_PLAN_DAYS = 3 * 366
MAX_SESSION_MINUTES = 480
_VERBS: dict[str, tuple[tuple[str, ...], str]] = {
    "start": (("planned",), "active"),
    "change": (("active",), "active"),
    "end": (("planned", "active"), "ended"),
}


def next_state(state: str, verb: str) -> str:
    """Returns the state to which a verb leads from `state`. Raises `Conflict` if the verb is not allowed in this
    state.
    """
    required, target = _VERBS[verb]
    if state in required:
        return target
    if state == "ended":
        raise Conflict("This support has ended.", code="support.ended")
    raise Conflict(f"A support that is {state} does not allow this.", code="support.state")


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a phase, to be validated: its baseline, goal, dates and dosage."""

    direction: str
    lowest: float
    highest: float
    begins_on: date
    baseline: float
    goal: float
    goal_on: date
    minutes_per_session: int
    sessions_per_week: int


def is_ahead(goal: float, baseline: float, direction: str) -> bool:
    """Returns whether the goal is better than the baseline by more than a rounding error."""
    return (goal - baseline if direction == "up" else baseline - goal) > ROUNDING * max(1.0, abs(baseline), abs(goal))


def violations_of(values: Mapping[str, Any]) -> Violations:
    """Returns the violations in the plan of a phase, with pointers to the input's fields.

    `values` has the fields of `Plan`. A rule about a field that is missing is left out.
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


def _minutes(plan: Plan) -> list[Violation]:
    if 1 <= plan.minutes_per_session <= MAX_SESSION_MINUTES:
        return []
    return [Violation("/minutes_per_session", "support.minutes", "A session lasts 1 to 480 minutes.")]


def _sessions(plan: Plan) -> list[Violation]:
    if 1 <= plan.sessions_per_week <= 25:
        return []
    return [Violation("/sessions_per_week", "support.sessions", "There are 1 to 25 sessions a week.")]


_PLAN_RULES = (_baseline_in_range, _goal_in_range, _goal_ahead, _span, _minutes, _sessions)


class RateCheck(StrEnum):
    """How the required rate of a goal compares with the norms.

    With `no_norm`, no norm of growth is known for the measure and the student's grade.
    """

    REALISTIC = "realistic"
    CONFIRMED = "confirmed"
    NO_NORM = "no_norm"


@dataclass(frozen=True, slots=True)
class RequiredRate:
    """The growth that a goal requires, to be compared with the most that a norm calls realistic.

    `weeks` are the weeks of instruction until the goal's date. `realistic` is an improvement a week, and positive; it
    is None if no norm is known.
    """

    direction: str
    lowest: float
    highest: float
    unit: str
    baseline: float
    goal: float
    weeks: int
    realistic: float | None = None
    source: str = ""

    @property
    def sign(self) -> int:
        """Returns 1 if higher scores are better, and -1 if lower scores are better."""
        return 1 if self.direction == "up" else -1

    @property
    def rate(self) -> float:
        """Returns the required rate in the measure's units a week; it is negative if lower scores are better."""
        return (self.goal - self.baseline) / self.weeks

    @property
    def is_realistic(self) -> bool:
        """Returns whether the norm allows the rate, up to a rounding of its second decimal; true without a norm."""
        return self.realistic is None or self.sign * self.rate <= self.realistic + RATE_TOLERANCE

    @property
    def proposed_goal(self) -> float:
        """Returns the best goal by the same date that requires no more than the realistic rate.

        It is a whole number if a whole number is better than the baseline, and has one decimal, or two, otherwise.
        """
        exact = self.baseline + self.sign * (self.realistic or 0.0) * self.weeks
        exact = min(max(exact, self.lowest), self.highest)
        down = math.floor if self.direction == "up" else math.ceil
        rounded = (down(round(exact * 10**digits, 6)) / 10**digits for digits in (0, 1, 2))
        return next((goal for goal in rounded if is_ahead(goal, self.baseline, self.direction)), exact)

    @property
    def weeks_needed(self) -> int:
        """Returns the weeks of instruction that the goal takes at the realistic rate."""
        return math.ceil(round(abs(self.goal - self.baseline) / (self.realistic or abs(self.rate)), 6))


def check_rate(required: RequiredRate, *, confirmed: bool) -> RateCheck:
    """Returns how a required rate compares with the norms; raises `Invalid` if it is not realistic and not
    confirmed.
    """
    if required.realistic is None:
        return RateCheck.NO_NORM
    if required.is_realistic:
        return RateCheck.REALISTIC
    if confirmed:
        return RateCheck.CONFIRMED
    rate, proposed = abs(required.rate), required.proposed_goal
    detail = (
        f"This goal requires {rate:.2f} {required.unit} in each of {required.weeks} weeks of instruction; the norms "
        f"call {required.realistic:g} realistic for this measure and grade ({required.source}). Until this date, "
        f"{proposed:g} is a realistic goal; this goal takes {required.weeks_needed} weeks. Set another goal or date, "
        "or confirm the rate."
    )
    figures = (
        ("required_rate", round(required.rate, 4)),
        ("realistic_rate", required.sign * required.realistic),
        ("proposed_goal", proposed),
        ("weeks", float(required.weeks)),
        ("weeks_needed", float(required.weeks_needed)),
    )
    raise Invalid([Violation("/goal", UNREALISTIC, detail, figures)], code=UNREALISTIC, detail=detail)


@dataclass(frozen=True, slots=True)
class SessionInput:
    """A session to validate. `begins_on` and `ends_on` are the first and the last day of its support."""

    held_on: date
    number: int
    planned_minutes: int
    delivered_minutes: int
    attended: bool
    lost_because: str | None
    begins_on: date
    ends_on: date | None
    today: date


def violations_of_session(values: Mapping[str, Any], at: str) -> Violations:
    """Returns the violations in the values of a session; `at` is the JSON Pointer of the session.

    `values` has the fields of `SessionInput`. A rule about a field that is missing is left out.
    """
    return broken_rules(_SESSION_RULES, partial_input(SessionInput, values), at)


def _day_of_session(session: SessionInput, at: str) -> list[Violation]:
    if session.held_on > session.today:
        detail = "A session is recorded on its day or later, not in advance."
        return [Violation(f"{at}/held_on", "session.in_the_future", detail)]
    if session.held_on < session.begins_on or (session.ends_on is not None and session.held_on > session.ends_on):
        detail = "On this day the support had not begun, or had ended."
        return [Violation(f"{at}/held_on", "session.outside_support", detail)]
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
