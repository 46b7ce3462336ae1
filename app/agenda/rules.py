"""Defines the kinds of agenda items, their order, and the states of an item. Does not use the database."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from app.core.errors import Conflict, Violation


class AgendaItemKind(StrEnum):
    """Why a team talks about something. The default order of an agenda is the order of these kinds."""

    UNSERVED = "unserved"
    NOT_RESPONDING = "not_responding"
    DECISION_DUE = "decision_due"
    OFF_TRACK = "off_track"
    UNDER_DELIVERED = "under_delivered"
    UNLED = "unled"
    GOAL_PASSED = "goal_passed"
    GOAL_DUE = "goal_due"
    HYPOTHESIS_DUE = "hypothesis_due"
    ACTION_DUE = "action_due"
    NEW_CONCERN = "new_concern"
    SIGNAL = "signal"
    CORE_STALL = "core_stall"
    CHECK_OVERDUE = "check_overdue"
    GOAL_MET = "goal_met"
    READY_TO_FADE = "ready_to_fade"
    OWN = "own"


class AgendaItemState(StrEnum):
    """The state of an item. A suspended item is about a student that the team does not serve at present."""

    OPEN = "open"
    DISCUSSED = "discussed"
    CARRIED = "carried"
    DROPPED = "dropped"
    SUSPENDED = "suspended"


class SuspendedBecause(StrEnum):
    """Why an item is suspended: the student has left the roster, or the team no longer serves the student."""

    STUDENT_LEFT = "student_left"
    STUDENT_NOT_SERVED = "student_not_served"


DEFAULT_ORDER: Final = tuple(str(kind) for kind in AgendaItemKind)
RESTS_WHEN_DISCUSSED: Final = (
    *(AgendaItemKind.OFF_TRACK, AgendaItemKind.NOT_RESPONDING, AgendaItemKind.UNDER_DELIVERED),
    *(AgendaItemKind.GOAL_DUE, AgendaItemKind.GOAL_MET, AgendaItemKind.READY_TO_FADE),
    AgendaItemKind.CORE_STALL,
)
"""The kinds of items that, once discussed, return to the agenda only if their basis changes.

An item of any other kind asks for something to be done, such as an answer, a support or a decision. It returns to the
agenda until the data show that this was done.
"""
SUBJECTS: Final = ("concern", "signal", "core_stall", "support", "hypothesis", "action_item", "agenda_item")
"""The kinds of records that an item can be about."""


def complete_order(order: Sequence[str]) -> tuple[str, ...]:
    """Returns this order of kinds, followed by the missing kinds in the default order."""
    return (*order, *(kind for kind in DEFAULT_ORDER if kind not in order))


def violations_of_order(order: Sequence[str]) -> list[Violation]:
    """Returns a violation for each kind that an agenda order contains more than once."""
    detail = "This kind is named already."
    return [
        Violation(f"/kinds/{place}", "agenda.order", detail)
        for place, kind in enumerate(order)
        if kind in order[:place]
    ]


def require_unsettled(state: str, settled_at: datetime | None) -> None:
    """Raises `Conflict` with the state of an item if the item is not open any more."""
    if state == AgendaItemState.SUSPENDED:
        detail = "The team does not serve the student at present. The item returns with the student."
        raise Conflict(detail, code="agenda_item.suspended")
    if state != AgendaItemState.OPEN:
        when = "" if settled_at is None else f" at {settled_at:%Y-%m-%dT%H:%M:%SZ}"
        raise Conflict(f"The item was {state} already{when}. Read it again.", code="agenda_item.settled")
