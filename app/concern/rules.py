"""Owns which verbs a concern takes in which state. Pure."""

from app.core.errors import Conflict

SETTLES: dict[str, tuple[str, str]] = {
    "accept": ("raised", "accepted"),
    "dismiss": ("raised", "dismissed"),
    "resolve": ("accepted", "resolved"),
}
"""Verb: the state that it asks for, the state that it leaves."""

STATES = ("raised", "accepted", "dismissed", "resolved")


def next_state(state: str, verb: str) -> str:
    """The state after the verb; raises `Conflict` where the present state does not take it."""
    asked, after = SETTLES[verb]
    if state == asked:
        return after
    if state in ("dismissed", "resolved"):
        raise Conflict(f"This concern is {state} already.", code="concern.closed")
    raise Conflict(f"A concern that is {state} cannot take this: it must be {asked}.", code="concern.state")
