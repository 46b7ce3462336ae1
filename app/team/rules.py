"""Decides which teams, members and scopes are valid. Reads no database."""

from datetime import date
from enum import StrEnum
from typing import Final

from app.core.errors import Violation


class TeamPurpose(StrEnum):
    """What a team meets for."""

    GRADE = "grade"
    COURSE = "course"
    PROBLEM_SOLVING = "problem_solving"
    LEADERSHIP = "leadership"


class TeamState(StrEnum):
    """The states of a team. An archived team serves nobody, and stays archived."""

    ACTIVE = "active"
    ARCHIVED = "archived"


class TeamRole(StrEnum):
    """The role of a member in the team. It gives no access: access follows from the member's role in the roster."""

    LEAD = "lead"
    FACILITATOR = "facilitator"
    RECORDER = "recorder"
    MEMBER = "member"


class ScopeKind(StrEnum):
    """The kind of a team's scope: one grade at one school, one class, or one student."""

    GRADE = "grade"
    CLASS = "class"
    STUDENT = "student"


KINDS: Final = "Name a school with a grade, or a class, or a student."


def kind_of_scope(school: str | None, grade: str | None, school_class: str | None, student: str | None) -> ScopeKind:
    """Returns the kind of the scope that these values describe.

    Raises `ValueError` unless they fit exactly one kind.
    """
    named = {
        ScopeKind.GRADE: school is not None and grade is not None,
        ScopeKind.CLASS: school_class is not None,
        ScopeKind.STUDENT: student is not None,
    }
    kinds = [kind for kind, is_named in named.items() if is_named]
    if len(kinds) != 1 or (school is None) != (grade is None):
        raise ValueError(KINDS)
    return kinds[0]


def violations_of_end(from_on: date, until_on: date, today: date) -> list[Violation]:
    """Returns the violations of `until_on`, the first day on which a membership or a scope is no longer in force.

    This day cannot be in the past, because the members could in fact see the students until now.
    """
    if until_on >= max(from_on, today):
        return []
    return [Violation("/until_on", "team.ends_in_the_past", "It ends today or later, and not before it begins.")]
