"""Defines the table of agenda items."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime
from app.roster.models import MayBeAboutStudent
from app.team.models import OfTeam


class AgendaItem(HasChangeTime, OfTeam, MayBeAboutStudent, Base):
    """A topic for a meeting of a team: open, then discussed, carried or dropped.

    * Computed items are stored when the meeting is opened. An item that a member adds is stored at once, and has no
      meeting until one is opened.
    * `student_id`, `school_ids` and `secured_area` are copied from the record that a computed item is about.
    * `area_id` is the area of an item that a member added, if the member named an area.
    * `basis` is a text that changes when something new happens, for example the day since which the reason for the item
      has existed. A dropped item stays off the agenda until its basis changes. A discussed item also stays off the
      agenda if its kind is in `RESTS_WHEN_DISCUSSED` and no decision about it is due.
    * `reasons` say why the item came up. Each reason is a code with the ids of records.
    * If an item that a member added is carried, a new item replaces it. `carried_from` of the new item is the carried
      one.
    * A suspended item is about a student that the team does not serve at present.
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
