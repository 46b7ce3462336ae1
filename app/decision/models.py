"""Defines the table of decisions. A decision is never changed."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent


class Decision(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """A team's decision about a student, with the verdict that the team saw. A referral may have no support."""

    __tablename__ = "decision"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    support_id: Mapped[UUID | None]
    phase_id: Mapped[UUID | None]
    verdict_id: Mapped[UUID | None]
    kind: Mapped[str]
    decided_on: Mapped[date]
    decided_by: Mapped[UUID | None]
    decided_by_client: Mapped[UUID | None]
    note: Mapped[str | None]
    playbook_version_id: Mapped[UUID]
    created_at: Mapped[datetime]
