"""Decides what each member of a group got from one of its sessions. Pure."""

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
    """The record of one member: presence, minutes, and why minutes were lost. What is None follows the session."""

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
    """Returns a session of a group. Without delivered minutes, it delivered all planned ones, or none if lost."""
    default = 0 if lost_because is not None else planned_minutes
    return Lesson(planned_minutes, default if delivered_minutes is None else delivered_minutes, lost_because)


def delivered_to(lesson: Lesson, presence: Presence) -> Delivered:
    """Returns what a member got from a session.

    Members are assumed to have been there, unless nothing was delivered. A member who was not there was absent, unless
    another reason is given or the session was lost for everybody.
    """
    attended = lesson.delivered_minutes > 0 if presence.attended is None else presence.attended
    default = lesson.delivered_minutes if attended else 0
    minutes = default if presence.minutes is None else presence.minutes
    if minutes >= lesson.planned_minutes:
        return Delivered(attended, minutes, presence.because)
    reason = presence.because or lesson.lost_because or (None if attended else "absent")
    return Delivered(attended, minutes, reason)


def initials(names: list[tuple[str, str]]) -> list[str]:
    """Returns the initials of people, given by their given and family names. Equal ones are numbered."""
    counts: dict[str, int] = {}
    labels = []
    for given_name, family_name in names:
        letters = "".join(name.strip()[:1].upper() for name in (given_name, family_name))
        counts[letters] = counts.get(letters, 0) + 1
        labels.append(letters if counts[letters] == 1 else f"{letters} {counts[letters]}")
    return labels
