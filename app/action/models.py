"""Defines the table of action items."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped

from app.core.db import Base, HasChangeTime
from app.roster.models import MayBeAboutStudent
from app.team.models import OfTeam


class ActionItem(HasChangeTime, OfTeam, MayBeAboutStudent, Base):
    """A task for a member of a team, with a due date. It is open, then done, not done, or dropped.

    It may be about a student.

    `agenda_item_id` is the item of a meeting's agenda at which the action item was agreed.
    """

    __tablename__ = "action_item"

    text: Mapped[str]
    owner_id: Mapped[UUID]
    due_on: Mapped[date]
    state: Mapped[str]
    agenda_item_id: Mapped[UUID | None]
    agreed_by: Mapped[UUID | None]
    agreed_by_client: Mapped[UUID | None]
    agreed_on: Mapped[date]
    closed_by: Mapped[UUID | None]
    closed_on: Mapped[date | None]
    closed_because: Mapped[str | None]
    created_at: Mapped[datetime]
    version: Mapped[int]
