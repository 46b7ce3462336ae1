"""Defines the kinds of decision and what each kind requires. Pure."""

from datetime import date
from enum import StrEnum
from typing import Protocol

from app.core.errors import Conflict, Invalid, Violation
from app.core.violations import Violations, broken_rules
from app.support.changes.intensity import Intensity, PhaseChange, PhaseVerb, changes_between, is_faded, is_intensified


class DecisionKind(StrEnum):
    """The kinds of decision that a team can make about a student. All but a referral are about a support."""

    CONTINUE = "continue"
    RAISE_GOAL = "raise_goal"
    INTENSIFY = "intensify"
    CHANGE = "change"
    FADE = "fade"
    EXIT = "exit"
    RESTORE_FIDELITY = "restore_fidelity"
    REFER = "refer"


KINDS = tuple(kind.value for kind in DecisionKind)
DRAWS_PHASE_LINE = frozenset({"raise_goal", "intensify", "change", "fade", "restore_fidelity"})
"""The kinds of decision after which a new phase begins.

After `restore_fidelity`, the plan is the same, but delivery is counted from its day on.
"""

NEEDS_NO_SUPPORT = frozenset({"refer"})


class Decided(Protocol):
    """The inputs of a decision that `kind_violations` checks."""

    @property
    def kind(self) -> str:
        """Returns the kind of the decision, such as `intensify`."""

    @property
    def support(self) -> str | None:
        """Returns the id of the support that the decision is about, as the client sent it, or None."""

    @property
    def student(self) -> str | None:
        """Returns the id of the student that the decision is about, as the client sent it, or None."""

    @property
    def change(self) -> object | None:
        """Returns the change of the support that the decision states, or None if the support stays as it is."""

    @property
    def review_on(self) -> date | None:
        """Returns the day of the next review, or None."""


def kind_violations(decision: Decided) -> Violations:
    """Returns the violations of the rules for the decision's kind.

    A kind may require a support or a student, and may forbid a change of the support or a day of review. A referral
    requires only a student: it can be recorded at any time, without a support.
    """
    return broken_rules((_known_kind, _names_support, _may_change, _may_review, _names_student), decision)


def _known_kind(decision: Decided) -> list[Violation]:
    if decision.kind in KINDS:
        return []
    return [Violation("/kind", "decision.kind", f"A decision is one of {', '.join(KINDS)}.")]


def _names_support(decision: Decided) -> list[Violation]:
    if decision.support is not None or decision.kind in NEEDS_NO_SUPPORT:
        return []
    return [Violation("/support", "decision.support", "This decision is about a support: name it.")]


def _may_change(decision: Decided) -> list[Violation]:
    if decision.kind in DRAWS_PHASE_LINE or decision.change is None:
        return []
    return [Violation("/change", "decision.change", "This decision changes nothing of the support.")]


def _may_review(decision: Decided) -> list[Violation]:
    if decision.review_on is None or decision.kind == DecisionKind.CONTINUE:
        return []
    detail = "A support that goes on as it is has a next review; that of a change is part of the change."
    return [Violation("/review_on", "decision.review_on", detail)]


def _names_student(decision: Decided) -> list[Violation]:
    if decision.kind not in NEEDS_NO_SUPPORT or decision.support is not None or decision.student is not None:
        return []
    return [Violation("/student", "decision.student", "Name the student whom this is about.")]


def check_intensity(kind: str, before: Intensity, after: Intensity) -> None:
    """Raises `Invalid` if a decision to intensify a support does not intensify it, or one to fade does not fade it.

    A change to a lower level never intensifies a support, and a change to a higher level never fades it.
    """
    if kind == "intensify":
        is_right, is_wrong_level = is_intensified(before, after), after.level < before.level
        detail = "To intensify is a higher level, more or longer sessions, a smaller group, or a stronger programme."
    else:
        is_right, is_wrong_level = is_faded(before, after), after.level > before.level
        detail = "To fade is a lower level, fewer or shorter sessions, or a larger group."
    if is_wrong_level or not is_right:
        raise Invalid([Violation("/change/level", "decision.level", detail)])


def states_intensity(kind: str, before: Intensity, after: Intensity) -> bool:
    """Returns whether a decision to intensify or fade a support contains a change of the support's intensity.

    Such a change is, for example, another level or more sessions. A different intervention counts only in a decision to
    intensify. If the decision contains no such change, the caller moves the support to the next level up or down,
    because the decision must have an effect.
    """
    codes = set(changes_between(before, after, PhaseVerb(kind)))
    return bool(codes - {PhaseChange.OTHER_INTERVENTION})


def check_goal(goal: float | None, last: float, direction: str) -> None:
    """Raises `Invalid` if the new goal is missing or is not better than the previous goal."""
    if goal is None:
        raise Invalid([Violation("/change/goal", "decision.goal", "Name the higher goal.")])
    if not (goal > last if direction == "up" else goal < last):
        raise Invalid([Violation("/change/goal", "decision.goal", "A raised goal is better than the one before it.")])


def check_state(kind: str, state: str) -> None:
    """Raises `Conflict` if the support of a decision has ended. A referral is allowed even then."""
    if state == "ended" and kind not in NEEDS_NO_SUPPORT:
        raise Conflict("This support has ended.", code="support.ended")
