"""Owns the table of scores."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.roster.models import AboutStudent


class Score(AboutStudent, Base):
    """One administration of a measure to a student. `external_id` is the sender's own, unique for the sender."""

    __tablename__ = "score"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    measure_id: Mapped[UUID]
    purpose: Mapped[str]
    taken_on: Mapped[date]
    attempt: Mapped[int]
    value: Mapped[float]
    form: Mapped[str | None]
    given_by: Mapped[UUID | None]
    sender: Mapped[UUID | None]
    external_id: Mapped[str | None]
    recorded_at: Mapped[datetime]
    version: Mapped[int]
    removed_at: Mapped[datetime | None]
