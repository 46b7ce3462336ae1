"""Determines what one session of a group delivered to each member. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class GroupState(StrEnum):
    """The state of a group."""

    ACTIVE = "active"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Lesson:
    """A session of a group: its planned and delivered minutes, and why minutes were lost for everybody."""

    planned_minutes: int
    delivered_minutes: int
    lost_because: str | None


@dataclass(frozen=True, slots=True)
class Presence:
    """What was recorded about one member: whether the member was there, the minutes, and why minutes were lost.

    A value is None if it was not recorded; `delivered_to` then determines it from the session.
    """

    attended: bool | None = None
    minutes: int | None = None
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one member got from a session."""

    attended: bool
    delivered_minutes: int
    lost_because: str | None


def lesson_of(planned_minutes: int, delivered_minutes: int | None, lost_because: str | None) -> Lesson:
    """Returns a session of a group.

    Without `delivered_minutes`, all planned minutes count as delivered. But if `lost_because` is given, none do.
    """
    default = 0 if lost_because is not None else planned_minutes
    return Lesson(planned_minutes, default if delivered_minutes is None else delivered_minutes, lost_because)


def delivered_to(lesson: Lesson, presence: Presence) -> Delivered:
    """Returns what a member got from a session.

    If `presence` does not state whether the member attended, the member counts as present if the session delivered any
    minutes. If `presence` has no minutes, a present member got the minutes of the session, and an absent member got 0.

    The reason for lost minutes is the member's reason if there is one, or else the session's reason, or else `absent`
    for an absent member. The session's reason and `absent` are used only if the member got less than planned.
    """
    attended = lesson.delivered_minutes > 0 if presence.attended is None else presence.attended
    default = lesson.delivered_minutes if attended else 0
    minutes = default if presence.minutes is None else presence.minutes
    if minutes >= lesson.planned_minutes:
        return Delivered(attended, minutes, presence.because)
    reason = presence.because or lesson.lost_because or (None if attended else "absent")
    return Delivered(attended, minutes, reason)


def initials(names: list[tuple[str, str]]) -> list[str]:
    """Returns the initials for pairs of given name and family name. Equal initials are numbered."""
    counts: dict[str, int] = {}
    labels = []
    for given_name, family_name in names:
        letters = "".join(name.strip()[:1].upper() for name in (given_name, family_name))
        counts[letters] = counts.get(letters, 0) + 1
        labels.append(letters if counts[letters] == 1 else f"{letters} {counts[letters]}")
    return labels
