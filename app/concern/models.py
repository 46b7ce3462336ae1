"""Defines the table of concerns."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Computed
from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent


class Concern(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """A concern about one student in one area: raised, then accepted or dismissed; once accepted, resolved.

    * `repeats_id` is the dismissed concern that this concern raises again.
    * `unserved_since` is the day since which an accepted concern has had no active support, or None.
    * `unserved_order` equals `unserved_since`, with a day far in the future in place of None. PostgreSQL generates this
      column, because lists cannot be sorted by a column with nulls.
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
    unserved_since: Mapped[date | None]
    unserved_order: Mapped[date] = mapped_column(
        Computed("COALESCE(unserved_since, '9999-01-01'::date)", persisted=True), deferred=True
    )
    created_at: Mapped[datetime]
    version: Mapped[int]
