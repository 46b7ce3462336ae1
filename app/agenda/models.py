"""Defines the table of the items of agendas."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime
from app.roster.models import MayBeAboutStudent
from app.team.models import OfTeam


class AgendaItem(HasChangeTime, OfTeam, MayBeAboutStudent, Base):
    """What a team talks about in a meeting: open, then discussed, carried or dropped.

    * An item is stored when its meeting is opened. Only what a member adds is stored before, without a meeting.
    * `student_id`, `school_ids` and `secured_area` are those of the record that it is about, if that is a student's.
    * `area_id` is the area of an item that a member added about a student.
    * `basis` distinguishes occasions: an item that is settled comes up again only on another basis, or if its kind asks
      for more than a discussion.
    * `reasons` says why it came up, in codes with the ids of records.
    * A carried item that a member added is followed by the next one, whose `carried_from` names it.
    * A suspended item is about a student whom the team does not serve at present.
    """

    __tablename__ = "agenda_item"

    meeting_id: Mapped[UUID | None]
    area_id: Mapped[UUID | None]
    kind: Mapped[str]
    subject_kind: Mapped[str]
    subject_id: Mapped[UUID]
    basis: Mapped[str]
    since: Mapped[date]
    reasons: Mapped[list[Any]] = mapped_column(JSONB)
    rank: Mapped[int]
    state: Mapped[str]
    text: Mapped[str | None]
    minutes: Mapped[str | None]
    decision_id: Mapped[UUID | None]
    dropped_because: Mapped[str | None]
    carried_from: Mapped[UUID | None]
    suspended_on: Mapped[date | None]
    suspended_because: Mapped[str | None]
    times_carried: Mapped[int]
    added_by: Mapped[UUID | None]
    settled_by: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    version: Mapped[int]
