"""Defines the table of attendance records."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent


class AttendanceRecord(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """Whether a student was present, absent or late on a day, or in one period or class of that day.

    A record without a period and a class is about the whole day. `external_id` is the sender's own id of the record,
    unique per sender. There is at most one record for a student, day, period and class, because every writer locks the
    student first.
    """

    __tablename__ = "attendance_record"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date]
    period: Mapped[str | None]
    class_id: Mapped[UUID | None]
    status: Mapped[str]
    excused: Mapped[bool]
    minutes_missed: Mapped[int | None]
    recorded_by: Mapped[UUID | None]
    sender: Mapped[UUID | None]
    external_id: Mapped[str | None]
    recorded_at: Mapped[datetime]
    version: Mapped[int]
    removed_at: Mapped[datetime | None]
    removed_because: Mapped[str | None]
