"""Defines the table of incidents."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent


class Incident(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """The part of one student in something that happened at school, such as a disruption.

    * Each student who was involved has a row. Rows with the same `shared_reference` belong to one event.
    * `occurred_on` is the day of `occurred_at` in the district's time zone.
    * `response` is what the school did.
    * `external_id` is the sender's own id of the row, unique per sender.
    """

    __tablename__ = "incident"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    occurred_at: Mapped[datetime]
    occurred_on: Mapped[date]
    kind_id: Mapped[UUID]
    place: Mapped[str | None]
    response: Mapped[str | None]
    shared_reference: Mapped[str | None]
    recorded_by: Mapped[UUID | None]
    sender: Mapped[UUID | None]
    external_id: Mapped[str | None]
    recorded_at: Mapped[datetime]
    version: Mapped[int]
    removed_at: Mapped[datetime | None]
    removed_because: Mapped[str | None]
