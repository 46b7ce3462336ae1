"""Defines the tables of groups, their members, and the sessions of a whole group."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, TenantRow
from app.roster.models import AboutStudent


class Group(HasChangeTime, TenantRow, Base):
    """Students who are served together, each with a support of their own. The row has no data about a student.

    `size` is the number of open memberships, including those that the caller may not see.
    """

    __tablename__ = "support_group"

    school_id: Mapped[UUID]
    name: Mapped[str]
    intervention: Mapped[str]
    intervention_id: Mapped[UUID | None]
    area_id: Mapped[UUID]
    level_id: Mapped[UUID]
    measure_id: Mapped[UUID | None]
    lead_id: Mapped[UUID | None]
    provider_id: Mapped[UUID | None]
    minutes_per_session: Mapped[int]
    sessions_per_week: Mapped[int]
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    goal_on: Mapped[date | None]
    review_on: Mapped[date | None]
    state: Mapped[str]
    size: Mapped[int]
    secured_area: Mapped[str | None]
    created_at: Mapped[datetime]
    version: Mapped[int]


class GroupMember(AboutStudent, Base):
    """A student's membership in a group, with the student's own support.

    `until_on` is the day after the last day of the membership.
    """

    __tablename__ = "group_member"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    group_id: Mapped[UUID]
    support_id: Mapped[UUID]
    from_on: Mapped[date]
    until_on: Mapped[date | None]


class GroupSession(TenantRow, Base):
    """One session of a group, which took place or was lost.

    The sessions of the members' own supports refer to it. `number` distinguishes the sessions of one day; `external_id`
    is the sender's own id of the session.
    """

    __tablename__ = "group_session"

    group_id: Mapped[UUID]
    held_on: Mapped[date]
    number: Mapped[int]
    planned_minutes: Mapped[int]
    lost_because: Mapped[str | None]
    recorded_by: Mapped[UUID | None]
    sender: Mapped[UUID | None]
    external_id: Mapped[str | None]
    secured_area: Mapped[str | None]
    recorded_at: Mapped[datetime]
    version: Mapped[int]
