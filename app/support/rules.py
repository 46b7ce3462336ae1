"""Owns which verbs a support takes in which state, and what makes a plan fit. Pure."""

from dataclasses import dataclass
from datetime import date

from app.core.errors import Conflict, Violation

STATES = ("planned", "active", "ended")
ROUNDING = 1e-6
EARLIEST_YEAR, LONGEST_DAYS = 2000, 3 * 366
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
    if not 1 <= plan.minutes_per_session <= 480:
        detail = "A session lasts 1 to 480 minutes."
        found.append(Violation("/minutes_per_session", "support.minutes", detail))
    if not 1 <= plan.sessions_per_week <= 25:
        detail = "There are 1 to 25 sessions a week."
        found.append(Violation("/sessions_per_week", "support.sessions", detail))
    return found
