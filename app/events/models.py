"""Owns the table of events and each district's counter. An event is never changed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Tenant


class EventCounter(Tenant, Base):
    """The number of a district's last event; locked last before each commit, so that numbers follow commits.

    An operator gives the feed a new `epoch` after a restore: numbers that were given out may be given out again.
    """

    __tablename__ = "event_counter"

    last: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[UUID]


class Event(Tenant, Base):
    """What happened: type and version, the subject and its version, ids. Never a name, a value or a text."""

    __tablename__ = "event"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[UUID]
    type: Mapped[str]
    version: Mapped[int]
    at: Mapped[datetime]
    subject_kind: Mapped[str]
    subject_id: Mapped[UUID]
    subject_version: Mapped[int]
    student_id: Mapped[UUID | None]
    school_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PgUUID))
    secured_area: Mapped[str | None]
    ids: Mapped[dict[str, Any]]
