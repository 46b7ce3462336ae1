"""Defines the states of an action item, and how one is closed. Does not use the database."""

from enum import StrEnum

from app.core.errors import Conflict, Violation


class ActionState(StrEnum):
    """The state of an action item. The last three are outcomes."""

    OPEN = "open"
    DONE = "done"
    NOT_DONE = "not_done"
    DROPPED = "dropped"


class ActionOutcome(StrEnum):
    """The outcomes of an action item."""

    DONE = "done"
    NOT_DONE = "not_done"
    DROPPED = "dropped"


def check_open(state: str) -> None:
    """Raises `Conflict` if an action item has an outcome already."""
    if state != ActionState.OPEN:
        words = state.replace("_", " ")
        raise Conflict(f"This action item is {words} already. Agree a new one.", code="action_item.closed")


def violations_of_closing(outcome: str, because: str | None) -> list[Violation]:
    """Returns a violation if an action item was not done, or was dropped, and no reason is given."""
    if outcome == ActionOutcome.DONE or because is not None:
        return []
    return [Violation("/because", "action_item.reason", "State why it is not done, or why it is dropped.")]
