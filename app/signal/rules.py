"""Defines the kinds of signal rules with their parameters, and the states of a signal. Reads no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.core.errors import Conflict, Violation


class SignalKind(StrEnum):
    """A kind of signal rule: `core_stall` is about a grade, all others about a student. The last two report success."""

    SCREENING_UNDER_CUT = "screening_under_cut"
    GRADE_DROP = "grade_drop"
    FAILING = "failing"
    MISSING_WORK = "missing_work"
    ATTENDANCE = "attendance"
    INCIDENTS = "incidents"
    UNMET_GOAL = "unmet_goal"
    ARRIVED_WITH_SUPPORT = "arrived_with_support"
    CORE_STALL = "core_stall"
    AHEAD_OF_GOAL = "ahead_of_goal"
    READY_TO_FADE = "ready_to_fade"


class SignalState(StrEnum):
    """The state of a signal."""

    SUGGESTED = "suggested"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    MERGED = "merged"
    LAPSED = "lapsed"


SUCCESSES: Final = frozenset({SignalKind.AHEAD_OF_GOAL, SignalKind.READY_TO_FADE})
"""The kinds that report success. No concern is raised when a signal of these kinds is accepted."""
OF_WINDOWS: Final = frozenset({SignalKind.SCREENING_UNDER_CUT, SignalKind.CORE_STALL})
"""The kinds that read screening windows. Only rules of these kinds can be restricted to one measure."""
GRADED: Final = frozenset({SignalKind.GRADE_DROP, SignalKind.FAILING, SignalKind.MISSING_WORK})
"""The kinds that read the gradebook."""
NAMES_AREA: Final = GRADED | {SignalKind.ATTENDANCE, SignalKind.INCIDENTS}
"""The kinds that read data without an area. A rule of these kinds must state the area of its signals."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a kind of rule: its default, and the smallest and largest value."""

    default: int
    least: int
    most: int


PARAMETERS: Final[Mapping[SignalKind, Mapping[str, Parameter]]] = {
    SignalKind.SCREENING_UNDER_CUT: {"days": Parameter(60, 0, 365)},
    SignalKind.GRADE_DROP: {
        "points": Parameter(15, 1, 100),
        "least": Parameter(4, 1, 50),
        "days": Parameter(28, 7, 120),
    },
    SignalKind.FAILING: {
        "percent": Parameter(60, 1, 100),
        "least": Parameter(5, 1, 50),
        "days": Parameter(60, 7, 365),
    },
    SignalKind.MISSING_WORK: {"least": Parameter(5, 1, 100), "days": Parameter(28, 7, 365)},
    SignalKind.ATTENDANCE: {"percent": Parameter(10, 1, 100), "least": Parameter(20, 1, 200)},
    SignalKind.INCIDENTS: {"least": Parameter(3, 1, 100), "days": Parameter(30, 1, 365)},
    SignalKind.UNMET_GOAL: {"days": Parameter(7, 0, 120)},
    SignalKind.ARRIVED_WITH_SUPPORT: {"days": Parameter(30, 1, 365)},
    SignalKind.CORE_STALL: {"points": Parameter(10, 1, 100), "days": Parameter(60, 0, 365)},
    SignalKind.AHEAD_OF_GOAL: {"days": Parameter(14, 0, 120)},
    SignalKind.READY_TO_FADE: {"days": Parameter(42, 7, 365)},
}
WORDS: Final[Mapping[SignalKind, str]] = {
    SignalKind.SCREENING_UNDER_CUT: "The screening score is under the cut.",
    SignalKind.GRADE_DROP: "The grades in a class have dropped.",
    SignalKind.FAILING: "The grades in a class are failing.",
    SignalKind.MISSING_WORK: "Work is missing in a class.",
    SignalKind.ATTENDANCE: "The student is absent often.",
    SignalKind.INCIDENTS: "There were several incidents within weeks.",
    SignalKind.UNMET_GOAL: "The goal's day is past, and the goal is not met.",
    SignalKind.ARRIVED_WITH_SUPPORT: "The student came to the school with a support.",
    SignalKind.AHEAD_OF_GOAL: "The goal is met before its day.",
    SignalKind.READY_TO_FADE: "The student has responded for weeks.",
}
"""The description of the concern that is raised from an accepted signal, keyed by the signal's kind.

The team can write another description.
"""


def complete_parameters(kind: SignalKind, given: Mapping[str, int | None]) -> tuple[dict[str, int], list[Violation]]:
    """Returns a value for every parameter that this kind of rule has, and the violations in the given values.

    A parameter that is not given has its default value.
    """
    defaults, violations, values = PARAMETERS[kind], [], {}
    for name, value in given.items():
        if value is not None and name not in defaults:
            detail = f"A rule of the kind {kind} has {', '.join(defaults)}."
            violations.append(Violation(f"/{name}", "signal_rule.parameter", detail))
    for name, parameter in defaults.items():
        value = given.get(name)
        values[name] = parameter.default if value is None else value
        if not parameter.least <= values[name] <= parameter.most:
            detail = f"This is from {parameter.least} to {parameter.most}."
            violations.append(Violation(f"/{name}", "signal_rule.value", detail))
    return values, violations


def require_open(state: str) -> None:
    """Raises `Conflict` if somebody has accepted, dismissed or merged the signal already, or if the signal has
    lapsed.
    """
    if state == SignalState.LAPSED:
        raise Conflict("The data no longer support this signal.", code="signal.lapsed")
    if state != SignalState.SUGGESTED:
        raise Conflict(f"This signal is {state} already.", code="signal.settled")
