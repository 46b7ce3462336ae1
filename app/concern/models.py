"""Defines the table of concerns."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent


class Concern(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """A dated concern about one student in one area: raised, then accepted or dismissed, then resolved.

    `repeats_id` is the dismissed concern that it raises again.
    """

    __tablename__ = "concern"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    area_id: Mapped[UUID]
    state: Mapped[str]
    description: Mapped[str]
    raised_by: Mapped[UUID | None]
    raised_by_client: Mapped[UUID | None]
    raised_on: Mapped[date]
    settled_by: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]
    settled_because: Mapped[str | None]
    repeats_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    version: Mapped[int]
