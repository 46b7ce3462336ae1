"""Owns the tables of events: each district's counter, named consumers, what was told. An event is never changed.

The counter is locked last before each commit, so that numbers follow commits.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Tenant


class EventCounter(Tenant, Base):
    """The number of a district's last event, and of the last one that is kept no longer.

    An operator gives the feed a new `epoch` after a restore: numbers that were given out may be given out again.
    """

    __tablename__ = "event_counter"

    last: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[UUID]
    expired: Mapped[int] = mapped_column(BigInteger, default=0)


class Event(Tenant, Base):
    """What happened: type and version, the subject and its version, ids, counts. Never a name, a score or a text."""

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
    counts: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


class EventConsumer(Tenant, Base):
    """A reader of the feed that the server remembers: whose, which types, in which versions, and how far it has come.

    `seq` is the last event that it has dealt with, in the feed of `epoch`. `seeks` counts how often it was moved by
    hand or given more types: what was read before the last time commits nothing.
    """

    __tablename__ = "event_consumer"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    versions: Mapped[dict[str, Any]]
    epoch: Mapped[UUID]
    seq: Mapped[int] = mapped_column(BigInteger)
    seeks: Mapped[int]
    created_at: Mapped[datetime]
    committed_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class SentReminder(Tenant, Base):
    """That a lasting state of a subject was told: of which state, so that it is told again when it is another."""

    __tablename__ = "event_told"

    type: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    told_of: Mapped[str]
    at: Mapped[datetime]
