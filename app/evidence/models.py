"""Defines the tables of scores and of their changes."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent


class Score(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """One administration of a measure to a student.

    `external_id` is the sender's own id of the score, unique per sender.
    """

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


class ScoreChange(AboutStudent, Base):
    """The values that a score had before it was amended or removed, with the author of the change and the reason.

    From the time `expired_at` on, `before` has only the names of the changed fields, each with null.
    """

    __tablename__ = "score_change"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    score_id: Mapped[UUID]
    version: Mapped[int]
    action: Mapped[str]
    because: Mapped[str | None]
    before: Mapped[dict[str, Any]]
    changed_by: Mapped[UUID | None]
    changed_by_client: Mapped[UUID | None]
    changed_at: Mapped[datetime]
    expired_at: Mapped[datetime | None]
