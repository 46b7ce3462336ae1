"""Defines the tables of teams: the teams, their members, the scopes they serve, and the students in these scopes."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from app.core.db import Base, Bound, HasChangeTime, TenantRow
from app.roster.models import AboutStudent, Ids


class Team(HasChangeTime, TenantRow, Base):
    """People who meet about certain students.

    `school_id` is the school of a team of one school, and never changes. It is None for a team of several schools.
    """

    __tablename__ = "team"

    name: Mapped[str]
    purpose: Mapped[str]
    school_id: Mapped[UUID | None]
    state: Mapped[str]
    formed_by: Mapped[UUID | None]
    formed_on: Mapped[date]
    archived_on: Mapped[date | None]
    created_at: Mapped[datetime]
    version: Mapped[int]


class OfTeam(TenantRow):
    """Mixin for a row that belongs to a team. The row copies the team's school, which never changes.

    Row-level security reads the copy.
    """

    team_id: Mapped[UUID]
    team_school_id: Mapped[UUID | None]


class TeamMember(OfTeam, Base):
    """A membership of a person in a team. `until_on` is the first day after the membership."""

    __tablename__ = "team_member"

    person_id: Mapped[UUID]
    role: Mapped[str]
    from_on: Mapped[date]
    until_on: Mapped[date | None]
    version: Mapped[int]


class TeamScope(OfTeam, Base):
    """A part of the students whom a team serves: a grade of a school, a class, or a named student.

    The scope is in force from the day `from_on`. `until_on` is the first day on which it is no longer in force.
    `school_ids` are the schools of the named student. For a grade or a class, `school_ids` is empty.
    """

    __tablename__ = "team_scope"

    kind: Mapped[str]
    served_school_id: Mapped[UUID | None]
    grade: Mapped[str | None]
    class_id: Mapped[UUID | None]
    student_id: Mapped[UUID | None]
    school_ids: Mapped[list[UUID]] = mapped_column(Ids)
    from_on: Mapped[date]
    until_on: Mapped[date | None]
    version: Mapped[int]


class TeamStudent(OfTeam, AboutStudent, Base):
    """A student that a team serves because of one of its scopes.

    `until_on` is the first day on which the team no longer serves the student because of this scope. Commands and syncs
    write these rows from the scopes and the roster; nobody writes them by hand.
    """

    __tablename__ = "team_student"

    scope_id: Mapped[UUID]
    from_on: Mapped[date]
    until_on: Mapped[date | None]


Dated = type[TeamMember] | type[TeamScope] | type[TeamStudent]


def in_force_on(row: Dated, day: Bound[date]) -> ColumnElement[bool]:
    """Returns an SQL condition that is true if a member, a scope or a student belongs to the team on this day."""
    return and_(row.from_on <= day, lasts_beyond(row, day))


def lasts_beyond(row: Dated, day: Bound[date] | InstrumentedAttribute[date]) -> ColumnElement[bool]:
    """Returns an SQL condition that is true if a member, a scope or a student leaves the team after `day`, or never.

    They may have joined the team before or after `day`.
    """
    return or_(row.until_on.is_(None), row.until_on > day)
