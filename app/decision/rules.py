"""Owns which decisions there are and what each asks for. Pure."""

from app.core.errors import Conflict, Invalid, Violation

KINDS = ("continue", "raise_goal", "intensify", "change", "fade", "exit", "restore_fidelity", "refer")
DRAWS_PHASE_LINE = frozenset({"raise_goal", "intensify", "change", "fade"})
NEEDS_NO_SUPPORT = frozenset({"refer"})


def check_kind(kind: str, *, has_support: bool, has_student: bool, has_change: bool) -> None:
    """Raises `Invalid` for an unknown kind, or one without the row that it is about.

    A referral asks for a student only: it can be recorded at any time, with nothing before it.
    """
    if kind not in KINDS:
        raise Invalid([Violation("/kind", "decision.kind", f"A decision is one of {', '.join(KINDS)}.")])
    if not has_support and kind not in NEEDS_NO_SUPPORT:
        raise Invalid([Violation("/support", "decision.support", "This decision is about a support: name it.")])
    if has_change and kind not in DRAWS_PHASE_LINE:
        raise Invalid([Violation("/change", "decision.change", "This decision changes nothing of the support.")])
    if not has_support and not has_student:
        raise Invalid([Violation("/student", "decision.student", "Name the student whom this is about.")])


def check_level(kind: str, rank: int, wanted: int) -> None:
    """Raises `Invalid` where a support would be intensified to no higher, or faded to no lower a level."""
    fits = wanted > rank if kind == "intensify" else wanted < rank
    if not fits:
        side = "higher" if kind == "intensify" else "lower"
        raise Invalid([Violation("/change/level", "decision.level", f"This decision leads to a {side} level.")])


def check_goal(goal: float | None, last: float, direction: str) -> None:
    """Raises `Invalid` where the goal that a team raises is not named, or no better than the last."""
    if goal is None:
        raise Invalid([Violation("/change/goal", "decision.goal", "Name the higher goal.")])
    if not (goal > last if direction == "up" else goal < last):
        raise Invalid([Violation("/change/goal", "decision.goal", "A raised goal is better than the one before it.")])


def check_state(kind: str, state: str) -> None:
    """Raises `Conflict` for a decision on a support that has ended; a referral can be recorded at any time."""
    if state == "ended" and kind not in NEEDS_NO_SUPPORT:
        raise Conflict("This support has ended.", code="support.ended")


def next_rank(kind: str, rank: int) -> int:
    """The level that a decision leads to, where it names none."""
    return rank + {"intensify": 1, "fade": -1}.get(kind, 0)
