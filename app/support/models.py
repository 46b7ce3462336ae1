"""Defines the tables of supports, their phases and their sessions."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Date, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent, Ids


class Support(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """An intervention for a student, with a goal or a review date. It is planned, then active, then ended.

    `intervention` is the name of the library's entry `intervention_id`, or else free text. A support without a measure
    has no series of scores and no verdict; it has a review date instead of a goal. `more_measures` are the measures by
    which it is now followed in addition to `measure_id`. `SupportMeasure` has the period in which each of them is
    followed.
    """

    __tablename__ = "support"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    intervention: Mapped[str]
    intervention_id: Mapped[UUID | None]
    area_id: Mapped[UUID]
    level_id: Mapped[UUID]
    measure_id: Mapped[UUID] = mapped_column(nullable=True)  # reads of series skip supports without a measure
    more_measures: Mapped[list[UUID]] = mapped_column(Ids, server_default=text("'{}'"))
    review_on: Mapped[date | None]
    state: Mapped[str]
    lead_id: Mapped[UUID | None]
    provider_id: Mapped[UUID | None]
    starts_on: Mapped[date]
    unled_since: Mapped[date | None]
    moved_on: Mapped[date | None]
    suspended_on: Mapped[list[date]] = mapped_column(ARRAY(Date), server_default=text("'{}'"))
    resumed_on: Mapped[list[date]] = mapped_column(ARRAY(Date), server_default=text("'{}'"))
    starts: Mapped[str] = mapped_column(server_default=text("'on_its_day'"))
    ends_on: Mapped[date | None]
    ended_because: Mapped[str | None]
    playbook_version_id: Mapped[UUID]
    created_at: Mapped[datetime]
    last_verdict_at: Mapped[datetime] = mapped_column(server_default=text("TIMESTAMPTZ '1900-01-01Z'"), deferred=True)
    version: Mapped[int]

    @property
    def measure_ids(self) -> list[UUID]:
        """Returns the ids of the measures by which the support is followed, beginning with its first measure."""
        return [] if self.measure_id is None else [self.measure_id, *self.more_measures]


class SupportConcern(AboutStudent, Base):
    """A link from a support to a concern that it addresses."""

    __tablename__ = "support_concern"

    support_id: Mapped[UUID] = mapped_column(primary_key=True)
    concern_id: Mapped[UUID] = mapped_column(primary_key=True)


class Phase(AboutStudent, Base):
    """The part of a support between two changes, with its own baseline, goal and dosage.

    The day `ends_on` does not belong to the phase. `required_rate` is the growth that the goal required when it was
    set, in the measure's units a week of instruction. `realistic_rate` is the highest growth that the norm
    `benchmark_id` called realistic. Both rates are None for phases that were created before Aimline recorded rates.
    """

    __tablename__ = "phase"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    support_id: Mapped[UUID]
    number: Mapped[int]
    level_id: Mapped[UUID]
    begins_on: Mapped[date]
    ends_on: Mapped[date | None]
    # These three are null in a support without a measure. Code that draws or judges an aimline skips such supports.
    baseline: Mapped[float] = mapped_column(nullable=True)
    goal: Mapped[float] = mapped_column(nullable=True)
    goal_on: Mapped[date] = mapped_column(nullable=True)
    review_on: Mapped[date | None]
    intervention: Mapped[str]
    intervention_id: Mapped[UUID | None]
    group_size: Mapped[int | None]
    minutes_per_session: Mapped[int]
    sessions_per_week: Mapped[int]
    because: Mapped[str]
    verb: Mapped[str]
    changes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    required_rate: Mapped[float | None]
    required_rate_before: Mapped[float | None]
    realistic_rate: Mapped[float | None]
    rate_check: Mapped[str | None]
    benchmark_id: Mapped[UUID | None]


class SupportMeasure(AboutStudent, Base):
    """A measure by which a support is followed in addition to its first measure.

    It is followed up to the day `followed_until`, which is not included.
    """

    __tablename__ = "support_measure"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    support_id: Mapped[UUID]
    measure_id: Mapped[UUID]
    followed_from: Mapped[date]
    followed_until: Mapped[date | None]
    created_at: Mapped[datetime]
    version: Mapped[int]


class PhaseGoal(AboutStudent, Base):
    """The goal that an additional measure has in a phase, with an aimline of its own.

    The aimline begins on `begins_on`, which is the first day of the phase or a later day. A column that has the same
    name as a column of `Phase` has the same meaning.
    """

    __tablename__ = "phase_goal"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    support_id: Mapped[UUID]
    support_measure_id: Mapped[UUID]
    phase_id: Mapped[UUID]
    measure_id: Mapped[UUID]
    begins_on: Mapped[date]
    baseline: Mapped[float]
    goal: Mapped[float]
    goal_on: Mapped[date]
    required_rate: Mapped[float | None]
    required_rate_before: Mapped[float | None]
    realistic_rate: Mapped[float | None]
    rate_check: Mapped[str | None]
    benchmark_id: Mapped[UUID | None]


class Handover(AboutStudent, Base):
    """A change of the person who leads or provides a support, with its reason. A row is never changed.

    A handover begins no new phase. `lead_before` and `provider_before` are the people before the change, `lead_id` and
    `provider_id` the people after it. None stands for nobody.
    """

    __tablename__ = "handover"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    support_id: Mapped[UUID]
    handed_over_on: Mapped[date]
    lead_before: Mapped[UUID | None]
    lead_id: Mapped[UUID | None]
    provider_before: Mapped[UUID | None]
    provider_id: Mapped[UUID | None]
    because: Mapped[str]
    made_by: Mapped[UUID | None]
    made_by_client: Mapped[UUID | None]
    created_at: Mapped[datetime]


class Session(AboutStudent, Base):
    """One delivery of a support on a day, whether it took place or was lost.

    `number` distinguishes the deliveries of one day; `external_id` is the sender's own id of the session. `done_parts`
    has the numbers of the parts of the checklist that were done, or is null if nobody used the checklist.
    `checklist_size` is the number of all its parts.
    """

    __tablename__ = "session"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    support_id: Mapped[UUID]
    held_on: Mapped[date]
    number: Mapped[int]
    planned_minutes: Mapped[int]
    delivered_minutes: Mapped[int]
    attended: Mapped[bool]
    lost_because: Mapped[str | None]
    done_parts: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    checklist_size: Mapped[int | None]
    recorded_by: Mapped[UUID | None]
    sender: Mapped[UUID | None]
    external_id: Mapped[str | None]
    recorded_at: Mapped[datetime]
    version: Mapped[int]
    removed_at: Mapped[datetime | None]
    group_session_id: Mapped[UUID | None]


class SessionChange(AboutStudent, Base):
    """The values of a session before it was amended or removed, and the person who changed it.

    From the time `expired_at` on, `before` has only the names of the changed fields, each with null.
    """

    __tablename__ = "session_change"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    session_id: Mapped[UUID]
    version: Mapped[int]
    before: Mapped[dict[str, Any]]
    changed_by: Mapped[UUID | None]
    sender: Mapped[UUID | None]
    changed_at: Mapped[datetime]
    expired_at: Mapped[datetime | None]
