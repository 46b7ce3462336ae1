"""Defines the tables of protocols, of series of meetings, and of meetings."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, TenantRow
from app.roster.models import Ids, Texts
from app.team.models import OfTeam


class Protocol(HasChangeTime, TenantRow, Base):
    """A version of a protocol: the steps that a meeting may follow. It never changes, but can be retired."""

    __tablename__ = "protocol"

    code: Mapped[str]
    number: Mapped[int]
    name: Mapped[str]
    steps: Mapped[list[Any]] = mapped_column(JSONB)
    published_by: Mapped[UUID | None]
    published_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class MeetingSeries(HasChangeTime, OfTeam, Base):
    """Meetings of a team that recur by a rule of RFC 5545, until the series is ended.

    `begins_at` is the day and the time of day of the first meeting, in the time zone of the district.
    """

    __tablename__ = "meeting_series"

    protocol_id: Mapped[UUID | None]
    rule: Mapped[str]
    begins_at: Mapped[datetime] = mapped_column(DateTime(timezone=False))
    minutes: Mapped[int]
    place: Mapped[str | None]
    state: Mapped[str]
    ended_on: Mapped[date | None]
    created_at: Mapped[datetime]
    version: Mapped[int]


class Meeting(HasChangeTime, OfTeam, Base):
    """A meeting of a team: scheduled, then open, then closed; or cancelled.

    * `occurs_on` is the day that the rule of the series gives for the meeting, or None for a meeting without a series.
    * `present` are the people who were there.
    * `agenda_order` has the kinds of agenda items, in the order that the playbook gave when the meeting was opened.
    * `fell_on_break` is true if the meeting was cancelled because there is no school on that day.
    """

    __tablename__ = "meeting"

    series_id: Mapped[UUID | None]
    occurs_on: Mapped[date | None]
    protocol_id: Mapped[UUID | None]
    starts_at: Mapped[datetime]
    minutes: Mapped[int]
    place: Mapped[str | None]
    state: Mapped[str]
    present: Mapped[list[UUID]] = mapped_column(Ids, default=list)
    agenda_order: Mapped[list[str]] = mapped_column(Texts, default=list)
    opened_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    cancelled_because: Mapped[str | None]
    fell_on_break: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    version: Mapped[int]
