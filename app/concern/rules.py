"""Defines the states of a concern and the transitions between them. Pure."""

from enum import StrEnum

from app.core.errors import Conflict


class ConcernState(StrEnum):
    """The state of a concern."""

    RAISED = "raised"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    RESOLVED = "resolved"


TRANSITIONS: dict[str, tuple[str, str]] = {
    "accept": ("raised", "accepted"),
    "dismiss": ("raised", "dismissed"),
    "resolve": ("accepted", "resolved"),
}
"""The transitions by verb, each as the state that a concern must have and the state that it gets."""

STATES = tuple(state.value for state in ConcernState)


def next_state(state: str, verb: str) -> str:
    """Returns the state to which a verb, such as `accept`, leads from `state`.

    Raises `Conflict` if the verb is not allowed in this state.
    """
    required, target = TRANSITIONS[verb]
    if state == required:
        return target
    if state in ("dismissed", "resolved"):
        raise Conflict(f"This concern is {state} already.", code="concern.closed")
    raise Conflict(f"This needs a concern that is {required}; this one is {state}.", code="concern.state")
