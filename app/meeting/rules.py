"""Defines the states of meetings and of series, and the transitions between them. Pure."""

from enum import StrEnum
from typing import Final

from app.core.errors import Conflict

MIN_MINUTES: Final = 5
MAX_MINUTES: Final = 480
MAX_STEPS: Final = 30
MAX_PRESENT: Final = 100


class SeriesState(StrEnum):
    """The state of a series. An ended series has no further meetings."""

    ACTIVE = "active"
    ENDED = "ended"


class MeetingState(StrEnum):
    """The state of a meeting."""

    SCHEDULED = "scheduled"
    OPEN = "open"
    CLOSED = "closed"
    CANCELLED = "cancelled"


def require_scheduled(state: str) -> None:
    """Raises `Conflict` if a meeting is already open, closed or cancelled. The error names this state."""
    if state == MeetingState.OPEN:
        raise Conflict("The meeting is open already.", code="meeting.open")
    _require_not_over(state)


def require_open(state: str) -> None:
    """Raises `Conflict` with the present state if a meeting is not open."""
    if state == MeetingState.SCHEDULED:
        raise Conflict("The meeting has not been opened.", code="meeting.scheduled")
    _require_not_over(state)


def require_closed(state: str) -> None:
    """Raises `Conflict` with the present state if a meeting is not closed."""
    if state == MeetingState.SCHEDULED:
        raise Conflict("The meeting has not been opened.", code="meeting.scheduled")
    if state == MeetingState.OPEN:
        raise Conflict("The meeting is open. It has a recap once it is closed.", code="meeting.open")
    if state == MeetingState.CANCELLED:
        raise Conflict("The meeting is cancelled.", code="meeting.cancelled")


def _require_not_over(state: str) -> None:
    if state == MeetingState.CLOSED:
        raise Conflict("The meeting is closed already.", code="meeting.closed")
    if state == MeetingState.CANCELLED:
        raise Conflict("The meeting is cancelled already.", code="meeting.cancelled")
