"""Owns which verbs a support takes in which state, and what makes a plan or a session fit. Pure."""

from dataclasses import dataclass
from datetime import date

from app.core.errors import Conflict, Violation
from app.support.dosage import LOST_BECAUSE

STATES = ("planned", "active", "ended")
ROUNDING = 1e-6
EARLIEST_YEAR, LONGEST_DAYS = 2000, 3 * 366
LONGEST_SESSION = 480
_VERBS: dict[str, tuple[tuple[str, ...], str]] = {
    "start": (("planned",), "active"),
    "change": (("active",), "active"),
    "end": (("planned", "active"), "ended"),
}


def after(state: str, verb: str) -> str:
    """The state after the verb; raises `Conflict` where the present state does not take it."""
    asked, then = _VERBS[verb]
    if state in asked:
        return then
    if state == "ended":
        raise Conflict("This support has ended.", code="support.ended")
    raise Conflict(f"A support that is {state} cannot take this.", code="support.state")


@dataclass(frozen=True, slots=True)
class Plan:
    """A stretch as it is planned: from baseline to goal, and the dosage."""

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
    """Whether the goal is better than the baseline by more than rounding."""
    return (goal - baseline if direction == "up" else baseline - goal) > ROUNDING * max(1.0, abs(baseline), abs(goal))


def violations_of(plan: Plan) -> list[Violation]:
    """Everything wrong with a plan, by the pointers of the input's fields."""
    found = []
    for name, value in (("baseline", plan.baseline), ("goal", plan.goal)):
        if not plan.lowest <= value <= plan.highest:
            detail = f"This measure gives values from {plan.lowest:g} to {plan.highest:g}."
            found.append(Violation(f"/{name}", f"support.{name}", detail))
    if not is_ahead(plan.goal, plan.baseline, plan.direction):
        side = "above" if plan.direction == "up" else "below"
        found.append(Violation("/goal", "support.goal", f"The goal must lie {side} the baseline."))
    if plan.begins_on.year < EARLIEST_YEAR or (plan.goal_on - plan.begins_on).days > LONGEST_DAYS:
        detail = f"A stretch begins in {EARLIEST_YEAR} or later, and its goal lies within three years."
        found.append(Violation("/goal_on", "support.goal_on", detail))
    if (plan.goal_on - plan.begins_on).days < 7:
        detail = "The goal's date must lie a week or more after the beginning."
        found.append(Violation("/goal_on", "support.goal_on", detail))
    if not 1 <= plan.minutes_per_session <= LONGEST_SESSION:
        detail = "A session lasts 1 to 480 minutes."
        found.append(Violation("/minutes_per_session", "support.minutes", detail))
    if not 1 <= plan.sessions_per_week <= 25:
        detail = "There are 1 to 25 sessions a week."
        found.append(Violation("/sessions_per_week", "support.sessions", detail))
    return found


@dataclass(frozen=True, slots=True)
class SessionInput:
    """A session as it was held or lost; `begins_on` and `ends_on` are its support's, both days included."""

    held_on: date
    number: int
    planned_minutes: int
    delivered_minutes: int
    attended: bool
    lost_because: str | None
    begins_on: date
    ends_on: date | None
    today: date


def violations_of_session(one: SessionInput, at: str) -> list[Violation]:
    """Everything wrong with a session by itself; `at` is its JSON Pointer."""
    found = []
    if one.held_on > one.today:
        detail = "A session is recorded on its day or after it; what lies ahead is a plan."
        found.append(Violation(f"{at}/held_on", "session.in_the_future", detail))
    elif one.held_on < one.begins_on or (one.ends_on is not None and one.held_on > one.ends_on):
        detail = "On this day the support had not begun, or had ended."
        found.append(Violation(f"{at}/held_on", "session.outside_support", detail))
    if one.number < 1:
        found.append(Violation(f"{at}/number", "session.number", "Sessions of a day count from 1."))
    for name in ("planned_minutes", "delivered_minutes"):
        if not 0 <= getattr(one, name) <= LONGEST_SESSION:
            found.append(
                Violation(f"{at}/{name}", "session.minutes", f"A session lasts 0 to {LONGEST_SESSION} minutes.")
            )
    if one.delivered_minutes > 0 and not one.attended:
        detail = "Nothing is delivered to a student who does not attend: leave the minutes out, or give 0."
        found.append(Violation(f"{at}/delivered_minutes", "session.not_attended", detail))
    return found + _violations_of_reason(one, f"{at}/lost_because")


def _violations_of_reason(one: SessionInput, pointer: str) -> list[Violation]:
    codes = ", ".join(LOST_BECAUSE)
    loses = one.delivered_minutes < one.planned_minutes
    if one.lost_because is not None and one.lost_because not in LOST_BECAUSE:
        return [Violation(pointer, "session.reason", f"A reason is one of {codes}.")]
    if loses and one.lost_because is None:
        return [Violation(pointer, "session.reason_missing", f"Say why minutes were lost: one of {codes}.")]
    if not loses and one.lost_because is not None:
        return [Violation(pointer, "session.nothing_lost", "No minutes were lost: leave the reason out.")]
    if one.lost_because == "absent" and one.attended:
        return [Violation(pointer, "session.reason", "A student who attended was not absent.")]
    return []
